package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"berth/auth"
	"berth/auth/oidc"
	"berth/web"
)

// openSSO opens the OpenID Connect providers of the configuration. Others
// returns the backends whose names a provider must not take.
func (c *core) openSSO(ctx context.Context, cfg *Config, others func() []auth.Authenticator, log *slog.Logger) error {
	c.sso = &oidc.Directory{Store: c.db.SSO()}
	for _, config := range cfg.Auth.OIDC {
		o, err := config.options()
		if err != nil {
			return err
		}
		o.Log, o.Address = log, cfg.HTTP.Host
		o.Taken = func(ctx context.Context, name string) (string, error) { return ownerAmong(ctx, others(), name) }
		p, err := oidc.New(ctx, c.sso.Store, o)
		if err != nil {
			return fmt.Errorf("open auth.oidc %s: %w", config.Name, err)
		}
		c.sso.Providers = append(c.sso.Providers, p)
		c.closers = append(c.closers, p.Close)
	}
	return nil
}

// ownerAmong returns which of the backends has a user of that name, disabled or
// not, or "".
func ownerAmong(ctx context.Context, backends []auth.Authenticator, name string) (string, error) {
	for _, b := range backends {
		id, err := b.Resolve(ctx, auth.Subject{Name: name})
		switch {
		case errors.Is(err, auth.ErrNoMatch):
		case errors.Is(err, auth.ErrBadCredentials):
			return "another backend", nil
		case err != nil:
			return "", err
		default:
			return id.Provider, nil
		}
	}
	return "", nil
}

// pages returns the pages for people.
func (r *running) pages() (*web.Handler, error) {
	o := web.Options{
		Verifier:  r.core.verifier,
		Sessions:  r.core.sessions,
		Passwords: r.cfg.hasPasswords(),
		Host:      r.cfg.HTTP.Host,
		Log:       r.log,
	}
	for _, p := range r.core.sso.Providers {
		o.Providers = append(o.Providers, p)
		r.health.watch("auth.oidc."+p.Name(), p.Degraded)
	}
	return web.New(o)
}

// hasPasswords reports whether anybody logs in with a password.
func (c *Config) hasPasswords() bool {
	return c.Auth.Accounts.Enabled || c.Auth.Htpasswd.Path != "" || len(c.Auth.LDAP) > 0
}
