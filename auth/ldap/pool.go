package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Lives of a connection. Active Directory ends it after 15 minutes without a
// request, and firewalls do sooner.
const (
	longestLife = 10 * time.Minute
	longestIdle = 2 * time.Minute
	// refusedWait is how long a password of the service account that was refused
	// is not tried again: its account could be locked.
	refusedWait = time.Minute
)

// A refused is a password of the service account that the directory did not
// take.
type refused struct {
	mu       sync.Mutex
	password auth.Secret
	err      error
	until    time.Time
}

// service runs f on a connection of the service account, on the first server
// that can be talked to. f is run again on another connection when it breaks.
// Errors: those of f, and *DownError when no server answers.
func (d *Directory) service(ctx context.Context, f func(context.Context, *conn) error) error {
	return d.onServers(ctx, d.searches, func(s *server) error {
		for {
			c, used, err := d.take(ctx, s)
			if err == nil {
				err = f(ctx, c)
				d.give(c, err)
			}
			var broken *brokenError
			if used && errors.As(err, &broken) && !broken.timeout {
				d.dropIdle(s) // the server has ended connections: a new one tells
				continue
			}
			return err
		}
	})
}

// asUser runs f on a new connection on which nobody is bound, and which ends
// with it: what a bind leaves behind never serves anybody else.
func (d *Directory) asUser(ctx context.Context, f func(context.Context, *conn) error) error {
	return d.onServers(ctx, d.logins, func(s *server) error {
		c, err := d.dial(ctx, s)
		if err != nil {
			return err
		}
		defer c.close()
		return f(ctx, c)
	})
}

// onServers calls f with one server after the other until one can be talked to.
// It waits for a place, of which there are as many as the channel takes.
func (d *Directory) onServers(ctx context.Context, places chan struct{}, f func(*server) error) error {
	if err := d.allDown(); err != nil {
		return err
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	case <-ctx.Done():
		return &DownError{d.o.Name, errors.New("too much is asked at the same time")}
	}
	for _, s := range d.inOrder() {
		if s.whyDown() != nil {
			continue
		}
		answered := s.ask()
		err := f(s)
		answered()
		var broken *brokenError
		if !errors.As(err, &broken) {
			return err
		}
		if !broken.ours {
			d.markDown(s, broken.err)
		}
		if ctx.Err() != nil {
			return &DownError{d.o.Name, broken.err}
		}
	}
	if err := d.allDown(); err != nil {
		return err
	}
	return &DownError{d.o.Name, errNoAnswer}
}

// allDown returns a *DownError when no server can be asked now.
func (d *Directory) allDown() error {
	var first error
	for _, s := range d.servers {
		err := s.whyDown()
		if err == nil {
			return nil
		}
		if first == nil {
			first = fmt.Errorf("%s: %w", s.url, err)
		}
	}
	return &DownError{d.o.Name, first}
}

// take returns a connection of the service account, and whether it has been
// used before.
func (d *Directory) take(ctx context.Context, s *server) (c *conn, used bool, err error) {
	for {
		s.mu.Lock()
		n := len(s.idle)
		if n == 0 {
			s.mu.Unlock()
			c, err := d.connect(ctx, s)
			return c, false, err
		}
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		if d.serves(c) {
			return c, true, nil
		}
		c.close()
	}
}

func (d *Directory) serves(c *conn) bool {
	now := d.o.Now()
	return !c.ldap.IsClosing() && now.Sub(c.born) < longestLife && now.Sub(c.idle) < longestIdle
}

// give takes a connection back after an operation that ended with err.
func (d *Directory) give(c *conn, err error) {
	var broken *brokenError
	if errors.As(err, &broken) {
		c.close()
		return
	}
	d.put(c)
}

// put keeps a connection of the service account for the next search.
func (d *Directory) put(c *conn) {
	s := c.server
	c.idle = d.o.Now()
	s.mu.Lock()
	keep := s.down == nil && d.use.Err() == nil && len(s.idle) < d.o.PoolSize
	if keep {
		s.idle = append(s.idle, c)
	}
	s.mu.Unlock()
	if !keep {
		c.close()
	}
}

func (d *Directory) dropIdle(s *server) {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}

// tidy ends the connections that nobody has needed for long.
func (d *Directory) tidy(s *server) {
	var old []*conn
	s.mu.Lock()
	s.idle = slices.DeleteFunc(s.idle, func(c *conn) bool {
		if d.serves(c) {
			return false
		}
		old = append(old, c)
		return true
	})
	s.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// connect returns a new connection of the service account, whose server's facts
// are known. Without a BindDN it is nobody's.
// Errors: brokenError.
func (d *Directory) connect(ctx context.Context, s *server) (*conn, error) {
	password, err := d.servicePassword()
	if err != nil {
		return nil, &brokenError{err: err}
	}
	c, err := d.dial(ctx, s)
	if err != nil {
		return nil, err
	}
	if err = d.bindService(ctx, c, password); err == nil {
		err = c.readFacts(ctx, d.o.ActiveDirectory)
	}
	if err != nil {
		c.close()
		return nil, asBroken(err)
	}
	return c, nil
}

// asBroken makes a server's refusal what another server may do better.
func asBroken(err error) error {
	var broken *brokenError
	if errors.As(err, &broken) {
		return err
	}
	return &brokenError{err: err}
}

// servicePassword returns the password of the service account, "" for none.
// It fails for one that the directory refused a moment ago.
func (d *Directory) servicePassword() (auth.Secret, error) {
	if d.o.BindDN == "" {
		return "", nil
	}
	password := d.o.BindPassword
	if d.password != nil {
		var err error
		if password, err = d.password.get(); err != nil {
			return "", fmt.Errorf("read bindpasswordfile: %w", err)
		}
	}
	d.refused.mu.Lock()
	defer d.refused.mu.Unlock()
	if d.refused.err != nil && d.refused.password == password && d.o.Now().Before(d.refused.until) {
		return "", d.refused.err
	}
	return password, nil
}

func (d *Directory) bindService(ctx context.Context, c *conn, password auth.Secret) error {
	if d.o.BindDN == "" {
		return nil
	}
	_, err := c.bind(ctx, d.o.BindDN, password)
	if err == nil || !isAnswer(err) {
		return err
	}
	err = fmt.Errorf("the directory refuses binddn and its password: %w", explain(err))
	if goldap.IsErrorWithCode(errors.Unwrap(err), goldap.LDAPResultInvalidCredentials) {
		d.refused.mu.Lock()
		defer d.refused.mu.Unlock()
		d.refused.password, d.refused.err, d.refused.until = password, err, d.o.Now().Add(refusedWait)
	}
	return err
}
