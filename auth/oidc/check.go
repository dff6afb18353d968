package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"berth/auth"
)

// answered is a check that is over.
var answered = func() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}()

// begin asks the provider about a user in the background, and returns a channel
// that is closed when the answer is there. Who is being asked about already is
// not asked about again. It is nil when that would be too early after a failure,
// or too late.
func (p *Provider) begin(u User) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.checks[u.Subject]; ok {
		return c.done
	}
	if now := p.byName[u.Name]; !now.Checked.Equal(u.Checked) || now.Suspended {
		return answered // since the caller looked
	}
	if last, ok := p.failed[u.Subject]; ok && p.o.Load().Now().Sub(last) < retryAfter || p.ctx.Err() != nil {
		return nil
	}
	c := &check{done: make(chan struct{})}
	p.checks[u.Subject] = c
	p.work.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, checkTime)
		defer cancel()
		p.end(u, p.askOnce(ctx, u))
		close(c.done)
	})
	return c.done
}

// end notes how a check ended.
func (p *Provider) end(u User, err error) {
	p.mu.Lock()
	delete(p.checks, u.Subject)
	delete(p.failed, u.Subject)
	if err != nil {
		p.failed[u.Subject] = p.o.Load().Now()
	}
	p.mu.Unlock()
	if p.ctx.Err() == nil {
		p.report(err)
	}
}

// report remembers whether the provider answers, and logs when that changes.
func (p *Provider) report(err error) {
	now := ""
	if err != nil {
		now = clipped{err}.Error()
	}
	p.mu.Lock()
	before := p.down
	p.down = now
	p.mu.Unlock()
	switch {
	case before == "" && now != "":
		p.o.Load().Log.Error("an OpenID Connect provider does not answer as it should", "provider", p.o.Load().Name, "error", now)
	case before != "" && now == "":
		p.o.Load().Log.Info("an OpenID Connect provider answers again", "provider", p.o.Load().Name)
	}
}

// askOnce is ask by one node at a time, as a refresh token may serve once. The
// others take over what comes of it.
func (p *Provider) askOnce(ctx context.Context, u User) error {
	for p.o.Load().Shared {
		latest, mine, err := p.claim(ctx, u)
		switch {
		case errors.Is(err, ErrNotExist):
			return nil // who was removed is asked about no more
		case err != nil:
			return err
		case mine:
			return p.ask(ctx, latest)
		case !due(latest, u):
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another node asks the provider %s about %s: %w", p.o.Load().Name, u.Name, ctx.Err())
		case <-time.After(claimPause):
		}
	}
	return p.ask(ctx, u)
}

// claimPause is between two looks at what another node is told.
const claimPause = 250 * time.Millisecond

// claim returns a user as he is in the store, and whether this node is to ask
// about him: nobody else has, since he was read, and nobody does.
func (p *Provider) claim(ctx context.Context, u User) (latest User, mine bool, err error) {
	p.change.Lock()
	defer p.change.Unlock()
	err = p.store.UpdateUser(ctx, p.o.Load().Issuer, u.Subject, func(now *User) error {
		asking := p.o.Load().Now().Sub(now.Asked)
		latest = *now
		if !due(*now, u) || asking >= 0 && asking < checkTime {
			return errUnchanged
		}
		now.Asked = p.now()
		latest, mine = *now, true
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return latest, false, fmt.Errorf("look up a user of %s: %w", p.o.Load().Name, err)
	}
	p.put(latest)
	return latest, mine, nil
}

// due reports whether a user still has to be asked about who was read as before.
func due(now, before User) bool {
	return now.Checked.Equal(before.Checked) && !now.Suspended && !now.Disabled && len(now.Refresh) > 0
}

// ask asks the provider about a user with his refresh token, and writes what it
// says. It fails when the provider could not be asked, or could not tell.
func (p *Provider) ask(ctx context.Context, u User) error {
	refresh, err := p.open(u)
	if err != nil {
		return p.suspend(ctx, u, "his refresh token cannot be read: the secret that sealed it is gone")
	}
	m, err := p.metadata(ctx)
	if err != nil {
		return err
	}
	c, err := p.config(m, "")
	if err != nil {
		return err
	}
	tokens, err := c.TokenSource(p.with(ctx), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if why := refusal(err); why != "" {
		return p.suspend(ctx, u, "the provider answers "+why)
	}
	if err != nil {
		return fmt.Errorf("refresh the sign-in of %s: %w", u.Name, retrieval(err))
	}
	who, err := p.verify(ctx, m, tokens, "")
	if err == nil && who.subject != u.Subject && who.subject != "" {
		err = invalid("it is about somebody else")
	}
	var groups []string
	if err == nil {
		groups, err = p.groupsAfter(who, u)
	}
	// Whatever came of it, the old token may be void.
	return errors.Join(reasoned(err), p.keep(ctx, u, tokens.RefreshToken, groups, err == nil))
}

// groupsAfter returns the groups of a user after a refresh. A provider that says
// nothing at all of him has not changed them.
func (p *Provider) groupsAfter(who person, u User) ([]string, error) {
	if who.claims == nil {
		return u.Groups, nil
	}
	return p.groups(who)
}

// reasoned returns the reason of a refusal as an error for the log.
func reasoned(err error) error {
	var refused *auth.RejectedError
	if errors.As(err, &refused) {
		return errors.New(refused.Reason)
	}
	return err
}

// keep writes the refresh token of now and, when the provider vouches for the
// user, his groups.
func (p *Provider) keep(ctx context.Context, asked User, refresh string, groups []string, vouched bool) error {
	return p.settle(ctx, asked, func(u *User) {
		u.Refresh = p.seal(*u, refresh)
		if vouched {
			u.Groups, u.Checked = groups, p.now()
		}
	})
}

// suspend shuts out a user whom the provider does not vouch for any more, until
// he signs in again.
func (p *Provider) suspend(ctx context.Context, asked User, why string) error {
	p.o.Load().Log.InfoContext(ctx, "a user has to sign in again", "user", asked.Name, "reason", why)
	return p.settle(ctx, asked, func(u *User) {
		u.Suspended, u.Refresh = true, nil
		u.Changed = p.after(u.Changed)
	})
}

// settle writes what came of a check. A sign-in that happened meanwhile knows
// better, and for who was removed there is nothing to write.
func (p *Provider) settle(ctx context.Context, asked User, change func(*User)) error {
	err := p.update(ctx, asked.Subject, func(u *User) error {
		if !slices.Equal(u.Refresh, asked.Refresh) {
			return errUnchanged
		}
		change(u)
		return nil
	})
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	return err
}
