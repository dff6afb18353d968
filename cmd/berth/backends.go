package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"berth/auth"
	"berth/auth/ldap"
	"berth/auth/oidc"
)

// A lineup is the backends that a reload adds, changes and removes. It does not
// change itself: a reload makes another one.
type lineup struct {
	providers   []*oidc.Provider
	options     []oidc.Options // of the providers, in their order
	directories []ldapDirectory
}

// An ldapDirectory knows what it was made of.
type ldapDirectory struct {
	*ldap.Directory
	config ldapConfig
}

// backends is the table of authenticators, in the order in which they are asked.
func (c *core) backends() []auth.Authenticator {
	list, l := slices.Clone(c.first), c.lineup.Load()
	for _, p := range l.providers {
		list = append(list, p)
	}
	for _, d := range l.directories {
		list = append(list, d.Directory)
	}
	return append(list, c.last...)
}

// prepare makes the lineup of a configuration, in which those of now stay that
// have the same settings. None of them has to answer. Afterwards it is for use or
// for discard.
func (c *core) prepare(ctx context.Context, cfg *Config) (*lineup, error) {
	next := new(lineup)
	err := c.prepareDirectories(next, cfg)
	if err == nil {
		err = c.prepareProviders(ctx, next, cfg)
	}
	if err != nil {
		c.discard(next)
		return nil, err
	}
	return next, nil
}

func (c *core) prepareDirectories(next *lineup, cfg *Config) error {
	now := c.lineup.Load().directories
	for _, config := range cfg.Auth.LDAP {
		same := func(d ldapDirectory) bool { return reflect.DeepEqual(d.config, config) }
		if i := slices.IndexFunc(now, same); i >= 0 {
			next.directories = append(next.directories, now[i])
			continue
		}
		dir, err := config.open(c.hasher, c.log)
		if err != nil {
			return err
		}
		next.directories = append(next.directories, ldapDirectory{dir, config})
	}
	return nil
}

// prepareProviders keeps the providers that have the same name and issuer, and
// so the same users: use gives them their options.
func (c *core) prepareProviders(ctx context.Context, next *lineup, cfg *Config) error {
	now := c.lineup.Load().providers
	for _, config := range cfg.Auth.OIDC {
		o, err := config.options()
		if err != nil {
			return err
		}
		o.Log, o.Address, o.Shared = c.log, c.address, c.shared
		o.Taken = func(ctx context.Context, name string) (string, error) {
			return ownerAmong(ctx, slices.DeleteFunc(c.backends(), isProvider), name)
		}
		var p *oidc.Provider
		same := func(p *oidc.Provider) bool { return p.Name() == config.Name && p.Issuer() == config.Issuer }
		if i := slices.IndexFunc(now, same); i >= 0 {
			p = now[i]
		} else if p, err = oidc.New(ctx, c.sso.Store, o); err != nil {
			return fmt.Errorf("open auth.oidc %s: %w", config.Name, err)
		}
		next.providers, next.options = append(next.providers, p), append(next.options, o)
	}
	return nil
}

// use puts a lineup in force. Whoever asks one that goes is still answered.
func (c *core) use(next *lineup) {
	old := c.lineup.Swap(next)
	for i, p := range next.providers {
		p.SetOptions(next.options[i])
	}
	c.verifier.SetBackends(c.backends())
	for _, p := range old.providersBut(next) {
		c.closed(p.Close())
	}
	for _, d := range old.directoriesBut(next) {
		d.Retire()
	}
	select {
	case c.changed <- struct{}{}:
	default: // it is known already
	}
}

// discard closes what next has and is not in force.
func (c *core) discard(next *lineup) {
	now := c.lineup.Load()
	for _, p := range next.providersBut(now) {
		c.closed(p.Close())
	}
	for _, d := range next.directoriesBut(now) {
		c.closed(d.Close())
	}
}

func (c *core) closed(err error) {
	if err != nil {
		c.log.Error("close a backend", "error", err)
	}
}

// providersBut returns the providers that other does not have.
func (l *lineup) providersBut(other *lineup) []*oidc.Provider {
	return slices.DeleteFunc(slices.Clone(l.providers), func(p *oidc.Provider) bool { return slices.Contains(other.providers, p) })
}

func (l *lineup) directoriesBut(other *lineup) []ldapDirectory {
	return slices.DeleteFunc(slices.Clone(l.directories), func(d ldapDirectory) bool {
		return slices.ContainsFunc(other.directories, func(o ldapDirectory) bool { return o.Directory == d.Directory })
	})
}

// closeLineup closes what is in force.
func (c *core) closeLineup() error {
	var errs []error
	l := c.lineup.Load()
	for _, p := range l.providers {
		errs = append(errs, p.Close())
	}
	for _, d := range l.directories {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// tendDirectories looks after the directories that there are, until ctx ends.
func (c *core) tendDirectories(ctx context.Context) {
	tick := time.NewTicker(ldap.TendEvery)
	defer tick.Stop()
	for {
		var tending sync.WaitGroup
		for _, d := range c.lineup.Load().directories {
			tending.Go(func() { d.Tend(ctx) })
		}
		tending.Wait()
		select {
		case <-tick.C:
		case <-c.changed:
		case <-ctx.Done():
			return
		}
	}
}

// problems says what is wrong with the backends of the lineup that are not well,
// by the parts of the configuration.
func (c *core) problems() map[string]string {
	problems := make(map[string]string)
	add := func(part, problem string) {
		if problem != "" {
			problems[part] = problem
		}
	}
	l := c.lineup.Load()
	for _, p := range l.providers {
		add("auth.oidc."+p.Name(), p.Degraded())
	}
	for _, d := range l.directories {
		add("auth.ldap."+d.Name(), d.Degraded())
	}
	return problems
}

// providers returns those of single sign-on that there are.
func (c *core) providers() []*oidc.Provider { return c.lineup.Load().providers }

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
