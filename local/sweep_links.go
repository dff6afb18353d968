package local

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/meta"
)

// unlink takes blobs from repositories whose manifests do not name them, when
// their lease is over.
func (s *sweep) unlink(ctx context.Context) error {
	var after meta.LinkKey
	if err := s.from(&after); err != nil {
		return err
	}
	over := leased(s.began, s.grace)
	for more := true; more; {
		began := time.Now()
		var end meta.LinkKey
		var links []meta.Link
		err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			if end, more, err = tx.LinkPage(after, sweepPage); err != nil {
				return err
			}
			links, err = tx.UnneededLinks(after, end, more, over)
			return err
		})
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(links, sweepBatch) {
			if err := s.unlinkBatch(ctx, batch, over); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		after = end
		if err := s.step(ctx, after, sweepPage, began); err != nil {
			return err
		}
	}
	return nil
}

func (s *sweep) unlinkBatch(ctx context.Context, links []meta.Link, over time.Time) error {
	removed := links
	if s.o.DryRun {
		s.dry.unlinked(links)
	} else {
		var err error
		if removed, err = s.r.removeLinks(ctx, links, over, s.update); err != nil {
			return err
		}
	}
	for _, l := range removed {
		r := s.repo(l.Repository)
		r.Blobs++
		r.Bytes += l.Size
	}
	s.report.Links += len(removed)
	return nil
}

// removeLinks removes those of the links that are still not needed, and returns
// them.
func (r *Registry) removeLinks(ctx context.Context, links []meta.Link, over time.Time, update updater) (removed []meta.Link, err error) {
	names := make([]blobName, 0, len(links))
	for _, l := range links {
		names = append(names, blobName{l.Repository, l.Digest})
	}
	defer r.blobs.hold(names...)()
	err = update(ctx, func(tx *meta.Tx) error {
		removed = removed[:0]
		for _, l := range links {
			err := tx.RemoveLink(l, over)
			if err == nil {
				removed = append(removed, l)
			} else if !errors.Is(err, meta.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// An updater is Update of the database, or one that asks for more.
type updater func(context.Context, func(*meta.Tx) error) error

// removeBlobs removes the rows of blobs that are in no repository any more. Their
// keys are noted with it, so that a crash forgets none.
func (s *sweep) removeBlobs(ctx context.Context) error {
	var after int64
	if err := s.from(&after); err != nil {
		return err
	}
	made := s.began.Add(-s.grace)
	for more := true; more; {
		began := time.Now()
		var end int64
		var unused []meta.Blob
		err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			if end, more, err = tx.BlobPage(after, sweepPage); err != nil {
				return err
			}
			unused, err = tx.UnusedBlobs(after, end, more, made)
			return err
		})
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(unused, sweepBatch) {
			if err := s.removeBatch(ctx, batch); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		after = end
		if err := s.step(ctx, after, sweepPage, began); err != nil {
			return err
		}
	}
	if s.o.DryRun {
		return s.dry.settle(ctx, s)
	}
	return nil
}

func (s *sweep) removeBatch(ctx context.Context, unused []meta.Blob) error {
	removed := unused
	if !s.o.DryRun {
		err := s.update(ctx, func(tx *meta.Tx) error {
			removed = nil
			for _, b := range unused {
				err := tx.RemoveBlob(b.ID, s.began)
				if err == nil {
					removed = append(removed, b)
				} else if !errors.Is(err, meta.ErrNotExist) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.report.Blobs += len(removed)
	for _, b := range removed {
		s.report.Bytes += b.Size
	}
	return nil
}

// removeRepositories removes repositories that were empty for long enough: who
// pushes to one makes it again.
func (s *sweep) removeRepositories(ctx context.Context) error {
	made := s.began.Add(-s.grace)
	return s.eachRepository(ctx, func(row meta.RepositoryRow) error {
		if row.Manifests > 0 || !row.Created.Before(made) {
			return nil
		}
		if s.o.DryRun {
			return nil
		}
		err := s.update(ctx, func(tx *meta.Tx) error { return tx.RemoveRepository(row.ID, made) })
		if errors.Is(err, meta.ErrNotExist) {
			return nil
		}
		if err == nil {
			s.report.Emptied++
		}
		return err
	})
}

// eachRepository calls do for each repository, in order of their names.
func (s *sweep) eachRepository(ctx context.Context, do func(meta.RepositoryRow) error) error {
	cursor := meta.RepositoryRow{}.Name
	if err := s.from(&cursor); err != nil {
		return err
	}
	for {
		began := time.Now()
		var page []meta.RepositoryRow
		err := s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.RepositoryRows(cursor, sweepPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, row := range page {
			if err := do(row); err != nil {
				return err
			}
			if err := s.step(ctx, row.Name, 1, time.Now()); err != nil {
				return err
			}
		}
		if len(page) < sweepPage {
			return nil
		}
		cursor = page[len(page)-1].Name
		if err := s.step(ctx, cursor, 0, began); err != nil {
			return err
		}
	}
}
