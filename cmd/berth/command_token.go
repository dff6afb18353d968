package main

import (
	"errors"

	"github.com/spf13/cobra"

	"berth/admin"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "See and end the logins of users",
		Example: "  berth token list --user alice\n  berth token revoke K7QX2M4N",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("token: name what to do") },
	}
	cmd.AddCommand(newTokenList(), newTokenRevoke())
	return cmd
}

func newTokenList() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the logins that `docker login` and others have made",
		Example: "  berth token list\n  berth token list --user alice -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(api admin.API) error {
				tokens, err := api.Tokens(cmd.Context(), user)
				if err != nil {
					return err
				}
				rows := [][]string{{"ID", "USER", "CLIENT", "ADDRESS", "CREATED", "LAST USED"}}
				for _, t := range tokens {
					rows = append(rows, []string{t.ID, t.User, t.Client, t.Addr, ago(t.Created), ago(t.LastUsed)})
				}
				return printResult(cmd, tokens, rows)
			})
		}),
	}
	cmd.Flags().StringVar(&user, "user", "", "only the logins of this `USER`")
	addOutputFlag(cmd, "table")
	return cmd
}

func newTokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a login",
		Example: "  berth token revoke K7QX2M4N",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error { return api.RevokeToken(cmd.Context(), args[0]) })
		}),
	}
}
