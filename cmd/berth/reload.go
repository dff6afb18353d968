package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"berth/audit"
)

// watchConfig reads the configuration again when its file changes and on
// SIGHUP, until ctx ends.
func (r *running) watchConfig(ctx context.Context) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	changed := make(chan struct{})
	if r.src.path != "" {
		r.work.Go(func() {
			watchFiles(ctx, []string{r.src.path}, func() {
				select {
				case changed <- struct{}{}:
				case <-ctx.Done():
				}
			})
		})
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-hup:
			r.reloadUsers()
		}
		r.reload()
	}
}

// reloadUsers reads again what else says who there is, apart from the
// configuration.
func (r *running) reloadUsers() {
	if r.core.htpasswd != nil {
		if err := r.core.htpasswd.Reload(); err != nil {
			r.log.Error("the password file cannot be used, its old users stay", "error", err)
		}
	}
	// What goes wrong with keys is logged where it does, and shows as degraded.
	_ = r.core.trust.Reload()
	if r.core.outside != nil {
		_ = r.core.outside.Reload()
	}
}

// reload puts the rules, of access and of trust, and the groups of the
// configuration in force, all or none of them. What cannot be used leaves those
// before in force.
func (r *running) reload() {
	before := r.ruling.rulesDigest()
	err := r.tryReload()
	kind := audit.Config
	if r.ruling.rulesDigest() != before {
		kind = audit.Rules
	}
	r.auditRegistry(kind, err)
	if err != nil {
		r.health.report("configuration", err.Error())
		r.log.Error("the configuration cannot be used, the old one stays in force", "error", err)
		return
	}
	r.health.report("configuration", "")
}

func (r *running) tryReload() error {
	cfg, warnings, err := r.src.load()
	if err != nil {
		return err
	}
	if r.cfg.authenticates() && !cfg.authenticates() {
		return errors.New("it has no auth: section any more; to remove authentication, restart")
	}
	if dropsRules(r.ruling, cfg) {
		return errors.New("it has no access: section any more; to remove all rules, restart")
	}
	policy, err := cfg.policy()
	if err != nil {
		return err
	}
	if err := r.core.trust.SetRules(cfg.trustRules()); err != nil {
		return fmt.Errorf("auth.trust: %w", err)
	}
	for _, w := range warnings {
		r.log.Warn(w)
	}
	r.core.policy.Store(policy)
	r.ruling = cfg
	r.core.verifier.SetGroups(cfg.Auth.Groups)
	r.level.Set(logLevel(string(cfg.Log.Level)))
	r.log.Info("configuration reloaded", "rules", len(cfg.Access))
	if !reflect.DeepEqual(withoutReloadable(r.cfg), withoutReloadable(cfg)) || r.cfg.logsIn() != cfg.logsIn() || r.cfg.basicOnly() != cfg.basicOnly() {
		r.log.Warn("the configuration has other changes too, which take effect at the next start")
	}
	return nil
}

// dropsRules reports whether next leaves out rules altogether that old has, be
// they none.
func dropsRules(old, next *Config) bool {
	return old.accessGiven && !next.accessGiven || len(old.Access) > 0 && len(next.Access) == 0
}

// withoutReloadable returns the part of a configuration that only a start
// takes over.
func withoutReloadable(cfg *Config) Config {
	c := *cfg
	c.Access, c.AccessTests = nil, nil
	c.Auth.Groups, c.Auth.Trust = nil, nil
	c.Log.Level = ""
	return c
}
