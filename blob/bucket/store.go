package bucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/blob"
)

// Create implements blob.Store. It does not look whether there is something under
// the key: who commits finds out.
func (s *Store) Create(ctx context.Context, key string) (blob.Writer, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	w := s.newWriter(ctx, key)
	s.mu.Lock()
	used := s.writers[key] != nil
	if !used {
		s.writers[key] = w
	}
	s.mu.Unlock()
	if used {
		w.stop()
		return nil, fmt.Errorf("create blob %s: key is in use", key)
	}
	return w, nil
}

// Resume implements blob.Store.
func (s *Store) Resume(ctx context.Context, key string, data []byte) (blob.Writer, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	st, err := parseState(data)
	if err != nil {
		return nil, fmt.Errorf("resume blob %s: %w: %w", key, blob.ErrStale, err)
	}
	w := s.newWriter(ctx, key)
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mu.Lock()
	earlier := s.writers[key]
	s.writers[key] = w
	s.mu.Unlock()
	var m *mark
	if earlier != nil {
		m = earlier.stop()
	}
	if st.Marked != "" {
		err = w.goOn(ctx, m, st.Marked)
	} else {
		err = w.restore(ctx, st)
	}
	if err == nil && w.parts == nil && earlier != nil && earlier.parts != nil {
		s.tidy(ctx, w.name(), earlier.parts.Drop)
	}
	if err != nil {
		w.end()
		return nil, fmt.Errorf("resume blob %s: %w", key, err)
	}
	return w, nil
}

// URL implements blob.Store.
func (s *Store) URL(ctx context.Context, key string, ttl time.Duration) (string, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	url, err := s.bucket.URL(ctx, s.name(key), ttl)
	if err != nil {
		return "", fmt.Errorf("sign the address of blob %s: %w", key, err)
	}
	return url, nil
}

// Delete implements blob.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	s.mu.Lock()
	w := s.writers[key]
	s.mu.Unlock()
	var errs []error
	if w != nil {
		errs = append(errs, w.giveUp(ctx))
	}
	if err := errors.Join(append(errs, s.remove(ctx, key))...); err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

// remove removes the object of a key, its tails, and, where there is no object
// yet, its parts.
func (s *Store) remove(ctx context.Context, key string) error {
	name := s.name(key)
	var names []string
	err := s.bucket.List(ctx, name, "", 10, func(e blob.Entry) bool {
		ours := e.Key == name || strings.HasPrefix(e.Key, s.tails(key))
		if ours {
			names = append(names, e.Key)
		}
		return ours // they come before all others that begin so
	})
	for _, n := range names {
		if err == nil {
			err = s.bucket.Delete(ctx, n)
		}
	}
	attic, ok := s.bucket.(Attic)
	if ok && err == nil && !slices.Contains(names, name) {
		err = attic.DropAll(ctx, name)
	}
	return err
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckKey(key)
}
