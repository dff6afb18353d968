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
		err := tx.UnlinkBlob(repo, d)
		if errors.Is(err, meta.ErrNotExist) {
			err = oci.Errorf(oci.BlobUnknown, "there is no such blob in the repository")
		}
		return err
	}))
}

// DeleteManifest implements registry.Deleter.
func (r *Registry) DeleteManifest(ctx context.Context, repo oci.Name, d oci.Digest) error {
	defer r.manifests.holdAll()() // which tags name it is not known yet
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		id, err := tx.Repository(repo)
		if err == nil {
			_, err = tx.DeleteManifest(id, d)
		}
		return noManifest(err)
	}))
}

// DeleteTag implements registry.Deleter.
func (r *Registry) DeleteTag(ctx context.Context, repo oci.Name, t oci.Tag) error {
	defer r.manifests.hold(manifestName{repo, oci.Reference{Tag: t}})()
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		id, err := tx.Repository(repo)
		if err == nil {
			err = tx.DeleteTag(id, t)
		}
		return noManifest(err)
	}))
}

func noManifest(err error) error {
	if errors.Is(err, meta.ErrNotExist) {
		return oci.Errorf(oci.ManifestUnknown, "there is no such manifest in the repository")
	}
	return err
}

// DeleteRepository implements registry.Deleter.
func (r *Registry) DeleteRepository(ctx context.Context, repo oci.Name) error {
	defer r.manifests.holdAll()()
	defer r.blobs.holdAll()()
	return storage(r.db.Update(ctx, func(tx *meta.Tx) error {
		err := tx.DeleteRepository(repo)
		if errors.Is(err, meta.ErrNotExist) {
			err = oci.Errorf(oci.NameUnknown, "there is no such repository")
		}
		return err
	}))
}
