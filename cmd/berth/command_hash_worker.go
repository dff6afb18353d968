package main

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/spf13/cobra"

	"berth/auth"
)

const hashWorkerName = "hash-worker"

// newHashWorkerCommand is for the server alone, which starts it.
func newHashWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:     hashWorkerName,
		Short:   "Hash passwords for the server, at a low priority",
		Example: "  berth serve   # starts it when there are passwords to check",
		Hidden:  true,
		Args:    cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			return auth.ServeHashes(cmd.InOrStdin(), cmd.OutOrStdout())
		}),
	}
}

// newHashWorker returns the command of such a process. It has a group of its
// own, so that what stops the server from a terminal leaves it the logins that it
// still answers, and it ends with the server, which closes its input.
func newHashWorker() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", hashWorkerName)
	cmd.Args[0] = "berth"
	cmd.Env = []string{"GOMAXPROCS=1"}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}
