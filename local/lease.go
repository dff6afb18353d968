package local

import (
	"context"
	"errors"
	"time"

	"berth/meta"
	"berth/oci"
)

// leasePart is how much of the grace may pass before a lease is renewed, or a
// blob is looked at again: a quarter. Leases last so much longer than the grace,
// so that whoever was told that a blob is there has all of it.
const leasePart = 4

// A foundBlob is a blob of a repository. Until that time it may be said to be
// there without another look: a manifest names it, or its lease is new enough.
type foundBlob struct {
	meta.Blob
	until time.Time
}

// lease makes sure that the sweep leaves the blob where it is for a grace. What a
// manifest names needs nothing: whoever deletes the manifest renews the lease.
// Where nothing can be written, reads go on without. Errors: oci.BlobUnknown when
// the sweep was first.
func (r *Registry) lease(ctx context.Context, repo oci.Name, p meta.BlobPlace, now time.Time) (foundBlob, error) {
	fresh := r.o.Grace / leasePart
	if p.Needed {
		return foundBlob{p.Blob, now.Add(fresh)}, nil
	}
	if until := p.Leased.Add(fresh); until.After(now) {
		return foundBlob{p.Blob, until}, nil
	}
	err := r.db.Grow(ctx, func(tx *meta.Tx) error { return tx.RenewLink(repo, p.Blob.ID, now) })
	switch {
	case err == nil:
		return foundBlob{p.Blob, now.Add(fresh)}, nil
	case errors.Is(err, meta.ErrNotExist):
		return foundBlob{}, noBlob()
	case ctx.Err() != nil:
		return foundBlob{}, err
	}
	r.o.Log.Debug("a blob is served without a lease", "repository", repo, "digest", p.Blob.Digest, "error", err)
	return foundBlob{Blob: p.Blob}, nil
}

// leased returns the time that the lease of a link must be older than to be over.
func leased(now time.Time, grace time.Duration) time.Time {
	return now.Add(-grace - grace/leasePart)
}
