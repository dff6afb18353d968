package local

import (
	"context"
	"errors"
	"fmt"

	"berth/blob"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// Blob implements registry.Reader.
func (r *Registry) Blob(ctx context.Context, repo oci.Name, d oci.Digest) (registry.Content, error) {
	name := blobName{repo, d}
	b, known, before := r.blobs.look(name)
	if !known || !r.o.Now().Before(b.until) {
		var err error
		if b, err = r.findBlob(ctx, repo, d); err != nil {
			return nil, err
		}
		r.blobs.learn(name, b, before)
	}
	if c := r.recall(b.Blob); c != nil {
		return c, nil
	}
	c, err := r.openBlob(ctx, b.Blob)
	if errors.Is(err, errDamaged) {
		return nil, noBlob()
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// recall returns a blob as it was when its bytes were last right, without a look
// at them. It returns nil where a look costs nothing, or is worth it.
func (r *Registry) recall(row meta.Blob) *blobContent {
	_, damaged := r.damaged.get(row.Key)
	if r.far == nil || row.Stamp == "" || damaged {
		return nil
	}
	o := r.far.Recall(row.Key, blob.Info{Size: row.Size, Stamp: row.Stamp})
	return &blobContent{r: r, row: row, object: o, whole: true, recalled: true}
}

// findBlob returns the row of a blob of repo, with a lease. It remembers a digest
// that no repository has: who asks for it is about to push it.
func (r *Registry) findBlob(ctx context.Context, repo oci.Name, d oci.Digest) (foundBlob, error) {
	now := r.o.Now()
	_, _, before := r.absent.look(d)
	var p meta.BlobPlace
	err := r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		p, err = tx.BlobPlace(repo, d)
		return err
	})
	switch {
	case err != nil:
		return foundBlob{}, err
	case p.Linked:
		return r.lease(ctx, repo, p, now)
	case !p.Exists:
		r.absent.learn(d, struct{}{}, before)
	}
	if !p.Repository {
		return foundBlob{}, noRepository()
	}
	return foundBlob{}, noBlob()
}

func noBlob() error { return oci.Errorf(oci.BlobUnknown, "there is no such blob in the repository") }

// openBlob opens the bytes of a row. Errors: errDamaged when they are missing or
// known to be others.
func (r *Registry) openBlob(ctx context.Context, row meta.Blob) (*blobContent, error) {
	o, err := r.store.Open(ctx, row.Key)
	if errors.Is(err, blob.ErrNotExist) {
		r.noteDamage(row, "", "its bytes are missing")
		return nil, errDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", row.Digest, err)
	}
	info := o.Info()
	damage, found := r.damaged.get(row.Key)
	switch {
	case info.Size != row.Size:
		r.noteDamage(row, info.Stamp, fmt.Sprintf("it has %d bytes instead of %d", info.Size, row.Size))
	case !found || damage != info.Stamp:
		return &blobContent{r: r, row: row, object: o, whole: row.Stamp != "" && info.Stamp == row.Stamp}, nil
	}
	return nil, errors.Join(errDamaged, o.Close())
}

// noteDamage remembers that the bytes of row, as stamp describes them, are not
// right, and says so once.
func (r *Registry) noteDamage(row meta.Blob, stamp, why string) {
	if known, ok := r.damaged.get(row.Key); ok && known == stamp {
		return
	}
	r.damaged.set(row.Key, stamp)
	r.o.Log.Error("a blob is damaged, and counts as missing until it is pushed again", "digest", row.Digest, "key", row.Key, "why", why)
}

// restamp notes that the bytes of row are right as info describes them.
func (r *Registry) restamp(row meta.Blob, info blob.Info) error {
	err := r.db.Update(context.Background(), func(tx *meta.Tx) error {
		return tx.SetBlobStamp(row.Digest, row.Key, info.Stamp)
	})
	r.blobs.holdAll()()
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return fmt.Errorf("note that blob %s is whole: %w", row.Digest, err)
	}
	return nil
}

// isWhole reports whether the bytes of row are there, as they were when they were
// last known to be right. Those that nobody has looked at yet are read.
func (r *Registry) isWhole(ctx context.Context, row meta.Blob) (bool, error) {
	c, err := r.openBlob(ctx, row)
	if errors.Is(err, errDamaged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if row.Stamp == "" {
		err = c.verify(ctx)
		if errors.Is(err, errDamaged) {
			err = nil
		}
	}
	return c.whole, errors.Join(err, c.Close())
}

// Manifest implements registry.Reader.
func (r *Registry) Manifest(ctx context.Context, repo oci.Name, ref oci.Reference) (registry.Content, error) {
	name := manifestName{repo, ref}
	m, err := r.manifests.load(name, func() (m meta.Manifest, err error) {
		err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
			m, err = findManifest(tx, repo, ref)
			return err
		})
		return m, err
	})
	if err != nil {
		return nil, err
	}
	r.pulls.note(blobName{repo, m.Digest}, r.o.Now(), min(pullStep, r.o.Grace/leasePart))
	data, err := r.manifestBytes(ctx, m.Blob)
	if errors.Is(err, errDamaged) {
		r.manifests.hold(name)()
		return nil, noManifest()
	}
	if err != nil {
		return nil, err
	}
	return manifestContent{oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size, ArtifactType: m.ArtifactType}, data}, nil
}

func findManifest(tx *meta.Tx, repo oci.Name, ref oci.Reference) (m meta.Manifest, err error) {
	if ref.Digest != "" {
		m, err = tx.Manifest(repo, ref.Digest)
	} else {
		m, err = tx.TaggedManifest(repo, ref.Tag)
	}
	if !errors.Is(err, meta.ErrNotExist) {
		return m, err
	}
	if _, err := repository(tx, repo); err != nil {
		return m, err
	}
	return m, noManifest()
}

// manifestBytes returns the bytes of a manifest, which are checked whenever they
// come from the store. Errors: errDamaged.
func (r *Registry) manifestBytes(ctx context.Context, row meta.Blob) ([]byte, error) {
	if data, ok := r.bytes.get(row.Digest); ok {
		return data, nil
	}
	o, err := r.store.Open(ctx, row.Key)
	if errors.Is(err, blob.ErrNotExist) {
		r.noteDamage(row, "", "its bytes are missing")
		return nil, errDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("open manifest %s: %w", row.Digest, err)
	}
	defer o.Close()
	info := o.Info()
	if info.Size != row.Size {
		r.noteDamage(row, info.Stamp, fmt.Sprintf("it has %d bytes instead of %d", info.Size, row.Size))
		return nil, errDamaged
	}
	data, err := readObject(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", row.Digest, err)
	}
	if oci.DigestOf(row.Digest.Algorithm(), data) != row.Digest {
		r.noteDamage(row, info.Stamp, "its bytes have another digest")
		return nil, errDamaged
	}
	r.bytes.set(row.Digest, data)
	return data, nil
}
