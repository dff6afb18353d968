package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v4"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check and show the configuration",
		Example: "  berth config check\n  berth config show -o json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return errors.New("config: name what to do") },
	}
	cmd.AddCommand(newConfigCheck(), newConfigShow())
	return cmd
}

func newConfigCheck() *cobra.Command {
	return &cobra.Command{
		Use:   "check [CONFIG]",
		Short: "Check the configuration, its access rules and its accesstests",
		Long: "Reads the configuration as `berth serve` would, with the variables REGISTRY_*, compiles the\n" +
			"access rules and runs the accesstests. Warnings and errors go to standard error; a file that the\n" +
			"server needs and that is not there is a warning.",
		Example: "  berth config check\n  berth config check config.yml && kill -HUP \"$(pidof berth)\"",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			cfg, src, err := loadAndWarn(cmd, args)
			if err != nil {
				return err
			}
			if _, err := cfg.policy(); err != nil {
				return err
			}
			warn(cmd, cfg.unreadable())
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is good (access rules: %d, accesstests that hold: %d)\n",
				src.name(), len(cfg.Access), len(cfg.AccessTests))
			return err
		}),
	}
}

func newConfigShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [CONFIG]",
		Short: "Show the configuration that is in effect",
		Long: "Shows the configuration as `berth serve` would use it: the file, the variables REGISTRY_* on\n" +
			"top, and defaults for the rest. Secrets are shown as ***.",
		Example: "  berth config show\n  REGISTRY_LOG_LEVEL=debug berth config show config.yml -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			cfg, _, err := loadAndWarn(cmd, args)
			if err != nil {
				return err
			}
			format, err := cmd.Flags().GetString("output")
			if err != nil {
				return err
			}
			data, err := cfg.render(format)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		}),
	}
	addOutputFlag(cmd, "yaml")
	return cmd
}

// loadAndWarn loads the configuration that a command reads, and prints its
// warnings.
func loadAndWarn(cmd *cobra.Command, args []string) (*Config, source, error) {
	src, err := sourceOf(cmd, args)
	if err != nil {
		return nil, source{}, err
	}
	cfg, warnings, err := src.load()
	warn(cmd, warnings)
	return cfg, src, err
}

func warn(cmd *cobra.Command, warnings []string) {
	for _, w := range warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", strings.TrimSpace(w))
	}
}

// unreadable returns a warning for each file without which `berth serve` would
// not start here. It is no error: a file may be checked on another machine than
// the one that it is for.
func (c *Config) unreadable() (warnings []string) {
	files := [][2]string{
		{"auth.htpasswd.path", c.Auth.Htpasswd.Path},
		{"http.tls.certificate", c.HTTP.TLS.Certificate},
		{"http.tls.key", c.HTTP.TLS.Key},
		{"auth.issuer.certificate", c.Auth.Issuer.Certificate},
		{"auth.issuer.key", c.Auth.Issuer.Key},
	}
	for i, dir := range c.Auth.LDAP {
		at := fmt.Sprintf("auth.ldap.%d.", i)
		files = append(files, [2]string{at + "cafile", dir.CAFile}, [2]string{at + "certfile", dir.CertFile},
			[2]string{at + "keyfile", dir.KeyFile}, [2]string{at + "bindpasswordfile", dir.BindPasswordFile})
	}
	for _, path := range c.HTTP.TLS.ClientCAs {
		files = append(files, [2]string{"http.tls.clientcas", path})
	}
	if a := c.Auth.Certificate; a != nil {
		files = append(files, [2]string{"auth.certificate.crlfile", a.CRLFile})
	}
	files = append(files, c.keyFiles()...)
	for _, f := range files {
		if f[1] == "" {
			continue
		}
		file, err := os.Open(f[1])
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s: %v; the server does not start without it", f[0], err))
			continue
		}
		file.Close()
	}
	return warnings
}

// render returns c in a format, yaml or json, without its secrets.
func (c *Config) render(format string) ([]byte, error) {
	shown := *c
	switch {
	case !c.authGiven:
		shown.Auth = authConfig{}
	case c.basicOnly():
		shown.Auth.Issuer = authConfig{}.Issuer
	}
	data, err := yaml.Dump(shown, yaml.WithV3Defaults(), yaml.WithIndent(2))
	if c.accessGiven && len(c.Access) == 0 {
		// Rules that allow nothing are not the same as no rules.
		data = append(data, "access: []\n"...)
	}
	if err != nil || format == "yaml" {
		return data, err
	}
	var tree any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, err
	}
	data, err = json.MarshalIndent(tree, "", "  ")
	return append(data, '\n'), err
}
