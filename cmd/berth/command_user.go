package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"berth/admin"
	"berth/auth"
)

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		Short:   "Manage the users that berth itself keeps",
		Example: "  berth user add alice --group developers\n  berth user list\n  berth user passwd alice\n  berth user disable alice\n  berth user remove alice",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("user: name what to do") },
	}
	cmd.AddCommand(newUserAdd(), newUserList(), newUserPasswd(), newUserGroups(), newUserEnable(), newUserDisable(), newUserRemove())
	return cmd
}

// withUsers is withAPI for users of berth's own. Where the configuration lets none
// of them in, it fails: they would be in vain.
func withUsers(cmd *cobra.Command, do func(admin.API) error) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	if !cfg.Auth.Accounts.Enabled {
		return errors.New("users of berth's own are not let in: put accounts: {enabled: true} under auth: in the configuration")
	}
	return withAPI(cmd, do)
}

// withPeople is withUsers for what can be done to users of OpenID Connect
// providers too.
func withPeople(cmd *cobra.Command, do func(admin.API) error) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	if len(cfg.Auth.OIDC) > 0 {
		return withAPI(cmd, do)
	}
	return withUsers(cmd, do)
}

// onPerson is onUser for withPeople.
func onPerson(use, short, example string, do func(ctx context.Context, api admin.API, name string) error) *cobra.Command {
	return onBackend(withPeople, use, short, example, do)
}

// onAnybody is onUser wherever somebody can log in: who is no account is said
// what can be done about him.
func onAnybody(use, short, example string, do func(ctx context.Context, api admin.API, name string) error) *cobra.Command {
	return onBackend(withKeys, use, short, example, do)
}

func onBackend(with func(*cobra.Command, func(admin.API) error) error, use, short, example string,
	do func(ctx context.Context, api admin.API, name string) error) *cobra.Command {
	cmd := onUser(use, short, example, do)
	cmd.RunE = operation(func(cmd *cobra.Command, args []string) error {
		return with(cmd, func(api admin.API) error { return do(cmd.Context(), api, args[0]) })
	})
	return cmd
}

// onUser makes a command that does one thing to the user of its first argument.
func onUser(use, short, example string, do func(ctx context.Context, api admin.API, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withUsers(cmd, func(api admin.API) error { return do(cmd.Context(), api, args[0]) })
		}),
	}
}

// withPassword makes a command of onUser's kind that asks for a password first.
func withPassword(use, short, example string, do func(ctx context.Context, api admin.API, name string, password auth.Secret) error) *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withUsers(cmd, func(api admin.API) error {
				password, err := askPassword(cmd, args[0], fromStdin)
				if err != nil {
					return err
				}
				return do(cmd.Context(), api, args[0], password)
			})
		}),
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newUserAdd() *cobra.Command {
	var groups []string
	cmd := withPassword("add NAME", "Add a user; the password is asked for",
		"  berth user add alice --group developers --group ops\n  printf %s \"$PASSWORD\" | berth user add ci --password-stdin",
		func(ctx context.Context, api admin.API, name string, password auth.Secret) error {
			return api.AddUser(ctx, admin.NewUser{Name: name, Password: password, Groups: groups})
		})
	cmd.Flags().StringSliceVar(&groups, "group", nil, "`GROUP` that the user belongs to; may be given more than once")
	return cmd
}

func newUserPasswd() *cobra.Command {
	return withPassword("passwd NAME", "Change a user's password, which ends his logins", "  berth user passwd alice",
		func(ctx context.Context, api admin.API, name string, password auth.Secret) error {
			return api.SetPassword(ctx, name, password)
		})
}

func newUserGroups() *cobra.Command {
	var groups []string
	cmd := onUser("groups NAME", "Replace a user's groups", "  berth user groups alice --group developers",
		func(ctx context.Context, api admin.API, name string) error { return api.SetGroups(ctx, name, groups) })
	cmd.Flags().StringSliceVar(&groups, "group", nil, "`GROUP` that the user belongs to; may be given more than once, none empties the list")
	return cmd
}

func newUserDisable() *cobra.Command {
	return onAnybody("disable NAME", "Shut a user out, at once", "  berth user disable alice",
		func(ctx context.Context, api admin.API, name string) error { return api.SetDisabled(ctx, name, true) })
}

func newUserEnable() *cobra.Command {
	return onAnybody("enable NAME", "Let a disabled user in again", "  berth user enable alice",
		func(ctx context.Context, api admin.API, name string) error { return api.SetDisabled(ctx, name, false) })
}

func newUserRemove() *cobra.Command {
	var force bool
	cmd := onPerson("remove NAME", "Remove a user", "  berth user remove alice",
		func(ctx context.Context, api admin.API, name string) error { return api.RemoveUser(ctx, name, force) })
	cmd.Flags().BoolVar(&force, "force", false, "also the last user who can log in, or may manage the registry")
	return cmd
}

func newUserList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  berth user list\n  berth user list -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withPeople(cmd, func(api admin.API) error {
				users, err := api.Users(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"NAME", "GROUPS", "STATE", "CREATED"}}
				for _, u := range users {
					state := "active"
					switch {
					case u.Disabled:
						state = "disabled"
					case u.Suspended:
						state = "must sign in"
					}
					rows = append(rows, []string{u.Name, strings.Join(u.Groups, ","), state, ago(u.Created)})
				}
				return printResult(cmd, users, rows)
			})
		}),
	}
	addOutputFlag(cmd, "table")
	return cmd
}
