package bucket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/blob"
)

// Create implements blob.Store.
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
	var err error
	if !used {
		used, err = s.used(ctx, key)
	}
	if used {
		err = errors.New("key is in use")
	}
	if err != nil {
		w.stop()
		return nil, fmt.Errorf("create blob %s: %w", key, err)
	}
	return w, nil
}

// used reports whether there is an object or a tail of key.
func (s *Store) used(ctx context.Context, key string) (used bool, err error) {
	name := s.name(key)
	err = s.bucket.List(ctx, name, "", 1, func(e blob.Entry) bool {
		used = e.Key == name || strings.HasPrefix(e.Key, s.tails(key))
		return false // they come before all others that begin so
	})
	return used, err
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
	if earlier != nil {
		earlier.stop()
	}
	if st.Marked && earlier == nil {
		err = blob.ErrStale // it was only good beside the one who made it
	} else {
		err = w.restore(ctx, st)
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
	errs = append(errs, s.bucket.Delete(ctx, s.name(key)), s.deleteTails(ctx, key))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

// deleteTails removes all tails of key.
func (s *Store) deleteTails(ctx context.Context, key string) error {
	var names []string
	err := s.bucket.List(ctx, s.tails(key), "", 0, func(e blob.Entry) bool {
		names = append(names, e.Key)
		return true
	})
	for _, name := range names {
		if err == nil {
			err = s.bucket.Delete(ctx, name)
		}
	}
	return err
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return blob.CheckKey(key)
}
