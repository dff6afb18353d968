package main

import (
	"errors"

	"github.com/spf13/cobra"

	"berth/admin"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "See and end the logins of users, and give them personal tokens",
		Example: "  berth token list --user alice\n  berth token add --user alice --name laptop --action pull\n" +
			"  berth token revoke K7QX2M4NPA3D",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return errors.New("token: name what to do") },
	}
	cmd.AddCommand(newTokenAdd(), newTokenList(), newTokenRevoke())
	return cmd
}

func newTokenAdd() *cobra.Command {
	var limits limitFlags
	var n admin.NewToken
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Make a personal token for a user, and print it, once",
		Long: "Makes a token that its user can give in the place of his password. With it he may do what he\n" +
			"may without it, but manage the registry, within what the flags say.",
		Example: "  berth token add --user alice --name laptop\n  berth token add --user alice --name backup --repository 'team/**' --action pull --expires 30d",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withKeys(cmd, func(api admin.API) (err error) {
				if n.Limits, err = limits.limits(); err != nil {
					return err
				}
				if limits.expires.text == "never" {
					return errors.New("--expires never: a personal token ends after 366 days at the latest")
				}
				n.Expires = limits.expires.at
				secret, err := api.AddToken(cmd.Context(), n)
				if err != nil {
					return err
				}
				return printSecret(cmd, secret, n.User)
			})
		}),
	}
	limits.add(cmd, "90d unless it is said, 366d at most")
	cmd.Flags().StringVar(&n.User, "user", "", "`USER` whose token it is, of any backend")
	cmd.Flags().StringVar(&n.Name, "name", "", "`NAME` by which he knows it in lists")
	return cmd
}

func newTokenList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the logins that `docker login` and others have made, and personal tokens",
		Example: "  berth token list\n  berth token list --user alice -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(api admin.API) error {
				tokens, err := api.Tokens(cmd.Context(), user)
				if err != nil {
					return err
				}
				rows := [][]string{{"ID", "USER", "KIND", "NAME", "ADDRESS", "CREATED", "LAST USED", "EXPIRES"}}
				for _, t := range tokens {
					expires := ago(t.Expires)
					switch {
					case t.Kind == admin.KindLogin:
						expires = "-"
					case t.ExpiresSoon:
						expires += " (soon)"
					}
					rows = append(rows, []string{t.ID, t.User, t.Kind, t.Name, orDash(t.Addr), ago(t.Created), ago(t.LastUsed), expires})
				}
				return printResult(cmd, tokens, rows)
			})
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only those of this `USER`")
	addOutputFlag(cmd, "table")
	return cmd
}

func newTokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a login or a personal token, at once",
		Example: "  berth token revoke K7QX2M4NPA3D",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error { return api.RevokeToken(cmd.Context(), args[0]) })
		}),
	}
}
