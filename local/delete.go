package local

import (
	"context"
	"errors"

	"berth/meta"
	"berth/oci"
)

// DeleteBlob implements registry.Deleter.
func (r *Registry) DeleteBlob(ctx context.Context, repo oci.Name, d oci.Digest) error {
	defer r.blobs.hold(blobName{repo, d})()
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		err := r.checkRemoval(tx, repo, d)
		if err == nil {
			err = tx.UnlinkBlob(repo, d)
		}
		if errors.Is(err, meta.ErrNotExist) {
			err = noBlob()
		}
		return err
	}))
}

// DeleteManifest implements registry.Deleter.
func (r *Registry) DeleteManifest(ctx context.Context, repo oci.Name, d oci.Digest) error {
	defer r.manifests.holdAll()() // which tags name it is not known yet
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		err := r.checkRemoval(tx, repo, d)
		var id meta.RepositoryID
		if err == nil {
			id, err = tx.Repository(repo)
		}
		if err == nil {
			err = tx.LoseParent(id, d, r.o.Now())
		}
		if err == nil {
			_, err = tx.DeleteManifest(id, d)
		}
		return orNoManifest(err)
	}))
}

// DeleteTag implements registry.Deleter.
func (r *Registry) DeleteTag(ctx context.Context, repo oci.Name, t oci.Tag) error {
	defer r.manifests.hold(manifestName{repo, oci.Reference{Tag: t}})()
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		id, err := tx.Repository(repo)
		if err == nil {
			err = r.checkMove(tx, id, repo, []oci.Tag{t}, "")
		}
		if err == nil {
			err = tx.LoseTag(id, t, "", r.o.Now())
		}
		if err == nil {
			err = tx.DeleteTag(id, t)
		}
		return orNoManifest(err)
	}))
}

func orNoManifest(err error) error {
	if errors.Is(err, meta.ErrNotExist) {
		return noManifest()
	}
	return err
}

func noManifest() error {
	return oci.Errorf(oci.ManifestUnknown, "there is no such manifest in the repository")
}
