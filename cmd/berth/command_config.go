package main

import (
	"encoding/json"
	"errors"
	"fmt"
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
			"access rules, runs the accesstests, and reads every file that it names as the server would.\n" +
			"Warnings and errors go to standard error; a file that cannot be opened here is a warning.",
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
			warnings, faults := cfg.checkFiles()
			warn(cmd, warnings)
			if len(faults) > 0 {
				return errors.New(strings.Join(faults, "\n"))
			}
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
