package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"berth/audit"
	"berth/auth"
	"berth/auth/oidc"
	"berth/auth/robot"
	"berth/server"
	"berth/web"
)

// openSSO opens the OpenID Connect providers of the configuration. Others
// returns the backends whose names a provider must not take.
func (c *core) openSSO(ctx context.Context, cfg *Config, others func() []auth.Authenticator, log *slog.Logger) error {
	c.sso = &oidc.Directory{Store: c.db.SSO(), Removed: c.robots.Forget}
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

func isProvider(b auth.Authenticator) bool {
	_, ok := b.(*oidc.Provider)
	return ok
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
		Tokens:    personalTokens{r.core.robots.Tokens(), r.core.audit},
		Passwords: r.cfg.hasPasswords(),
		Host:      r.cfg.HTTP.Host,
		Attempted: r.core.attempted,
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

// personalTokens are those of package robot, as package web asks for them.
type personalTokens struct {
	tokens robot.Tokens
	audit  *audit.Log
}

func (p personalTokens) List(ctx context.Context, owner auth.Subject) ([]web.Token, error) {
	list, err := p.tokens.List(ctx, owner)
	if err != nil {
		return nil, err
	}
	tokens := make([]web.Token, len(list))
	for i, t := range list {
		tokens[i] = web.Token{
			ID: t.ID, Name: t.Name, Repositories: t.Repositories, Actions: t.Actions,
			Created: t.Created, Expires: t.Expires, LastUsed: t.LastUse.At,
		}
	}
	return tokens, nil
}

func (p personalTokens) New(ctx context.Context, owner auth.Subject, t web.NewToken) (auth.Secret, error) {
	secret, err := p.tokens.New(ctx, owner, t.Name, t.Repositories, t.Actions, t.Expires)
	p.record(ctx, audit.TokenAdd, owner, owner.Name, t.Name, err)
	if errors.Is(err, robot.ErrInvalid) {
		return "", &web.InvalidError{Reason: strings.TrimPrefix(err.Error(), robot.ErrInvalid.Error()+": ")}
	}
	return secret, err
}

func (p personalTokens) Revoke(ctx context.Context, owner auth.Subject, id string) error {
	err := p.tokens.Revoke(ctx, owner, id)
	p.record(ctx, audit.TokenRevoke, owner, id, "", err)
	if errors.Is(err, robot.ErrNotExist) {
		return web.ErrNoToken
	}
	return err
}

// record tells the audit what somebody did to his own tokens.
func (p personalTokens) record(ctx context.Context, kind audit.Kind, owner auth.Subject, target, detail string, err error) {
	r := audit.RequestOf(ctx)
	e := audit.Of(kind, auth.Identity{Subject: owner})
	e.Result, e.Target, e.Reason = audit.OK, target, detail
	e.Method, e.Agent, e.Ref, e.Address = r.Method, r.Agent, r.Ref, server.OriginOf(ctx).Addr
	if err != nil {
		e.Result, e.Reason = audit.Error, err.Error()
		if errors.Is(err, robot.ErrInvalid) || errors.Is(err, robot.ErrNotExist) {
			e.Result = audit.Failed
		}
	}
	p.audit.Record(e)
}
