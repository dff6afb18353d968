// Command berth is a container registry with its own user authentication and
// access control.
//
// main puts the packages together: the configuration chooses from the tables of
// drivers and backends here, and nothing below knows of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the build.
var version = "dev"

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // a check or an operation failed
	exitUsage  = 2 // the call was not understood
)

func main() { os.Exit(run(os.Args)) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	if strings.TrimSuffix(filepath.Base(args[0]), ".exe") == "registry" {
		root = newRegistryCommand()
	}
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var failed *failure
	if errors.As(err, &failed) {
		if failed.err != nil {
			fmt.Fprintln(os.Stderr, "berth:", failed.err)
		}
		return exitFailed
	}
	fmt.Fprintf(os.Stderr, "berth: %v\n%s --help says more\n", err, root.CommandPath())
	return exitUsage
}

// A failure is an error of an operation that was understood; any other error
// of a command is one of its usage. Without an err, all has been said.
type failure struct{ err error }

func (f *failure) Error() string {
	if f.err == nil {
		return "failed"
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// operation adapts what a command does: its errors are failures, not usage.
func operation(do func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := do(cmd, args)
		var failed *failure
		if err == nil || errors.As(err, &failed) {
			return err
		}
		return &failure{err}
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "A container registry with its own users and access rules",
		Long: "berth is a container registry with its own user authentication and access control.\n" +
			"It reads the config.yml and the REGISTRY_* variables of CNCF Distribution.",
		Example:       "  berth serve\n  berth user add alice --group developers\n  berth access explain alice push team/app:v1",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().String("config", "", "configuration `FILE` (default: as `berth serve` searches it)")
	root.AddCommand(
		newServeCommand(),
		newConfigCommand(),
		newUserCommand(),
		newTokenCommand(),
		newAccessCommand(),
		newVersionCommand(),
	)
	root.AddCommand(laterCommands()...)
	return root
}

// newRegistryCommand is berth under Distribution's name, with its commands.
func newRegistryCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "registry",
		Short:         "berth, in the place of CNCF Distribution's registry",
		Example:       "  registry serve /etc/docker/registry/config.yml",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version,
	}
	root.PersistentFlags().String("config", "", "configuration `FILE`")
	root.Flags().BoolP("version", "v", false, "print the version")
	root.AddCommand(newServeCommand(), later("garbage-collect", "Delete what no tag needs"))
	return root
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  berth version",
		Args:    cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "berth", version)
		},
	}
}

// laterCommands are named so that nobody takes their absence for a typing
// error. They do nothing and say so.
func laterCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, c := range [][2]string{
		{"robot", "Manage robots"},
		{"gc", "Delete what no tag needs"},
		{"import", "Take over the data of Distribution"},
		{"export", "Write Distribution's layout"},
		{"scrub", "Verify all that is stored"},
		{"backup", "Back up the metadata"},
		{"restore", "Restore a backup"},
		{"rebuild", "Rebuild the metadata from the blobs"},
		{"migrate", "Move the metadata to another database"},
		{"audit", "Search what was done"},
		{"auth", "Test the authentication backends"},
		{"mirror", "Copy from and to other registries"},
	} {
		commands = append(commands, later(c[0], c[1]))
	}
	return commands
}

func later(name, short string) *cobra.Command {
	return &cobra.Command{
		Use:                name,
		Short:              short + " (not available yet)",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return fmt.Errorf("%s: not available yet", cmd.CommandPath())
		}),
	}
}
