package local

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/meta"
	"berth/oci"
)

// DeleteRepository implements registry.Deleter, for what is there when it is
// called: first the tags, then the manifests, each with those that list it, so that
// nothing can be pulled by half, then the blobs, in transactions that nobody has to
// wait for. One that was interrupted is gone on with by another call.
func (r *Registry) DeleteRepository(ctx context.Context, repo oci.Name) error {
	var id meta.RepositoryID
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if id, err = repository(tx, repo); err != nil {
			return err
		}
		return r.checkRemovalOfAll(tx, repo) // before anything goes
	})
	if err != nil {
		return err
	}
	d := deletion{r, repo, id, r.o.Now().Truncate(time.Microsecond)}
	if err = d.tags(ctx); err == nil {
		err = d.manifests(ctx)
	}
	if err == nil {
		err = d.blobs(ctx)
	}
	if err == nil {
		err = d.row(ctx)
	}
	return storage(err)
}

// A deletion is a repository on its way out, with all that was written before it
// began.
type deletion struct {
	r     *Registry
	repo  oci.Name
	id    meta.RepositoryID
	began time.Time
}

func (d *deletion) tags(ctx context.Context) error {
	var after oci.Tag
	for {
		var page []meta.TagUse
		release := d.r.manifests.holdAll()
		err := d.r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			if page, err = tx.TagUses(d.id, after, sweepBatch); err != nil {
				return err
			}
			for _, t := range page {
				if t.Updated.After(d.began) {
					continue
				}
				if err := d.r.checkMove(tx, d.id, d.repo, []oci.Tag{t.Tag}, ""); err != nil {
					return err
				}
				if err := tx.DeleteTag(d.id, t.Tag); err != nil {
					return err
				}
			}
			return nil
		})
		release()
		if err != nil || len(page) < sweepBatch {
			return err
		}
		after = page[len(page)-1].Tag
	}
}

// manifests deletes manifests until there are none left that can go.
func (d *deletion) manifests(ctx context.Context) error {
	for {
		n, err := d.walkManifests(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

// walkManifests deletes manifests once through, and returns how many. One that too
// many others list waits for the next walk, when they are gone.
func (d *deletion) walkManifests(ctx context.Context) (n int, err error) {
	var after oci.Digest
	for {
		var list []oci.Digest
		deleted := 0
		release := d.r.manifests.holdAll()
		err := d.r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			deleted = 0
			if list, err = tx.ManifestDigests(d.id, after, sweepBatch); err != nil {
				return err
			}
			for _, m := range list {
				one, err := d.manifest(tx, m)
				if err != nil {
					return err
				}
				deleted += one
			}
			return nil
		})
		release()
		n += deleted
		if err != nil || len(list) < sweepBatch {
			return n, err
		}
		after = list[len(list)-1]
	}
}

// manifest deletes one together with all that lists it, so that nothing is left
// that can be pulled by half, unless some of that came since. It returns how many
// it deleted.
func (d *deletion) manifest(tx *meta.Tx, m oci.Digest) (int, error) {
	holders, err := tx.Holders(d.id, m, maxHolders)
	if err != nil || len(holders) == maxHolders {
		return 0, err
	}
	for _, h := range holders {
		if h.Tagged || h.Written.After(d.began) {
			return 0, nil
		}
	}
	for _, h := range holders {
		if _, err := tx.DeleteManifest(d.id, h.Digest); err != nil {
			return 0, err
		}
	}
	return len(holders), nil
}

// blobs takes the blobs away that no manifest needs which came since.
func (d *deletion) blobs(ctx context.Context) error {
	var after int64
	over := d.began.Add(time.Microsecond)
	for {
		var links []meta.Link
		err := d.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			links, err = tx.RepositoryLinks(d.repo, after, over, sweepPage)
			return err
		})
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(links, sweepBatch) {
			if _, err := d.r.removeLinks(ctx, batch, over, d.r.db.Update); err != nil {
				return err
			}
		}
		if len(links) < sweepPage {
			return nil
		}
		after = links[len(links)-1].Blob
	}
}

// row removes the repository itself, unless something came since.
func (d *deletion) row(ctx context.Context) error {
	err := d.r.db.Update(ctx, func(tx *meta.Tx) error {
		return tx.RemoveRepository(d.id, d.began.Add(time.Microsecond))
	})
	if errors.Is(err, meta.ErrNotExist) {
		return nil
	}
	return err
}
