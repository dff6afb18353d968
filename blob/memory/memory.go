// Package memory keeps streams in the memory of the process, for trials and
// tests. What is durable there is gone when the process ends.
package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"berth/blob"
)

// A Store is a blob.Store in memory.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	streams map[string]*stream
	commits int64 // so far; numbers the stamps
}

// A stream is guarded by its Store. Its data do not change once it is
// committed.
type stream struct {
	data    []byte
	modTime time.Time
	owner   *writer // nil when nobody is at work on it
	stamp   string  // not empty when it is committed
}

// New returns an empty Store.
func New() *Store {
	return &Store{now: time.Now, streams: make(map[string]*stream)}
}

// Create implements blob.Store.
func (s *Store) Create(ctx context.Context, key string) (blob.Writer, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[key] != nil {
		return nil, fmt.Errorf("create blob %s: key is in use", key)
	}
	st := &stream{modTime: s.now()}
	s.streams[key] = st
	return s.own(st, key), nil
}

// Resume implements blob.Store.
func (s *Store) Resume(ctx context.Context, key string, state []byte) (blob.Writer, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[key]
	size, err := strconv.Atoi(string(state))
	if err != nil || st == nil || st.stamp != "" || size < 0 || size > len(st.data) {
		return nil, fmt.Errorf("resume blob %s: %w", key, blob.ErrStale)
	}
	st.data = st.data[:size]
	return s.own(st, key), nil
}

// own makes a new writer the one at work on st. The caller holds the lock.
func (s *Store) own(st *stream, key string) *writer {
	w := &writer{store: s, key: key, stream: st, size: int64(len(st.data))}
	st.owner = w
	return w
}

// Open implements blob.Store.
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[key]
	if st == nil || st.stamp == "" {
		return nil, fmt.Errorf("open blob %s: %w", key, blob.ErrNotExist)
	}
	return &object{data: st.data, stamp: st.stamp}, nil
}

// URL implements blob.Store. Memory has no address.
func (s *Store) URL(context.Context, string, time.Duration) (string, error) { return "", nil }

// Delete implements blob.Store.
func (s *Store) Delete(_ context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[key]; st != nil {
		st.owner = nil
		delete(s.streams, key)
	}
	return nil
}

// List implements blob.Store. It shows what is there when it begins.
func (s *Store) List(ctx context.Context, after string, yield func(blob.Entry) bool) error {
	s.mu.Lock()
	entries := make([]blob.Entry, 0, len(s.streams))
	for _, key := range slices.Sorted(maps.Keys(s.streams)) {
		if st := s.streams[key]; key > after {
			entries = append(entries, blob.Entry{Key: key, Size: int64(len(st.data)), ModTime: st.modTime})
		}
	}
	s.mu.Unlock()
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		if !yield(e) {
			return nil
		}
	}
	return nil
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckKey(key)
}

// A writer is at work as long as it owns its stream.
type writer struct {
	store  *Store
	key    string
	stream *stream
	size   int64
}

// locked calls f under the Store's lock, or returns ErrStale.
func (w *writer) locked(f func(*stream)) error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.stream.owner != w {
		return blob.ErrStale
	}
	f(w.stream)
	return nil
}

func (w *writer) Write(p []byte) (int, error) {
	err := w.locked(func(st *stream) {
		st.data = append(st.data, p...)
		st.modTime = w.store.now()
	})
	if err != nil {
		return 0, err
	}
	w.size += int64(len(p))
	return len(p), nil
}

func (w *writer) Size() int64 { return w.size }

func (w *writer) Mark() ([]byte, error) {
	err := w.locked(func(*stream) {})
	return strconv.AppendInt(nil, w.size, 10), err
}

func (w *writer) Suspend(context.Context) ([]byte, error) {
	err := w.locked(func(st *stream) { st.owner = nil })
	if err != nil {
		return nil, err
	}
	return strconv.AppendInt(nil, w.size, 10), nil
}

func (w *writer) Commit(context.Context) (blob.Info, error) {
	var info blob.Info
	err := w.locked(func(st *stream) {
		w.store.commits++
		st.owner = nil
		st.stamp = strconv.FormatInt(w.store.commits, 10)
		info = blob.Info{Size: w.size, Stamp: st.stamp}
	})
	return info, err
}

func (w *writer) Abort(context.Context) error {
	_ = w.locked(func(st *stream) { // who does not own it has nothing to give up
		st.owner = nil
		delete(w.store.streams, w.key)
	})
	return nil
}
