package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/blob"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// readTags reads what the tags name. What a tag names and is linked as a blob
// alone is a manifest all the same: version 2.1 kept some so.
func (a *adoption) readTags(ctx context.Context, p *adoptee) error {
	if err := each(ctx, readAtOnce, p.tags, a.readLink); err != nil {
		return err
	}
	known := make(map[oci.Digest]bool, len(p.revisions)+1)
	for _, l := range p.revisions {
		known[l.digest] = true
	}
	blobs := make(map[oci.Digest]link, len(p.layers))
	for _, l := range p.layers {
		blobs[l.digest] = l
	}
	for _, t := range p.tags {
		if l, ok := blobs[t.target]; ok && !known[t.target] {
			known[t.target] = true
			p.revisions = append(p.revisions, l)
		}
	}
	return nil
}

// manifests adopts the manifests that are new.
func (a *adoption) manifests(ctx context.Context, p *adoptee) error {
	for part := range slices.Chunk(p.revisions, adoptedAtOnce) {
		fresh, err := a.newManifests(ctx, p, part)
		if err == nil {
			err = each(ctx, readAtOnce, fresh, a.readLink)
		}
		if err == nil {
			err = each(ctx, readAtOnce, fresh, a.readManifest)
		}
		if err != nil {
			return err
		}
		for _, l := range fresh {
			if l.manifest == nil {
				p.leftOut[l.digest] = true
			}
		}
		fresh = slices.DeleteFunc(fresh, func(l link) bool { return l.manifest == nil })
		if err := a.putManifests(ctx, p.name, fresh); err != nil {
			return err
		}
		a.count(func(t *registry.Transfer) { t.Manifests += int64(len(part)); t.New += int64(len(fresh)) })
	}
	return nil
}

// newManifests returns the links of manifests that were not adopted before.
func (a *adoption) newManifests(ctx context.Context, p *adoptee, part []link) ([]link, error) {
	names := make([]string, 0, len(part))
	for _, l := range part {
		names = append(names, string(l.digest))
	}
	var adopted map[string]oci.Digest
	err := a.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		adopted, err = tx.Adopted(p.name, names)
		return err
	})
	return slices.DeleteFunc(slices.Clone(part), func(l link) bool { return adopted[string(l.digest)] != "" }), err
}

// readManifest reads the manifest behind a link, and leaves out what is none.
func (a *adoption) readManifest(ctx context.Context, l *link) error {
	if l.target == "" {
		return nil
	}
	b, err := a.findBlob(ctx, l.target)
	if errors.Is(err, meta.ErrNotExist) {
		a.found(false, l.path, "the manifest is missing: there is no "+layout.BlobPath(l.target))
		return nil
	}
	if err != nil {
		return err
	}
	if b.Size > oci.MaxManifestSize {
		a.found(true, l.path, fmt.Sprintf("the manifest is larger than %d bytes", oci.MaxManifestSize))
		return nil
	}
	data, info, err := a.readWhole(ctx, b)
	if errors.Is(err, errDamaged) {
		a.found(false, l.path, "the manifest is damaged: its bytes are missing, or have another digest")
		return nil
	}
	if err != nil {
		return err
	}
	m, err := oci.ParseStored(data)
	if err != nil {
		a.found(true, l.path, reason(err))
		return nil
	}
	b.Stamp = info.Stamp
	if l.target != l.digest {
		if b, err = a.storeAlias(ctx, l, data); err != nil || b.Key == "" {
			return err
		}
	}
	l.manifest, l.blob = m, b
	return nil
}

// readWhole returns the bytes of a small blob, verified. Errors: errDamaged.
func (a *adoption) readWhole(ctx context.Context, b meta.Blob) ([]byte, blob.Info, error) {
	o, err := a.r.store.Open(ctx, b.Key)
	if errors.Is(err, blob.ErrNotExist) {
		return nil, blob.Info{}, errDamaged
	}
	if err != nil {
		return nil, blob.Info{}, err
	}
	defer o.Close()
	if o.Info().Size != b.Size {
		return nil, blob.Info{}, errDamaged
	}
	data, err := readObject(ctx, o)
	if err != nil {
		return nil, blob.Info{}, fmt.Errorf("read %s: %w", b.Key, err)
	}
	if oci.DigestOf(b.Digest.Algorithm(), data) != b.Digest {
		return nil, blob.Info{}, errDamaged
	}
	return data, o.Info(), nil
}

// storeAlias keeps a manifest under its second digest, as linkAlias does with a
// blob. Without a key it is left out.
func (a *adoption) storeAlias(ctx context.Context, l *link, data []byte) (meta.Blob, error) {
	b, err := a.findBlob(ctx, l.digest)
	if !errors.Is(err, meta.ErrNotExist) {
		return b, err
	}
	b = meta.Blob{Digest: l.digest, Size: int64(len(data))}
	if oci.DigestOf(l.digest.Algorithm(), data) != l.digest {
		a.found(false, l.path, "the manifest that it names has another digest")
		return b, nil
	}
	key, err := a.r.newKey()
	if err != nil {
		return b, err
	}
	info, err := a.r.storeBytes(ctx, key, data)
	if err != nil {
		return b, err
	}
	b.Key, b.Stamp = key, info.Stamp
	a.count(func(t *registry.Transfer) { t.Copied++ })
	return b, nil
}

// putManifests writes the manifests.
func (a *adoption) putManifests(ctx context.Context, name oci.Name, links []link) error {
	if len(links) == 0 {
		return nil
	}
	var missing []registry.Finding
	err := a.change(ctx, func(tx *meta.Tx) error {
		missing = nil
		id, err := tx.PutRepository(name, a.r.o.Now())
		if err != nil {
			return err
		}
		for _, l := range links {
			b, err := a.putBlob(tx, l.blob)
			if err != nil {
				return err
			}
			m := registry.ManifestContent{Manifest: l.manifest, Digest: l.digest}
			if err := tx.PutManifest(id, manifestRow(m, b), children(m.Manifest), l.when(a.r.o.Now())); err != nil {
				return err
			}
			if err := tx.PutAdopted(name, meta.Adoption{Name: string(l.digest), Digest: l.digest}); err != nil {
				return err
			}
			absent, err := missingLayer(tx, name, l.manifest)
			if err != nil {
				return err
			}
			if absent != "" {
				missing = append(missing, registry.Finding{Path: l.path,
					Reason: "the image cannot be pulled, here as there: the repository does not hold " + string(absent)})
			}
		}
		return nil
	})
	for _, f := range missing {
		a.found(f.Lost, f.Path, f.Reason)
	}
	return err
}

// when returns the time of the link, or now where the store tells none.
func (l *link) when(now time.Time) time.Time {
	if l.modified.IsZero() {
		return now
	}
	return l.modified
}

// missingLayer returns a digest that the image needs and the repository does not
// hold, "" for none. Indexes are often of more than is there.
func missingLayer(tx *meta.Tx, name oci.Name, m *oci.Manifest) (oci.Digest, error) {
	var needed []oci.Digest
	if m.Config != nil {
		needed = append(needed, m.Config.Digest)
	}
	for _, d := range m.Layers {
		if len(d.URLs) == 0 {
			needed = append(needed, d.Digest)
		}
	}
	if len(needed) == 0 {
		return "", nil
	}
	there, err := tx.BlobSizes(name, needed)
	for _, d := range needed {
		if _, ok := there[d]; !ok {
			return d, err
		}
	}
	return "", err
}

// tags lets the tags name what they name there.
func (a *adoption) tags(ctx context.Context, p *adoptee) error {
	for part := range slices.Chunk(p.tags, adoptedAtOnce) {
		var found []registry.Finding
		var moved int64
		err := a.change(ctx, func(tx *meta.Tx) (err error) {
			found, moved, err = a.putTags(tx, p, part)
			return err
		})
		if err != nil {
			return err
		}
		for _, f := range found {
			a.found(f.Lost, f.Path, f.Reason)
		}
		a.count(func(t *registry.Transfer) { t.Tags += int64(len(part)); t.New += moved })
	}
	return nil
}

// putTags decides what becomes of each tag, in the transaction that writes it.
func (a *adoption) putTags(tx *meta.Tx, p *adoptee, part []link) (found []registry.Finding, moved int64, err error) {
	id, err := tx.PutRepository(p.name, a.r.o.Now())
	if err != nil {
		return nil, 0, err
	}
	var names []string
	var targets []oci.Digest
	for _, l := range part {
		if l.target != "" {
			names, targets = append(names, l.tag, string(l.target)), append(targets, l.target)
		}
	}
	if len(names) == 0 {
		return nil, 0, nil
	}
	adopted, err := tx.Adopted(p.name, names)
	if err != nil {
		return nil, 0, err
	}
	there, err := tx.ManifestSizes(id, targets)
	if err != nil {
		return nil, 0, err
	}
	for _, l := range part {
		if l.target == "" || adopted[l.tag] == l.target {
			continue
		}
		_, exists := there[l.target]
		if f := p.refuse(l, exists, adopted[string(l.target)] != ""); f.Path != "" || !exists {
			found = appendFinding(found, f)
			continue
		}
		f, err := a.putTag(tx, p.name, id, l, adopted[l.tag])
		if err != nil {
			return nil, 0, err
		}
		if found = appendFinding(found, f); f.Path == "" {
			moved++
		}
	}
	return found, moved, nil
}

func appendFinding(list []registry.Finding, f registry.Finding) []registry.Finding {
	if f.Path == "" {
		return list
	}
	return append(list, f)
}

// refuse says why a tag cannot be adopted; one whose manifest was deleted here
// is not told of.
func (p *adoptee) refuse(l link, exists, deleted bool) registry.Finding {
	if _, err := oci.ParseTag(l.tag); err != nil {
		return registry.Finding{Path: l.path, Reason: "berth takes no such tag: " + reason(err), Lost: exists}
	}
	switch {
	case exists || deleted:
		return registry.Finding{}
	case p.leftOut[l.target]:
		return registry.Finding{Path: l.path, Reason: "the manifest that it names is left out: " + string(l.target)}
	}
	return registry.Finding{Path: l.path, Reason: "the manifest that it names is not in the repository: " + string(l.target)}
}

// putTag moves a tag to what it names in Distribution, unless it was pushed here
// later; before is what it named when it was adopted last.
func (a *adoption) putTag(tx *meta.Tx, name oci.Name, id meta.RepositoryID, l link, before oci.Digest) (registry.Finding, error) {
	tag := oci.Tag(l.tag)
	now, err := tx.TagInfo(id, tag)
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return registry.Finding{}, err
	}
	if err == nil && now.Digest != l.target && now.Digest != before && !l.modified.After(now.Pushed) {
		return registry.Finding{Path: l.path, Reason: "the tag was pushed to berth later, and stays at " + string(now.Digest)}, nil
	}
	var rule *registry.RuleError
	if err := a.r.checkMove(tx, id, name, []oci.Tag{tag}, l.target); errors.As(err, &rule) {
		return registry.Finding{Path: l.path, Reason: rule.Message}, nil
	} else if err != nil {
		return registry.Finding{}, err
	}
	if now.Digest != l.target {
		if err := tx.PutTag(id, tag, l.target, l.when(a.r.o.Now())); err != nil {
			return registry.Finding{}, err
		}
	}
	return registry.Finding{}, tx.PutAdopted(name, meta.Adoption{Name: l.tag, Digest: l.target})
}
