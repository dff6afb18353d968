package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/auth"
)

// Reload takes over what others have changed in the store.
func (p *Provider) Reload(ctx context.Context) error {
	p.change.Lock()
	defer p.change.Unlock()
	users, err := p.store.Users(ctx, p.o.Load().Name)
	if err != nil {
		return fmt.Errorf("read the users of %s: %w", p.o.Load().Name, err)
	}
	byName, bySubject := make(map[string]entry, len(users)), make(map[string]string, len(users))
	for _, u := range users {
		if u.Issuer != p.o.Load().Issuer {
			continue // of a provider that had this name before
		}
		byName[u.Name] = newEntry(u)
		bySubject[u.Subject] = u.Name
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byName, p.bySubject = byName, bySubject
	return nil
}

// List returns all users, sorted by name, without their refresh tokens.
func (p *Provider) List() []User {
	p.mu.RLock()
	defer p.mu.RUnlock()
	list := make([]User, 0, len(p.byName))
	for _, name := range slices.Sorted(maps.Keys(p.byName)) {
		u := p.byName[name].User
		u.Refresh = nil
		u.Groups = slices.Clone(u.Groups)
		list = append(list, u)
	}
	return list
}

// SetDisabled shuts a user out, or lets him in again. What was issued before he
// was disabled stays void. Errors: ErrNotExist.
func (p *Provider) SetDisabled(ctx context.Context, name string, disabled bool) error {
	e, ok := p.get(name)
	if !ok {
		return ErrNotExist
	}
	return p.update(ctx, e.Subject, func(u *User) error {
		if u.Disabled != disabled {
			u.Disabled = disabled
			u.Changed = p.after(u.Changed)
		}
		return nil
	})
}

// remove forgets a user and all that is his. Whoever signs in next may get his
// name. Errors: ErrNotExist.
func (p *Provider) remove(ctx context.Context, name string) error {
	p.change.Lock()
	defer p.change.Unlock()
	e, ok := p.get(name)
	if !ok {
		return ErrNotExist
	}
	if _, err := p.store.DeleteUser(context.WithoutCancel(ctx), name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byName, name)
	delete(p.bySubject, e.Subject)
	return nil
}

// errUnchanged makes an update write nothing.
var errUnchanged = errors.New("nothing to change")

// update changes a user in the store, and then in memory. The caller's leaving
// does not end it: otherwise the two could differ.
func (p *Provider) update(ctx context.Context, subject string, change func(*User) error) error {
	p.change.Lock()
	defer p.change.Unlock()
	return p.updateLocked(ctx, subject, change)
}

func (p *Provider) updateLocked(ctx context.Context, subject string, change func(*User) error) error {
	var changed User
	err := p.store.UpdateUser(context.WithoutCancel(ctx), p.o.Load().Issuer, subject, func(u *User) error {
		err := change(u)
		changed = *u
		return err
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case err != nil:
		return fmt.Errorf("change a user of %s: %w", p.o.Load().Name, err)
	}
	p.put(changed)
	return nil
}

func (p *Provider) put(u User) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.failed, u.Subject)
	p.byName[u.Name] = newEntry(u)
	p.bySubject[u.Subject] = u.Name
}

func (p *Provider) get(name string) (entry, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	e, ok := p.byName[name]
	return e, ok
}

// now returns the time in whole microseconds, as a Store keeps it.
func (p *Provider) now() time.Time { return p.o.Load().Now().UTC().Truncate(time.Microsecond) }

// after returns a time after t, the current one if the clock agrees.
func (p *Provider) after(t time.Time) time.Time {
	if now := p.now(); now.After(t) {
		return now
	}
	return t.Add(time.Microsecond)
}

func newEntry(u User) entry {
	return entry{u, auth.Identity{
		Subject: auth.Subject{Provider: u.Provider, Name: u.Name},
		Groups:  u.Groups,
		Version: u.version(),
		ID:      auth.ID("").With("oidc", u.Issuer+" "+u.Subject),
	}}
}

// version changes with every end of a user's being let in: what was issued
// before does not come back to life, nor does it for another of his name.
func (u User) version() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "oidc\x00%s\x00%s\x00%d\x00%d", u.Issuer, u.Subject, u.Created.UnixMicro(), u.Changed.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// Issuer returns the issuer identifier of the provider.
func (p *Provider) Issuer() string { return p.o.Load().Issuer }
