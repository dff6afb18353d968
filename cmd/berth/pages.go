package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"berth/audit"
	"berth/auth"
	"berth/auth/robot"
	"berth/server"
	"berth/web"
)

// pages returns the pages for people.
func (r *running) pages(ctx context.Context) (*web.Handler, error) {
	secret, err := r.core.sso.Store.Secret(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the secret of sign-ins: %w", err)
	}
	o := web.Options{
		Secret:    secret,
		Devices:   r.core.db.Devices(),
		Ledger:    r.core.ledger(),
		Verifier:  r.core.verifier,
		Sessions:  r.core.sessions,
		Tokens:    personalTokens{r.core.robots.Tokens(), r.core.audit},
		Passwords: r.core.hasPasswords,
		Providers: func() (list []web.Provider) {
			for _, p := range r.core.providers() {
				list = append(list, p)
			}
			return list
		},
		Host:      r.cfg.HTTP.Host,
		Attempted: r.core.attempted,
		Log:       r.log,
	}
	return web.New(o)
}

// hasPasswords reports whether anybody logs in with a password now.
func (c *core) hasPasswords() bool {
	return len(c.lineup.Load().directories) > 0 || c.htpasswd != nil || slices.Contains(c.first, auth.Authenticator(c.accounts))
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
