package local

import (
	"context"

	"berth/meta"
	"berth/oci"
)

// A dryRun is what would be gone, so that a dry run can tell what that would free.
// The zero value is nothing.
type dryRun struct {
	manifests map[repoDigest]bool
	checked   map[repoDigest]bool // blobs of manifests that would be gone
	now       map[int64]*goneUses // by blob
	later     map[int64]*goneUses // that go when their leases are over
}

type repoDigest struct {
	repo   meta.RepositoryID
	digest oci.Digest
}

// goneUses counts what would no longer need a blob.
type goneUses struct {
	links, manifests int
	size             int64
}

func usesOf(m *map[int64]*goneUses, blob, size int64) *goneUses {
	if *m == nil {
		*m = make(map[int64]*goneUses)
	}
	u := (*m)[blob]
	if u == nil {
		u = &goneUses{size: size}
		(*m)[blob] = u
	}
	return u
}

// unlinked notes links that would be gone now.
func (d *dryRun) unlinked(links []meta.Link) {
	for _, l := range links {
		usesOf(&d.now, l.Blob, l.Size).links++
	}
}

// remove notes a manifest that would be gone, and reports whether that is new. Its
// bytes are a blob too.
func (d *dryRun) remove(row meta.RepositoryRow, m meta.ManifestUse) bool {
	name := repoDigest{row.ID, m.Digest}
	if d.manifests[name] {
		return false
	}
	if d.manifests == nil {
		d.manifests, d.checked = make(map[repoDigest]bool), make(map[repoDigest]bool)
	}
	d.manifests[name] = true
	usesOf(&d.now, m.Blob, m.Size).manifests++
	return true
}

// release notes the links that only manifests need which would be gone: they go a
// grace later. It is called when all manifests of the repository are noted.
func (d *dryRun) release(tx *meta.Tx, row meta.RepositoryRow, gone []meta.ManifestUse) (bytes int64, err error) {
	for _, m := range gone {
		links, err := tx.Children(row.ID, row.Name, m.Digest)
		if err != nil {
			return 0, err
		}
		for _, l := range links {
			name := repoDigest{row.ID, l.Digest}
			if d.checked[name] {
				continue
			}
			free, err := d.isFree(tx, name)
			if err != nil {
				return 0, err
			}
			if free {
				d.checked[name] = true
				usesOf(&d.later, l.Blob, l.Size).links++
				bytes += l.Size
			}
		}
	}
	return bytes, nil
}

// isFree reports whether every manifest that names the blob would be gone.
func (d *dryRun) isFree(tx *meta.Tx, blob repoDigest) (bool, error) {
	var after oci.Digest
	for {
		parents, err := tx.Parents(blob.repo, blob.digest, after, sweepBatch)
		if err != nil {
			return false, err
		}
		for _, p := range parents {
			if !d.manifests[repoDigest{blob.repo, p}] {
				return false, nil
			}
		}
		if len(parents) < sweepBatch {
			return true, nil
		}
		after = parents[len(parents)-1]
	}
}

// settle adds to the report the blobs that nothing would need any more.
func (d *dryRun) settle(ctx context.Context, s *sweep) error {
	for blob, u := range d.later {
		if d.now[blob] == nil {
			usesOf(&d.now, blob, u.size)
		}
	}
	for blob, now := range d.now {
		var links, manifests int
		err := s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
			links, manifests, err = tx.CountBlobUses(blob)
			return err
		})
		if err != nil {
			return err
		}
		links, manifests = links-now.links, manifests-now.manifests
		switch later := d.later[blob]; {
		case links <= 0 && manifests <= 0:
			s.report.Blobs++
			s.report.Bytes += now.size
		case later != nil && links-later.links <= 0 && manifests <= 0:
			s.report.Later += now.size
		}
	}
	return nil
}
