package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"strings"
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
		r.reload(ctx)
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

// reload puts the rules, of access and of trust, the groups, directories and
// providers of the configuration in force, all or none of them. What cannot be
// used leaves those before in force.
func (r *running) reload(ctx context.Context) {
	before := r.ruling.rulesDigest()
	err := r.tryReload(ctx)
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

func (r *running) tryReload(ctx context.Context) error {
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
	useRules, err := r.newRules(cfg)
	if err != nil {
		return err
	}
	next, err := r.core.prepare(ctx, cfg)
	if err != nil {
		return err
	}
	if err := r.core.trust.SetRules(cfg.trustRules()); err != nil {
		r.core.discard(next)
		return fmt.Errorf("auth.trust: %w", err)
	}
	r.core.policy.Store(policy) // first: no rule of before is for users who come
	r.core.verifier.SetGroups(cfg.Auth.Groups)
	fixed := r.core.htpasswd != nil || r.core.outside != nil || r.core.certificates != nil // until the next start
	r.core.accountsOnly.Store(cfg.accountsOnly() && !fixed)
	r.core.use(next)
	r.core.collector.setRules(cfg)
	useRules()
	r.ruling = cfg
	r.level.Set(logLevel(string(cfg.Log.Level)))
	for _, w := range warnings {
		r.log.Warn(w)
	}
	r.log.Info("configuration reloaded", "rules", len(cfg.Access), "directories", len(next.directories), "providers", len(next.providers))
	r.reportWaiting(cfg)
	return nil
}

// reportWaiting says which keys of a configuration only a start takes over, in
// the log and, until they are as they were, in /readyz.
func (r *running) reportWaiting(cfg *Config) {
	keys := changedKeys(reflect.ValueOf(withoutReloadable(r.cfg)), reflect.ValueOf(withoutReloadable(cfg)), "")
	if r.cfg.logsIn() != cfg.logsIn() || r.cfg.basicOnly() != cfg.basicOnly() {
		keys = append(keys, "auth")
	}
	list := strings.Join(keys, ", ")
	r.health.report("restart", list)
	if list != "" {
		r.log.Warn("the configuration has changes that take effect at the next start", "keys", list)
	}
}

// changedKeys returns the paths of the keys that differ; of a section that is
// there in one of the two only, its own.
func changedKeys(a, b reflect.Value, path string) (changed []string) {
	for a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil() {
		a, b = a.Elem(), b.Elem()
	}
	if a.Kind() != reflect.Struct || isScalar(a.Type()) {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			changed = append(changed, path)
		}
		return changed
	}
	for _, k := range keysOf(a.Type()) {
		changed = append(changed, changedKeys(a.Field(k.index), b.Field(k.index), join(path, k.name))...)
	}
	return changed
}

// newRules returns what puts the rules about content, and the limits, of cfg in
// force.
func (r *running) newRules(cfg *Config) (use func(), err error) {
	rules, err := cfg.contentRules()
	if err != nil {
		return nil, err
	}
	limits, err := cfg.limits()
	if err != nil {
		return nil, err
	}
	same := reflect.DeepEqual(r.ruling.Limits, cfg.Limits)
	return func() {
		r.core.registry.SetRules(rules)
		if !same { // else what is used stays used
			r.limits.Store(limits)
		}
	}, nil
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
	c.Access, c.AccessTests, c.Retention = nil, nil, nil
	c.Immutable, c.Quotas, c.Limits = nil, nil, nil
	c.Auth.Groups, c.Auth.Trust, c.Auth.LDAP, c.Auth.OIDC = nil, nil, nil, nil
	c.Log.Level = ""
	return c
}
