package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"berth/blob"
	"berth/layout"
	"berth/meta"
)

// sweptPrefixes are where keys of blobs begin, in order: ours, and those that were
// taken over. What else is in the store is none of the sweep's business.
var sweptPrefixes = [...]string{blobs, layout.Blobs}

// listObjects looks at every object of the store, and notes those that nothing
// names. It fails with ErrUnknownObjects when there are too many.
func (s *sweep) listObjects(ctx context.Context) error {
	var cursor string
	if err := s.from(&cursor); err != nil {
		return err
	}
	if cursor == "" {
		s.report.Objects, s.report.Unknown, s.report.UnknownBytes, s.report.Spared = 0, 0, 0, 0
	}
	for _, prefix := range sweptPrefixes {
		if cursor > prefix && !strings.HasPrefix(cursor, prefix) {
			continue
		}
		if err := s.listPrefix(ctx, prefix, max(prefix, cursor)); err != nil {
			return err
		}
	}
	n, all := s.report.Unknown, s.report.Objects
	if n > fewUnknown && n > all/unknownPart && !s.o.AcceptUnknown {
		return fmt.Errorf("%w: %d of %d: nothing was removed; if the database is not an old one, `berth gc --accept-unknown` goes on", ErrUnknownObjects, n, all)
	}
	return nil
}

func (s *sweep) listPrefix(ctx context.Context, prefix, after string) error {
	page := make([]blob.Entry, 0, sweepPage)
	var failure error
	began := time.Now()
	flush := func() bool {
		if len(page) == 0 {
			return true
		}
		if failure = s.lookAt(ctx, page); failure == nil {
			failure = s.step(ctx, page[len(page)-1].Key, len(page), began)
		}
		page, began = page[:0], time.Now()
		return failure == nil
	}
	err := s.r.store.List(ctx, after, func(e blob.Entry) bool {
		if !strings.HasPrefix(e.Key, prefix) {
			return false
		}
		page = append(page, e)
		return len(page) < sweepPage || flush()
	})
	if err == nil && failure == nil {
		flush()
	}
	return errors.Join(failure, err)
}

// lookAt notes which of the objects are unknown. What is younger than the grace
// may be on its way to a name, and what was written between a backup and its
// restore may be looked for.
func (s *sweep) lookAt(ctx context.Context, page []blob.Entry) error {
	s.report.Objects += len(page)
	old := s.began.Add(-s.grace)
	var due []blob.Entry
	var keys []string
	for _, e := range page {
		if e.ModTime.Before(old) {
			due, keys = append(due, e), append(keys, e.Key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	var known map[string]bool
	err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
		known, err = knownKeys(tx, keys)
		return err
	})
	if err != nil {
		return err
	}
	var unknown []meta.Object
	for _, e := range due {
		switch {
		case known[e.Key]:
		case s.restore.spares(e.ModTime, s.grace):
			s.report.Spared++
		default:
			unknown = append(unknown, meta.Object{Key: e.Key, Size: e.Size, Found: s.began, Seen: s.began})
			s.report.UnknownBytes += e.Size
		}
	}
	s.report.Unknown += len(unknown)
	if s.o.DryRun || len(unknown) == 0 {
		return nil
	}
	return s.update(ctx, func(tx *meta.Tx) error {
		for _, o := range unknown {
			if err := tx.NoteUnknown(o); err != nil {
				return err
			}
		}
		return nil
	})
}

// knownKeys returns which of the keys something names. Where Distribution keeps
// its bytes that is the digest: an export into the same store has made a copy of
// what is here under another key.
func knownKeys(tx *meta.Tx, keys []string) (map[string]bool, error) {
	known, err := tx.KnownKeys(keys)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		f := layout.Parse(key)
		if known[key] || f.Kind != layout.Blob {
			continue
		}
		_, err := tx.Blob(f.Digest)
		if err != nil && !errors.Is(err, meta.ErrNotExist) {
			return nil, err
		}
		known[key] = err == nil
	}
	return known, nil
}

// expireUnknown gives up the objects that were unknown for long enough, and
// forgets those that are no longer unknown, or there.
func (s *sweep) expireUnknown(ctx context.Context) error {
	var after string
	if err := s.from(&after); err != nil {
		return err
	}
	for {
		began := time.Now()
		var page []meta.Object
		err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.UnknownObjects(after, sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		if err := s.expire(ctx, page); err != nil {
			return err
		}
		if len(page) < sweepBatch {
			return nil
		}
		after = page[len(page)-1].Key
		if err := s.step(ctx, after, len(page), began); err != nil {
			return err
		}
	}
}

func (s *sweep) expire(ctx context.Context, page []meta.Object) error {
	var stale []string // of notes
	var keys []string
	var due []meta.Object
	for _, o := range page {
		switch {
		case o.Seen.Before(s.began) && !s.o.DryRun:
			stale = append(stale, o.Key)
		case !o.Found.After(s.began.Add(-s.o.Aside)):
			due, keys = append(due, o), append(keys, o.Key)
		}
	}
	var expired []meta.Object
	decide := func(tx *meta.Tx) error {
		expired = nil
		known, err := knownKeys(tx, keys)
		if err != nil {
			return err
		}
		for _, o := range due {
			if !known[o.Key] {
				expired = append(expired, o)
			}
		}
		return nil
	}
	switch {
	case s.o.DryRun:
		if err := s.r.db.View(ctx, decide); err != nil {
			return err
		}
	case len(due)+len(stale) > 0:
		err := s.update(ctx, func(tx *meta.Tx) error {
			if err := decide(tx); err != nil {
				return err
			}
			for _, o := range expired {
				if err := tx.DeleteObject(o.Key, o.Size, s.began); err != nil {
					return err
				}
			}
			return tx.ForgetUnknown(append(keys, stale...))
		})
		if err != nil {
			return err
		}
	}
	s.report.Expired += len(expired)
	for _, o := range expired {
		s.report.ExpiredBytes += o.Size
	}
	return nil
}

const (
	// deleters delete at a time, and maxFailures is how many of their calls may
	// fail before the sweep gives up.
	deleters    = 8
	maxFailures = 100
)

// deleteObjects deletes the bytes of keys that were noted, and then the notes.
func (s *sweep) deleteObjects(ctx context.Context) error {
	var after string
	if err := s.from(&after); err != nil {
		return err
	}
	if s.o.DryRun {
		return nil
	}
	for {
		began := time.Now()
		var page []meta.Object
		err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.DeletedObjects(after, s.began.Add(-s.o.Linger), sweepBatch)
			return err
		})
		if err != nil {
			return err
		}
		gone, err := s.delete(ctx, page)
		if len(gone) > 0 {
			err = errors.Join(err, s.update(ctx, func(tx *meta.Tx) error { return tx.ForgetDeleted(gone) }))
		}
		if err != nil {
			return err
		}
		if len(page) < sweepBatch {
			return nil
		}
		after = page[len(page)-1].Key
		if err := s.step(ctx, after, len(page), began); err != nil {
			return err
		}
	}
}

// delete deletes the bytes, and returns the keys of which that is certain.
func (s *sweep) delete(ctx context.Context, page []meta.Object) (gone []string, err error) {
	var mu sync.Mutex
	var last error
	var work sync.WaitGroup
	turns := make(chan struct{}, deleters)
	for _, o := range page {
		turns <- struct{}{}
		work.Go(func() {
			err := s.r.store.Delete(ctx, o.Key)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				last = err
				s.report.Failed++
			} else {
				gone = append(gone, o.Key)
			}
			<-turns
		})
	}
	work.Wait()
	s.report.Deleted += len(gone)
	switch {
	case ctx.Err() != nil:
		return gone, ctx.Err()
	case s.report.Failed > maxFailures:
		return gone, fmt.Errorf("%d objects could not be deleted: %w", s.report.Failed, last)
	case last != nil:
		s.r.o.Log.Warn("bytes that are not needed stay for the next sweep", "error", last)
	}
	return gone, nil
}
