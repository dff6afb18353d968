package bucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"berth/blob"
)

// List implements blob.Store. Streams that another process has begun and not yet
// suspended are shown where the store tells of their parts, with the size 0.
func (s *Store) List(ctx context.Context, after string, yield func(blob.Entry) bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	live, err := s.unfinished(ctx, after)
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	l := &listing{store: s, ctx: ctx, after: after, live: live, yield: yield}
	err = s.bucket.List(ctx, s.o.Prefix, s.name(after), 0, l.add)
	if err == nil {
		err = l.err
	}
	if err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	if !l.over && l.flush() {
		l.begun(func(blob.Entry) bool { return true })
	}
	return nil
}

// unfinished returns the streams that are written here, and those that there are
// parts of, in order.
func (s *Store) unfinished(ctx context.Context, after string) ([]blob.Entry, error) {
	entries := make(map[string]blob.Entry)
	if attic, ok := s.bucket.(Attic); ok {
		err := attic.Unfinished(ctx, s.o.Prefix, s.name(after), func(e blob.Entry) bool {
			if e, object, ok := s.parse(e); ok && object && e.Key > after {
				entries[e.Key] = e
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	now := time.Now()
	s.mu.Lock()
	for key, w := range s.writers {
		if key > after {
			entries[key] = blob.Entry{Key: key, Size: w.Size(), ModTime: now}
		}
	}
	s.mu.Unlock()
	return slices.SortedFunc(maps.Values(entries), func(a, b blob.Entry) int { return strings.Compare(a.Key, b.Key) }), nil
}

// A listing makes one entry out of all objects of a key, and adds the streams
// that have no objects yet.
type listing struct {
	store *Store
	ctx   context.Context
	after string
	live  []blob.Entry
	yield func(blob.Entry) bool

	name      string // of the object before
	pending   blob.Entry
	committed bool // pending is the stream itself, not a tail
	over      bool // the caller has enough
	err       error
}

// add takes the next object, and reports whether there should be more.
func (l *listing) add(object blob.Entry) bool {
	if l.err = l.ctx.Err(); l.err != nil {
		return false
	}
	if object.Key <= l.name {
		l.err = fmt.Errorf("the store does not list in byte order: %q after %q", object.Key, l.name)
		return false
	}
	l.name = object.Key
	e, committed, ok := l.store.parse(object)
	switch {
	case !ok || e.Key <= l.after:
	case e.Key != l.pending.Key:
		if !l.flush() {
			return false
		}
		l.pending, l.committed = e, committed
	case !l.committed && e.ModTime.After(l.pending.ModTime):
		l.pending = e // of several tails the youngest counts
	}
	return true
}

// flush yields what is pending, and the begun streams before it.
func (l *listing) flush() bool {
	if l.pending.Key == "" {
		return true
	}
	if !l.begun(func(e blob.Entry) bool { return e.Key < l.pending.Key }) {
		return false
	}
	if len(l.live) > 0 && l.live[0].Key == l.pending.Key {
		if live := l.live[0]; !l.committed && live.ModTime.After(l.pending.ModTime) {
			l.pending.ModTime, l.pending.Size = live.ModTime, max(live.Size, l.pending.Size)
		}
		l.live = l.live[1:]
	}
	l.over = !l.yield(l.pending)
	l.pending = blob.Entry{}
	return !l.over
}

// begun yields the begun streams of which due is true.
func (l *listing) begun(due func(blob.Entry) bool) bool {
	for len(l.live) > 0 && due(l.live[0]) {
		e := l.live[0]
		l.live = l.live[1:]
		if l.over = !l.yield(e); l.over {
			return false
		}
	}
	return true
}
