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
	cmd, err := root.ExecuteContextC(ctx)
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
	fmt.Fprintf(os.Stderr, "berth: %v\n", err)
	if !cmd.HasSubCommands() {
		fmt.Fprintln(os.Stderr, "usage:", cmd.UseLine())
	}
	fmt.Fprintln(os.Stderr, cmd.CommandPath(), "--help says more")
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
		newRobotCommand(),
		newTokenCommand(),
		newLoginCommand(),
		newAccessCommand(),
		newAuditCommand(),
		newAuthCommand(),
		newImportCommand(),
		newMigrateCommand(),
		newExportCommand(),
		newGCCommand(),
		newRepoCommand(),
		newBackupCommand(),
		newRestoreCommand(),
		newScrubCommand(),
		newRebuildCommand(),
		newVersionCommand(),
		newCompletionCommand(),
		newHashWorkerCommand(),
	)
	root.AddCommand(laterCommands()...)
	root.SetHelpCommand(newHelpCommand())
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
	root.AddCommand(newServeCommand(), newGarbageCollectCommand())
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

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print the script with which a shell completes commands",
		Long:      "Prints a script for SHELL, which is bash, fish, powershell or zsh: with it, the shell completes\nberth's commands and flags.",
		Example:   "  source <(berth completion bash)\n  berth completion zsh > \"${fpath[1]}/_berth\"",
		ValidArgs: []string{"bash", "fish", "powershell", "zsh"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "fish":
				return root.GenFishCompletion(out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(out)
			}
			return root.GenZshCompletion(out)
		}),
	}
}

// newHelpCommand is cobra's, but for a command that there is not, which is
// wrong usage here.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Print the help of a command",
		Example: "  berth help user add",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return fmt.Errorf("unknown command %q for %q", rest[0], about.CommandPath())
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}

// laterCommands are named so that nobody takes their absence for a typing
// error. They do nothing and say so.
func laterCommands() []*cobra.Command {
	var commands []*cobra.Command
	for _, c := range [][2]string{
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
			return fmt.Errorf("%s: not available yet", cmd.Name())
		}),
	}
}
