package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"berth/blob"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// An adoptee is a repository of Distribution's.
type adoptee struct {
	path                    string // its name there
	name                    oci.Name
	layers, revisions, tags []link
	upload, dangling        string              // the upload, and the tag without a link, that were told of last
	leftOut                 map[oci.Digest]bool // manifests that were left out
}

// A link is a file that names a digest.
type link struct {
	path     string
	modified time.Time
	digest   oci.Digest // of the path; "" for a tag
	tag      string
	target   oci.Digest // that it holds; "" when it was not read, or holds none

	manifest *oci.Manifest // behind it
	blob     meta.Blob     // of the manifest
}

// repositories adopts one repository after the other. They stand together,
// because no name of a folder within another repository sorts between those of
// this one.
func (a *adoption) repositories(ctx context.Context) error {
	var p *adoptee
	err := a.list(ctx, layout.Repositories, func(entries []blob.Entry) error {
		for _, e := range entries {
			f := layout.Parse(e.Key)
			if p != nil && f.Repository != p.path {
				if err := a.repository(ctx, p); err != nil {
					return err
				}
				p = nil
			}
			if p == nil {
				p = &adoptee{path: f.Repository, leftOut: make(map[oci.Digest]bool)}
			}
			a.take(p, e, f)
		}
		return nil
	})
	if err != nil || p == nil {
		return err
	}
	return a.repository(ctx, p)
}

// take adds a file to the repository.
func (a *adoption) take(p *adoptee, e blob.Entry, f layout.File) {
	l := link{path: e.Key, modified: e.ModTime, digest: f.Digest, tag: f.Tag}
	switch f.Kind {
	case layout.Layer:
		p.layers = append(p.layers, l)
	case layout.Revision:
		p.revisions = append(p.revisions, l)
	case layout.Tag:
		p.tags = append(p.tags, l)
	case layout.TagIndex:
		n := len(p.tags)
		if (n == 0 || p.tags[n-1].tag != f.Tag) && p.dangling != f.Tag {
			p.dangling = f.Tag
			a.found(false, layout.Repositories+p.path+"/_manifests/tags/"+f.Tag, "the tag names nothing: its push was interrupted")
		}
	case layout.Upload:
		if p.upload != f.ID {
			p.upload = f.ID
			a.count(func(t *registry.Transfer) { t.Uploads++ })
			a.found(false, layout.Repositories+p.path+"/_uploads/"+f.ID,
				"an upload in flight, last written at "+e.ModTime.UTC().Format(time.RFC3339)+": only Distribution can go on with it")
		}
	case layout.Signature: // belongs to a manifest, which is told of
	default:
		a.found(false, e.Key, strayReason(e.Key))
	}
}

// repository adopts the links of a repository, in an order in which whatever is
// named is there.
func (a *adoption) repository(ctx context.Context, p *adoptee) error {
	if len(p.layers)+len(p.revisions)+len(p.tags) == 0 {
		return nil
	}
	var err error
	if p.name, err = oci.ParseName(p.path); err != nil {
		a.found(len(p.revisions) > 0, layout.Repositories+p.path, "berth takes no such name: "+reason(err))
		return nil
	}
	for _, step := range []func(context.Context, *adoptee) error{a.layers, a.readTags, a.manifests, a.tags} {
		if err := step(ctx, p); err != nil {
			return fmt.Errorf("adopt repository %s: %w", p.name, err)
		}
	}
	a.count(func(t *registry.Transfer) { t.Repositories++ })
	return nil
}

// reason returns what err says to people.
func reason(err error) string {
	var e *oci.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// layers links the blobs of the repository.
func (a *adoption) layers(ctx context.Context, p *adoptee) error {
	for part := range slices.Chunk(p.layers, adoptedAtOnce) {
		var linked map[oci.Digest]int64
		err := a.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			linked, err = tx.BlobSizes(p.name, digestsOf(part))
			return err
		})
		if err != nil {
			return err
		}
		fresh := slices.DeleteFunc(slices.Clone(part), func(l link) bool {
			_, ok := linked[l.digest]
			return ok
		})
		if err := each(ctx, readAtOnce, fresh, a.readLink); err != nil {
			return err
		}
		if err := a.linkLayers(ctx, p.name, fresh); err != nil {
			return err
		}
		a.count(func(t *registry.Transfer) { t.Links += int64(len(part)) })
	}
	return nil
}

func digestsOf(links []link) []oci.Digest {
	list := make([]oci.Digest, 0, len(links))
	for _, l := range links {
		list = append(list, l.digest)
	}
	return list
}

// readLink reads what the link names.
func (a *adoption) readLink(ctx context.Context, l *link) error {
	if l.target != "" {
		return nil
	}
	o, err := a.r.store.Open(ctx, l.path)
	if errors.Is(err, blob.ErrNotExist) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	defer o.Close()
	if o.Info().Size > layout.MaxLink {
		a.found(false, l.path, layout.ErrBadLink.Error())
		return nil
	}
	text, err := readObject(ctx, o)
	if err != nil {
		return fmt.Errorf("read %s: %w", l.path, err)
	}
	if l.target, err = layout.ParseLink(text); err != nil {
		a.found(false, l.path, err.Error())
		return nil
	}
	if l.digest != "" && l.target != l.digest && l.target.Algorithm() == l.digest.Algorithm() {
		a.found(false, l.path, "it holds another digest than its path says: "+string(l.target))
		l.target = ""
	}
	return nil
}

// linkLayers lets the repository have the blobs that the links name.
func (a *adoption) linkLayers(ctx context.Context, name oci.Name, links []link) error {
	for _, l := range links {
		if l.target != "" && l.target != l.digest {
			if err := a.linkAlias(ctx, name, l); err != nil {
				return err
			}
		}
	}
	links = slices.DeleteFunc(links, func(l link) bool { return l.target != l.digest })
	if len(links) == 0 {
		return nil
	}
	var missing []link
	err := a.change(ctx, func(tx *meta.Tx) error {
		missing = nil
		for _, l := range links {
			b, err := tx.Blob(l.digest)
			if errors.Is(err, meta.ErrNotExist) {
				missing = append(missing, l)
				continue
			}
			if err == nil {
				err = tx.LinkBlob(name, b, a.r.o.Now())
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, l := range missing {
		if err == nil {
			err = a.linkLate(ctx, name, l)
		}
	}
	return err
}

// linkLate links a blob that was not there when the blobs were listed.
func (a *adoption) linkLate(ctx context.Context, name oci.Name, l link) error {
	b, err := a.findBlob(ctx, l.target)
	if errors.Is(err, meta.ErrNotExist) {
		a.found(false, l.path, "the blob is missing: there is no "+layout.BlobPath(l.target))
		return nil
	}
	if err != nil {
		return err
	}
	return a.change(ctx, func(tx *meta.Tx) error { return tx.LinkBlob(name, b, a.r.o.Now()) })
}

// findBlob returns the row of a blob, and makes it where Distribution has the
// bytes. Errors: meta.ErrNotExist.
func (a *adoption) findBlob(ctx context.Context, d oci.Digest) (b meta.Blob, err error) {
	err = a.r.db.Lookup(ctx, func(tx *meta.Tx) error {
		b, err = tx.Blob(d)
		return err
	})
	if !errors.Is(err, meta.ErrNotExist) {
		return b, err
	}
	o, openErr := a.r.store.Open(ctx, layout.BlobPath(d))
	if errors.Is(openErr, blob.ErrNotExist) {
		return b, err
	}
	if openErr != nil {
		return b, openErr
	}
	b = meta.Blob{Digest: d, Size: o.Info().Size, Key: layout.BlobPath(d)}
	if err := o.Close(); err != nil {
		return b, err
	}
	err = a.change(ctx, func(tx *meta.Tx) error {
		b, err = a.putBlob(tx, b)
		return err
	})
	a.count(func(t *registry.Transfer) { t.Blobs++; t.Bytes += b.Size })
	return b, err
}

// linkAlias links a blob under a second digest, of another algorithm. A row
// stands for one digest and one key, so that these bytes, which next to nobody
// has, are copied.
func (a *adoption) linkAlias(ctx context.Context, name oci.Name, l link) error {
	b, err := a.findBlob(ctx, l.digest)
	if errors.Is(err, meta.ErrNotExist) {
		b, err = a.copyAlias(ctx, l)
	}
	if errors.Is(err, meta.ErrNotExist) {
		a.found(false, l.path, "the blob is missing: there is no "+layout.BlobPath(l.target))
		return nil
	}
	if errors.Is(err, errDamaged) {
		a.found(false, l.path, "the blob that it names has other bytes than it says")
		return nil
	}
	if err != nil {
		return err
	}
	return a.change(ctx, func(tx *meta.Tx) error { return tx.LinkBlob(name, b, a.r.o.Now()) })
}

// copyAlias copies the blob that l names to a key of our own, and makes the row
// of its other digest. Errors: meta.ErrNotExist, errDamaged.
func (a *adoption) copyAlias(ctx context.Context, l link) (meta.Blob, error) {
	source, err := a.findBlob(ctx, l.target)
	if err != nil {
		return source, err
	}
	o, err := a.r.store.Open(ctx, source.Key)
	if errors.Is(err, blob.ErrNotExist) {
		err = errDamaged
	}
	if err != nil {
		return source, err
	}
	defer o.Close()
	b := meta.Blob{Digest: l.digest, Size: o.Info().Size}
	if b.Key, err = a.r.newKey(); err != nil {
		return b, err
	}
	if b.Stamp, err = a.copyObject(ctx, o, b); err != nil {
		return b, err
	}
	put := b
	err = a.change(ctx, func(tx *meta.Tx) error {
		put, err = a.putBlob(tx, b)
		return err
	})
	if err == nil && put.Key != b.Key {
		a.r.discardQuietly(ctx, func(ctx context.Context) error { return a.r.store.Delete(ctx, b.Key) })
	}
	a.count(func(t *registry.Transfer) { t.Copied++ })
	return put, err
}

// copyObject commits the bytes of o under the key of b, if they have its digest,
// and returns their stamp. Errors: errDamaged.
func (a *adoption) copyObject(ctx context.Context, o blob.Object, b meta.Blob) (string, error) {
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return "", err
	}
	defer rc.Close()
	w, err := a.r.store.Create(ctx, b.Key)
	if err != nil {
		return "", err
	}
	h := b.Digest.Algorithm().New()
	_, err = io.Copy(io.MultiWriter(w, h), rc)
	if err == nil && oci.SumDigest(b.Digest.Algorithm(), h) != b.Digest {
		err = errDamaged
	}
	var info blob.Info
	if err == nil {
		info, err = w.Commit(ctx)
	}
	if err != nil {
		return "", errors.Join(err, w.Abort(ctx))
	}
	return info.Stamp, nil
}
