package local

import (
	"context"
	"errors"

	"berth/meta"
	"berth/oci"
)

// MountBlob implements registry.Writer. Without from, any repository will do
// that holds the blob; the bytes of a manifest, which none holds as a blob,
// cannot be mounted.
func (r *Registry) MountBlob(ctx context.Context, repo, from oci.Name, d oci.Digest) (oci.Descriptor, error) {
	var b meta.Blob
	var leased bool // it is there, and stays
	now := r.o.Now()
	err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if b, err = source(tx, from, d); err != nil {
			return err
		}
		there, err := tx.BlobPlace(repo, d)
		leased = there.Linked && (there.Needed || there.Leased.Add(r.o.Grace/leasePart).After(now))
		return err
	})
	if err != nil {
		return oci.Descriptor{}, err
	}
	c, err := r.openBlob(ctx, b)
	if errors.Is(err, errDamaged) {
		return oci.Descriptor{}, noSuchBlob()
	}
	if err != nil {
		return oci.Descriptor{}, err
	}
	if err := c.object.Close(); err != nil || leased {
		return describeBlob(b), err
	}
	err = r.db.Grow(ctx, func(tx *meta.Tx) error {
		if b, err = source(tx, from, d); err != nil {
			return err
		}
		return r.bounded(tx, repo, func() error { return tx.LinkBlob(repo, b, now) })
	})
	return describeBlob(b), storage(err)
}

// source returns the blob if from, or any repository when it is empty, holds it.
func source(tx *meta.Tx, from oci.Name, d oci.Digest) (meta.Blob, error) {
	if from == "" {
		holders, err := tx.BlobRepositories(d, meta.RepositoryRange{Limit: 1})
		if err != nil {
			return meta.Blob{}, err
		}
		if len(holders) == 0 {
			return meta.Blob{}, noSuchBlob()
		}
		from = holders[0]
	}
	there, err := tx.BlobPlace(from, d)
	if err == nil && !there.Linked {
		err = noSuchBlob()
	}
	return there.Blob, err
}

func noSuchBlob() error { return oci.Errorf(oci.BlobUnknown, "there is no such blob to mount") }
