package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"berth/auth/ldap"
)

// tryLDAP looks for a user in a directory.
func tryLDAP(cmd *cobra.Command, cfg *Config, q trialQuestion) (*trial, error) {
	var names []string
	for _, d := range cfg.Auth.LDAP {
		names = append(names, d.Name)
	}
	i, err := chooseBackend("auth.ldap", names, q.name)
	if err != nil {
		return nil, err
	}
	d, err := ldap.New(cfg.Auth.LDAP[i].options(nil, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	report := d.Diagnose(cmd.Context(), q.user, q.password)
	r := &trial{Kind: "ldap", Name: names[i], User: q.user, As: report.Name, Groups: report.Groups, OK: report.OK}
	r.good = fmt.Sprintf("%s is in the directory as %s, and may log in", q.user, report.Name)
	if q.password != nil {
		r.good = fmt.Sprintf("%s would get in, as %s", q.user, report.Name)
	}
	for _, s := range report.Steps {
		r.Steps = append(r.Steps, trialStep(s))
	}
	if r.OK {
		r.checkOwner(cmd, cfg, r.As, i)
	}
	return r, nil
}
