package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"berth/auth"
	"berth/meta"
)

const (
	// staleAfter is how long after a change was announced, or announcements may
	// have been missed, this node answers as before. The database notices within
	// 4 seconds that it hears nothing, so a yes lasts for 5 on other nodes.
	staleAfter = time.Second
	// followAgain is after a database that did not answer.
	followAgain = 300 * time.Millisecond
)

// A follower keeps what this node remembers as the database has it, which other
// nodes change too: who there is. Names are read each time. It is safe for
// concurrent use.
type follower struct {
	reload map[string]func(ctx context.Context) error // reads a topic again
	now    func() time.Time
	log    *slog.Logger

	mu  sync.Mutex
	due map[string]bool // topics to read again
	// since when a topic is due, and since when those were that are read now.
	since, reading time.Time
	news           chan struct{}
}

// newFollower returns what follows the database of c; nil where there is one
// node.
func (c *core) newFollower(log *slog.Logger) *follower {
	if !c.shared {
		return nil
	}
	return &follower{
		reload: map[string]func(context.Context) error{
			meta.TopicAccounts: c.accounts.Reload,
			meta.TopicRobots:   c.robots.Reload,
			meta.TopicKeys:     c.issuer.Rotate,
			meta.TopicSSO:      c.reloadSSO,
		},
		now:  time.Now,
		log:  log,
		due:  make(map[string]bool),
		news: make(chan struct{}, 1),
	}
}

func (c *core) reloadSSO(ctx context.Context) error {
	var errs []error
	for _, p := range c.providers() {
		errs = append(errs, p.Reload(ctx))
	}
	return errors.Join(errs...)
}

// run follows the database until ctx ends.
func (f *follower) run(ctx context.Context, db *meta.DB) {
	f.lost()
	var listening sync.WaitGroup
	listening.Go(func() { db.Listen(ctx, f.heard, f.lost) })
	defer listening.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.news:
		}
		for f.follow(ctx) != nil && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(followAgain):
			}
		}
	}
}

// heard takes note of an announcement.
func (f *follower) heard(topic, _ string) {
	if f.reload[topic] != nil { // else it is of a later version
		f.mark(topic)
	}
}

// lost takes note that announcements may have been missed.
func (f *follower) lost() {
	for topic := range f.reload {
		f.mark(topic)
	}
}

func (f *follower) mark(topic string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due[topic] = true
	if f.since.IsZero() {
		f.since = f.now()
	}
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// follow reads again what is due. What cannot be read stays due.
func (f *follower) follow(ctx context.Context) error {
	f.mu.Lock()
	due := f.due
	f.due = make(map[string]bool)
	f.reading, f.since = f.since, time.Time{}
	f.mu.Unlock()
	var errs []error
	for topic := range due {
		if err := f.reload[topic](ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(due, topic)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for topic := range due {
		f.due[topic] = true
		f.since = f.reading
	}
	f.reading = time.Time{}
	return errors.Join(errs...)
}

// current returns an error while more may have changed elsewhere than this node
// knows.
func (f *follower) current() error {
	f.mu.Lock()
	since := f.since
	if !f.reading.IsZero() {
		since = f.reading
	}
	f.mu.Unlock()
	if since.IsZero() || f.now().Sub(since) < staleAfter {
		return nil
	}
	return fmt.Errorf("what other nodes have changed is not known: %w", meta.ErrUnavailable)
}

// degraded says what is wrong, "" when nothing is.
func (f *follower) degraded() string {
	if err := f.current(); err != nil {
		return err.Error()
	}
	return ""
}

// isCurrent is auth.Options.Current.
func (c *core) isCurrent() error {
	if c.follower == nil {
		return nil
	}
	return c.follower.current()
}

// ledger keeps what serves once on all nodes; nil where there is one.
func (c *core) ledger() auth.Ledger {
	if !c.shared {
		return nil
	}
	return c.db.Ledger()
}
