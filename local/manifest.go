package local

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// PutManifest implements registry.Writer. The bytes are durable before the one
// transaction that checks the rules and writes the names.
func (r *Registry) PutManifest(ctx context.Context, repo oci.Name, m registry.ManifestContent, o registry.PutOptions) (oci.Descriptor, error) {
	ctx = context.WithoutCancel(ctx)
	if oci.DigestOf(m.Digest.Algorithm(), m.Bytes) != m.Digest {
		return oci.Descriptor{}, oci.Errorf(oci.DigestInvalid, "the manifest has another digest")
	}
	put := manifestPut{repo: repo, m: m, o: o, now: r.o.Now()}
	b, damaged, err := r.storeManifest(ctx, m)
	if err != nil {
		return oci.Descriptor{}, storage(err)
	}
	names := []manifestName{{repo, oci.Reference{Digest: m.Digest}}}
	for _, t := range o.Tags {
		names = append(names, manifestName{repo, oci.Reference{Tag: t}})
	}
	release := r.manifests.hold(names...)
	defer r.absent.hold(m.Digest)()
	var settled meta.Blob
	err = r.db.Grow(ctx, func(tx *meta.Tx) error {
		if err := put.check(tx); err != nil {
			return err
		}
		if err := r.checkMove(tx, put.id, repo, o.Tags, m.Digest); err != nil {
			return err
		}
		return r.bounded(tx, repo, func() (err error) {
			if settled, err = settleBlob(tx, b, damaged, put.now); err != nil {
				return err
			}
			return put.write(tx, settled)
		})
	})
	release()
	if errors.Is(err, meta.ErrUnknownOutcome) {
		return oci.Descriptor{}, storage(err)
	}
	if b.Key != "" && (err != nil || settled.Key != b.Key) {
		r.discardQuietly(ctx, func(ctx context.Context) error { return r.store.Delete(ctx, b.Key) })
	}
	if errors.Is(err, errNotThere) {
		return r.PutManifest(ctx, repo, m, o) // now the bytes are known to be needed
	}
	if err != nil {
		return oci.Descriptor{}, storage(err)
	}
	if settled.Key == b.Key {
		r.healed(ctx, b, damaged)
	}
	r.bytes.set(m.Digest, slices.Clone(m.Bytes))
	return oci.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: int64(len(m.Bytes)), ArtifactType: m.ArtifactType}, nil
}

// storeManifest makes the bytes durable, unless the registry has them: then the
// blob has no key. It returns as well under which key damaged ones are.
func (r *Registry) storeManifest(ctx context.Context, m registry.ManifestContent) (meta.Blob, string, error) {
	b := meta.Blob{Digest: m.Digest, Size: int64(len(m.Bytes))}
	have, damaged, err := r.lookUp(ctx, m.Digest)
	if have || err != nil {
		return b, "", err
	}
	if b.Key, err = r.newKey(); err != nil {
		return b, "", err
	}
	info, err := r.storeBytes(ctx, b.Key, m.Bytes)
	b.Stamp = info.Stamp
	return b, damaged, err
}

// A manifestPut is what PutManifest does in its transaction.
type manifestPut struct {
	repo oci.Name
	m    registry.ManifestContent
	o    registry.PutOptions
	now  time.Time

	id meta.RepositoryID // 0 when there is no such repository
}

// check decides the rules, of which none depends on what write does.
func (p *manifestPut) check(tx *meta.Tx) error {
	var err error
	if p.id, err = tx.Repository(p.repo); err != nil && !errors.Is(err, meta.ErrNotExist) {
		return err
	}
	if err := p.checkPreconditions(tx); err != nil {
		return err
	}
	return p.checkReferences(tx)
}

// checkPreconditions compares what the tags name now, or without tags the
// manifest itself, with the options.
func (p *manifestPut) checkPreconditions(tx *meta.Tx) error {
	if !p.o.CreateOnly && !p.o.IfNoneMatch && len(p.o.IfMatch) == 0 {
		return nil
	}
	for _, t := range p.o.Tags {
		now, err := tx.Tag(p.id, t)
		if err != nil && !errors.Is(err, meta.ErrNotExist) {
			return err
		}
		if err := p.allow(now); err != nil {
			return err
		}
		if p.o.CreateOnly && now != "" && now != p.m.Digest {
			return oci.Errorf(oci.Denied, "tag %s names another manifest, and may not be moved", t)
		}
	}
	if len(p.o.Tags) > 0 {
		return nil
	}
	there, err := tx.ManifestSizes(p.id, []oci.Digest{p.m.Digest})
	if err != nil {
		return err
	}
	var now oci.Digest
	if _, ok := there[p.m.Digest]; ok {
		now = p.m.Digest
	}
	return p.allow(now)
}

// allow checks IfMatch and IfNoneMatch against what is there, "" for nothing.
func (p *manifestPut) allow(now oci.Digest) error {
	if p.o.IfNoneMatch && now != "" {
		return oci.Errorf(oci.Conflict, "there is a manifest already")
	}
	if len(p.o.IfMatch) > 0 && !slices.Contains(p.o.IfMatch, now) {
		return oci.Errorf(oci.Conflict, "another manifest is there now")
	}
	return nil
}

// checkReferences checks that what the manifest refers to is in the repository,
// and of the size it says. Layers with urls may be elsewhere. It asks for all
// of them together.
func (p *manifestPut) checkReferences(tx *meta.Tx) error {
	referred := slices.Concat(p.m.Layers, p.m.Manifests)
	if p.m.Config != nil {
		referred = append(referred, *p.m.Config)
	}
	if len(referred) == 0 {
		return nil
	}
	digests := make([]oci.Digest, 0, len(referred))
	for _, d := range referred {
		digests = append(digests, d.Digest)
	}
	slices.Sort(digests)
	digests = slices.Compact(digests)
	blobs, err := tx.BlobSizes(p.repo, digests)
	if err != nil {
		return err
	}
	var manifests map[oci.Digest]int64
	if len(p.m.Manifests) > 0 {
		if manifests, err = tx.ManifestSizes(p.id, digests); err != nil {
			return err
		}
	}
	for _, d := range referred {
		size, ok := blobs[d.Digest]
		if !ok {
			size, ok = manifests[d.Digest]
		}
		switch {
		case !ok && len(d.URLs) > 0:
		case !ok:
			return &oci.Error{Code: oci.ManifestBlobUnknown, Message: "the manifest refers to " + string(d.Digest) + ", which is not in the repository",
				Detail: map[string]string{"digest": string(d.Digest)}}
		case size != d.Size:
			return oci.Errorf(oci.ManifestInvalid, "the manifest says that %s has %d bytes, and it has %d", d.Digest, d.Size, size)
		}
	}
	return nil
}

// write writes the names; b are the bytes.
func (p *manifestPut) write(tx *meta.Tx, b meta.Blob) error {
	if p.id == 0 {
		var err error
		if p.id, err = tx.PutRepository(p.repo, p.now); err != nil {
			return err
		}
	}
	if err := tx.PutManifest(p.id, manifestRow(p.m, b), children(p.m.Manifest), p.now); err != nil {
		return err
	}
	for _, t := range p.o.Tags {
		if err := tx.PutTag(p.id, t, p.m.Digest, p.now); err != nil {
			return err
		}
	}
	return nil
}

// manifestRow returns the row of a manifest whose bytes are b.
func manifestRow(m registry.ManifestContent, b meta.Blob) meta.Manifest {
	row := meta.Manifest{
		Digest: m.Digest, MediaType: m.MediaType, ArtifactType: m.ArtifactType, Size: b.Size,
		Annotations: m.Annotations, Blob: b,
	}
	if m.Subject != nil {
		row.Subject = m.Subject.Digest
	}
	return row
}

func children(m *oci.Manifest) []meta.Child {
	list := make([]meta.Child, 0, 1+len(m.Layers)+len(m.Manifests))
	if m.Config != nil {
		list = append(list, meta.Child{Digest: m.Config.Digest, Kind: meta.KindConfig})
	}
	for _, d := range m.Layers {
		list = append(list, meta.Child{Digest: d.Digest, Kind: meta.KindLayer})
	}
	for _, d := range m.Manifests {
		list = append(list, meta.Child{Digest: d.Digest, Kind: meta.KindManifest})
	}
	return list
}
