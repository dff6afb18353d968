package bucket

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"berth/blob"
)

// List implements blob.Store. Streams that another process has begun and not yet
// suspended are not shown.
func (s *Store) List(ctx context.Context, after string, yield func(blob.Entry) bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	l := &listing{store: s, ctx: ctx, after: after, live: s.begun(after), yield: yield}
	err := s.bucket.List(ctx, s.o.Prefix, s.name(after), 0, l.add)
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

// begun returns the streams that are written here, in order.
func (s *Store) begun(after string) []blob.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []blob.Entry
	for _, key := range slices.Sorted(maps.Keys(s.writers)) {
		if key > after {
			w := s.writers[key]
			entries = append(entries, blob.Entry{Key: key, Size: w.Size(), ModTime: w.begun})
		}
	}
	return entries
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
