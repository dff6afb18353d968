package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/access/dockerauth"
)

// newImportCommand takes over what other programs keep.
func newImportCommand() *cobra.Command {
	var verify bool
	cmd := &cobra.Command{
		Use:   "import [CONFIG]",
		Short: "Take over the data of Distribution; the configuration of docker_auth",
		Long: "Takes over the data of CNCF Distribution (registry:2 or registry:3) that CONFIG points at, which may be\n" +
			"its own configuration. No blob is copied, and nothing of Distribution's is changed: it may go on\n" +
			"meanwhile, and a second import adds what it has written since. What was interrupted is taken up again.\n" +
			"What was left out is listed with the reason, and whether Distribution serves it (LOST); the exit code\n" +
			"is 1 when it serves something that berth will not. A blob is hashed when it is first read, or now\n" +
			"with --verify.",
		Example: "  berth import /etc/docker/registry/config.yml\n" +
			"  berth import --verify -o json config.yml > report.json\n" +
			"  berth import docker-auth auth_config.yml > config.yml",
		Args: cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error { return importData(cmd, args, verify) }),
	}
	cmd.Flags().BoolVar(&verify, "verify", false, "hash every blob that was not hashed before")
	addOutputFlag(cmd, "table")
	cmd.AddCommand(newImportDockerAuth())
	return cmd
}

func newImportDockerAuth() *cobra.Command {
	var o dockerauth.Options
	cmd := &cobra.Command{
		Use:   "docker-auth FILE",
		Short: "Translate a configuration of docker_auth",
		Long: "Reads FILE, a configuration of docker_auth, and prints one of berth under which every user may\n" +
			"do to each repository what he may there, with accesstests that say so. There the first entry that\n" +
			"matches decides; here a deny beats every allow: what cannot be said so is an error that names the\n" +
			"entry and a request that would be answered otherwise. What else changes is said on standard error.",
		Example: "  berth import docker-auth auth_config.yml > config.yml\n" +
			"  berth import docker-auth auth_config.yml --htpasswd /etc/berth/htpasswd --admin admin --service registry.example.org > config.yml",
		Args: cobra.ExactArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error { return importDockerAuth(cmd, args[0], o) }),
	}
	cmd.Flags().StringVar(&o.Htpasswd, "htpasswd", "", "write the users to the new password `FILE`; without it they are a comment")
	cmd.Flags().StringSliceVar(&o.Admins, "admin", nil, "`USER` who may do everything there, and becomes an admin here")
	cmd.Flags().StringSliceVar(&o.Services, "service", nil, "`SERVICE` of a registry that asks berth for tokens from now on")
	return cmd
}

func importDockerAuth(cmd *cobra.Command, path string, o dockerauth.Options) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration of docker_auth: %w", err)
	}
	file := o.Htpasswd
	if o.Htpasswd == "" {
		o.Htpasswd = "/etc/berth/htpasswd"
	} else if o.Htpasswd, err = filepath.Abs(o.Htpasswd); err != nil {
		return err
	}
	r, err := dockerauth.Translate(path, data, o)
	if err != nil {
		return err
	}
	if err := checkImported(r.Config); err != nil {
		return err
	}
	for _, n := range r.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	switch {
	case len(r.Htpasswd) == 0:
	case file != "":
		if err := writeNew(file, r.Htpasswd); err != nil {
			return err
		}
	default:
		r.Config = fmt.Appendf(r.Config, "# The users, for %s:\n", o.Htpasswd)
		for line := range strings.Lines(string(r.Htpasswd)) {
			r.Config = append(r.Config, "# "+line...)
		}
	}
	_, err = cmd.OutOrStdout().Write(r.Config)
	return err
}

// checkImported checks a configuration as `berth config check` would.
func checkImported(config []byte) error {
	cfg, _, err := parseConfig("config.yml", config, nil)
	if err == nil {
		_, err = cfg.policy()
	}
	if err != nil {
		return fmt.Errorf("the configuration that was made does not check: %w", err)
	}
	return nil
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name another --htpasswd, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("write the password file: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the password file: %w", err)
	}
	return nil
}
