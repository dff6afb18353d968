package oidc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"berth/auth"
)

// A Login is a sign-in that has begun. All of it belongs to one browser, and is
// good for one callback.
type Login struct {
	State, Nonce, Verifier string
}

// Begin begins a sign-in whose callback is at redirect, and returns the address
// to send the browser to. It fails when the provider does not answer.
func (p *Provider) Begin(ctx context.Context, redirect string) (Login, string, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		p.report(err)
		return Login{}, "", err
	}
	c, err := p.config(m, redirect)
	if err != nil {
		return Login{}, "", err
	}
	l := Login{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier()}
	options := []oauth2.AuthCodeOption{oidc.Nonce(l.Nonce), oauth2.S256ChallengeOption(l.Verifier)}
	if p.o.Load().Prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", p.o.Load().Prompt))
	}
	return l, c.AuthCodeURL(l.State, options...), nil
}

// Finish ends a sign-in with the code that the provider sent to the callback,
// and returns who has signed in. The caller has compared the state.
// Errors: *auth.RejectedError; any other when the provider does not answer.
func (p *Provider) Finish(ctx context.Context, redirect string, l Login, code string) (auth.Identity, error) {
	id, err := p.finish(ctx, redirect, l, code)
	if err == nil {
		p.report(nil)
	} else if !errors.Is(err, auth.ErrBadCredentials) && ctx.Err() == nil {
		p.report(err)
	}
	return id, err
}

func (p *Provider) finish(ctx context.Context, redirect string, l Login, code string) (auth.Identity, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return auth.Identity{}, err
	}
	c, err := p.config(m, redirect)
	if err != nil {
		return auth.Identity{}, err
	}
	tokens, err := c.Exchange(p.with(ctx), code, oauth2.VerifierOption(l.Verifier))
	if why := refusal(err); why != "" {
		return auth.Identity{}, rejected("the provider refuses the code: "+why, "this sign-in has expired, or was ended before: begin again")
	}
	if err != nil {
		return auth.Identity{}, fmt.Errorf("redeem a code at %s: %w", p.o.Load().Name, retrieval(err))
	}
	who, err := p.verify(ctx, m, tokens, l.Nonce)
	if err != nil {
		return auth.Identity{}, err
	}
	return p.admit(ctx, who, tokens.RefreshToken)
}

// admit lets in who has signed in, under the name that he has, or gets now.
func (p *Provider) admit(ctx context.Context, who person, refresh string) (auth.Identity, error) {
	name, err := p.name(who)
	if err != nil {
		return auth.Identity{}, err
	}
	groups, err := p.groups(who)
	if err != nil {
		return auth.Identity{}, err
	}
	if known, ok := p.nameOf(who.subject); ok {
		name = known
	}
	if err := p.checkFree(ctx, name); err != nil {
		return auth.Identity{}, err
	}
	p.change.Lock()
	defer p.change.Unlock()
	known, ok := p.nameOf(who.subject)
	if ok {
		name = known
	}
	now := p.now()
	u := User{Issuer: p.o.Load().Issuer, Subject: who.subject, Provider: p.o.Load().Name, Name: name, Created: now, Changed: now}
	signIn := func(u *User) error {
		if u.Disabled {
			return rejected("disabled by an administrator", "an administrator has disabled %s", u.Name)
		}
		u.Groups, u.Refresh, u.Suspended = groups, p.seal(*u, refresh), false
		u.LastLogin, u.Checked = now, now
		return nil
	}
	if ok {
		err = p.updateLocked(ctx, who.subject, signIn)
	} else if err = signIn(&u); err == nil {
		err = p.create(ctx, u)
	}
	if err != nil {
		return auth.Identity{}, err
	}
	e, _ := p.get(name)
	return e.identity, nil
}

// nameOf returns the name that a subject has had since his first sign-in.
func (p *Provider) nameOf(subject string) (string, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	name, ok := p.bySubject[subject]
	return name, ok
}

// create adds a user. The name of another is never taken over.
func (p *Provider) create(ctx context.Context, u User) error {
	err := p.store.CreateUser(context.WithoutCancel(ctx), u)
	switch {
	case errors.Is(err, ErrNameTaken):
		return rejected("the name "+u.Name+" is another user's",
			"the name %[1]s belongs to another account of the provider, perhaps to one that is gone: an administrator can free it with: berth user remove %[1]s", u.Name)
	case err != nil:
		return fmt.Errorf("add a user of %s: %w", p.o.Load().Name, err)
	}
	p.put(u)
	return nil
}

// checkFree refuses a plain name that a user of another backend has.
func (p *Provider) checkFree(ctx context.Context, name string) error {
	if !p.o.Load().Plain {
		return nil
	}
	owner, err := p.o.Load().Taken(ctx, name)
	switch {
	case err != nil:
		return fmt.Errorf("look up who owns the name of a user: %w", err)
	case owner != "":
		return rejected("the name "+name+" is owned by "+owner,
			"the name %s belongs to a user that another backend of this registry keeps (%s): an administrator can remove that one, or leave out plain: true for %s", name, owner, p.o.Load().Name)
	}
	return nil
}
