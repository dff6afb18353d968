package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

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

// onUser makes a command that does one thing to the user of its first argument.
func onUser(use, short, example string, do func(ctx context.Context, api admin.API, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:     use,
		Short:   short,
		Example: example,
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error { return do(cmd.Context(), api, args[0]) })
		}),
	}
}

func newUserAdd() *cobra.Command {
	var groups []string
	var fromStdin bool
	cmd := &cobra.Command{
		Use:     "add NAME",
		Short:   "Add a user; the password is asked for",
		Example: "  berth user add alice --group developers --group ops\n  printf %s \"$PASSWORD\" | berth user add ci --password-stdin",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error {
				password, err := askPassword(cmd, args[0], fromStdin)
				if err != nil {
					return err
				}
				return api.AddUser(cmd.Context(), admin.NewUser{Name: args[0], Password: password, Groups: groups})
			})
		}),
	}
	cmd.Flags().StringSliceVar(&groups, "group", nil, "`GROUP` that the user belongs to; may be given more than once")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newUserPasswd() *cobra.Command {
	var fromStdin bool
	cmd := &cobra.Command{
		Use:     "passwd NAME",
		Short:   "Change a user's password, which ends his logins",
		Example: "  berth user passwd alice",
		Args:    cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			return withAPI(cmd, func(api admin.API) error {
				password, err := askPassword(cmd, args[0], fromStdin)
				if err != nil {
					return err
				}
				return api.SetPassword(cmd.Context(), args[0], password)
			})
		}),
	}
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newUserGroups() *cobra.Command {
	var groups []string
	cmd := onUser("groups NAME", "Replace a user's groups", "  berth user groups alice --group developers",
		func(ctx context.Context, api admin.API, name string) error { return api.SetGroups(ctx, name, groups) })
	cmd.Flags().StringSliceVar(&groups, "group", nil, "`GROUP` that the user belongs to; may be given more than once, none empties the list")
	return cmd
}

func newUserDisable() *cobra.Command {
	return onUser("disable NAME", "Shut a user out, at once", "  berth user disable alice",
		func(ctx context.Context, api admin.API, name string) error { return api.SetDisabled(ctx, name, true) })
}

func newUserEnable() *cobra.Command {
	return onUser("enable NAME", "Let a disabled user in again", "  berth user enable alice",
		func(ctx context.Context, api admin.API, name string) error { return api.SetDisabled(ctx, name, false) })
}

func newUserRemove() *cobra.Command {
	return onUser("remove NAME", "Remove a user", "  berth user remove alice",
		func(ctx context.Context, api admin.API, name string) error { return api.RemoveUser(ctx, name) })
}

func newUserList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  berth user list\n  berth user list -o json",
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return withAPI(cmd, func(api admin.API) error {
				users, err := api.Users(cmd.Context())
				if err != nil {
					return err
				}
				rows := [][]string{{"NAME", "GROUPS", "STATE", "CREATED"}}
				for _, u := range users {
					state := "active"
					if u.Disabled {
						state = "disabled"
					}
					rows = append(rows, []string{u.Name, strings.Join(u.Groups, ","), state, ago(u.Created)})
				}
				return printResult(cmd, users, rows)
			})
		}),
	}
	addOutputFlag(cmd)
	return cmd
}

// askPassword reads a password from standard input: twice and unseen from a
// terminal, else its first line.
func askPassword(cmd *cobra.Command, name string, fromStdin bool) (auth.Secret, error) {
	if stdin := int(os.Stdin.Fd()); !fromStdin && term.IsTerminal(stdin) {
		return askTwice(cmd.ErrOrStderr(), name, func() ([]byte, error) { return term.ReadPassword(stdin) })
	}
	line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return auth.Secret(strings.TrimRight(line, "\r\n")), nil
}

func askTwice(w io.Writer, name string, read func() ([]byte, error)) (auth.Secret, error) {
	var answers [2]string
	for i, prompt := range []string{"New password for %s: ", "Again: "} {
		if i == 0 {
			prompt = fmt.Sprintf(prompt, name)
		}
		fmt.Fprint(w, prompt)
		answer, err := read()
		fmt.Fprintln(w)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		answers[i] = string(answer)
	}
	if answers[0] != answers[1] {
		return "", errors.New("the passwords differ")
	}
	return auth.Secret(answers[0]), nil
}
