package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"berth/blob"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// RebuildOptions are the choices of Rebuild.
type RebuildOptions struct {
	Into     oci.Name // the repository of what is found
	Progress func(RebuildReport)
}

// A RebuildReport says what a rebuild has found.
type RebuildReport struct {
	Into    oci.Name `json:"into"`
	Objects int64    `json:"objects"` // of the blob store
	Unnamed int64    `json:"unnamed"` // objects that were read, as nothing named them
	Bytes   int64    `json:"bytes"`   // that were read
	Blobs   int64    `json:"blobs"`   // objects that have a name now
	Healed  int64    `json:"healed"`  // of them, those in the place of damaged bytes
	// Duplicates are objects whose bytes are there under another key as well.
	Duplicates int64 `json:"duplicates"`
	Manifests  int64 `json:"manifests"`
	// Incomplete are manifests that stay blobs, but no more than 1,000.
	Incomplete []IncompleteManifest `json:"incomplete"`
}

// An IncompleteManifest is one of which something is missing.
type IncompleteManifest struct {
	Digest  oci.Digest   `json:"digest"`
	Missing []oci.Digest `json:"missing"`
}

// A rebuild is one call of Rebuild.
type rebuild struct {
	r  *Registry
	o  RebuildOptions
	mu sync.Mutex

	report RebuildReport
	tried  map[oci.Digest]bool // manifests: whether they are in the repository
}

// Rebuild finds the committed objects that nothing names, hashes them, and makes
// them blobs of a repository; and those that are manifests, and of which nothing is
// missing, manifests of it, without a tag. It does not touch what is named already,
// and can be interrupted and done again. Nobody else may use the registry.
func (r *Registry) Rebuild(ctx context.Context, o RebuildOptions) (RebuildReport, error) {
	b := &rebuild{r: r, o: o, tried: make(map[oci.Digest]bool)}
	b.report.Into, b.report.Incomplete = o.Into, []IncompleteManifest{}
	var err error
	for _, prefix := range sweptPrefixes {
		if err = b.list(ctx, prefix); err != nil {
			break
		}
	}
	if err == nil {
		err = b.manifests(ctx)
	}
	r.blobs.holdAll()()
	r.manifests.holdAll()()
	r.absent.holdAll()()
	return b.report, storage(err)
}

// list looks at the objects below a prefix, many at a time.
func (b *rebuild) list(ctx context.Context, prefix string) error {
	var page []blob.Entry
	var failed error
	err := b.r.store.List(ctx, prefix, func(e blob.Entry) bool {
		if !strings.HasPrefix(e.Key, prefix) {
			return false
		}
		if page = append(page, e); len(page) == listedAtOnce {
			failed = b.look(ctx, page)
			page = page[:0]
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("list the blob store: %w", err)
	}
	return b.look(ctx, page)
}

// look reads those objects of a page that nothing names, and names them.
func (b *rebuild) look(ctx context.Context, page []blob.Entry) error {
	keys := make([]string, 0, len(page))
	for _, e := range page {
		keys = append(keys, e.Key)
	}
	if len(keys) == 0 {
		return nil
	}
	var known map[string]bool
	err := b.r.db.View(ctx, func(tx *meta.Tx) (err error) {
		known, err = tx.KnownKeys(keys)
		return err
	})
	if err != nil {
		return err
	}
	var unnamed []string
	for _, key := range keys {
		if !known[key] {
			unnamed = append(unnamed, key)
		}
	}
	b.count(func(r *RebuildReport) { r.Objects += int64(len(page)) })
	return each(ctx, runtime.GOMAXPROCS(0), unnamed, b.name)
}

func (b *rebuild) count(change func(*RebuildReport)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.report)
	if b.o.Progress != nil {
		b.o.Progress(b.report)
	}
}

// name makes an object a blob of the repository. What was never committed, or does
// not have the digest that Distribution's path says, is passed by.
func (b *rebuild) name(ctx context.Context, key *string) error {
	found, err := b.read(ctx, *key)
	if errors.Is(err, blob.ErrNotExist) || errors.Is(err, errDamaged) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read object %s: %w", *key, err)
	}
	have, damaged, err := b.r.lookUp(ctx, found.Digest)
	if err != nil {
		return err
	}
	if have {
		b.count(func(r *RebuildReport) { r.Unnamed++; r.Bytes += found.Size; r.Duplicates++ })
		return nil
	}
	var settled meta.Blob
	err = b.r.db.Grow(ctx, func(tx *meta.Tx) error {
		var err error
		if settled, err = tx.PutBlob(found, damaged, b.r.o.Now()); err != nil {
			return err
		}
		if damaged != "" {
			return nil // its repositories have it again
		}
		return tx.LinkBlob(b.o.Into, settled, b.r.o.Now())
	})
	if err != nil {
		return err
	}
	if settled.Key == found.Key {
		b.r.healed(ctx, settled, damaged)
	}
	b.count(func(r *RebuildReport) {
		r.Unnamed++
		r.Bytes += found.Size
		switch {
		case settled.Key != found.Key: // another object of the same bytes was first
			r.Duplicates++
		case damaged != "":
			r.Healed++
			r.Blobs++
		default:
			r.Blobs++
		}
	})
	return nil
}

// read hashes an object. Errors: blob.ErrNotExist, errDamaged.
func (b *rebuild) read(ctx context.Context, key string) (meta.Blob, error) {
	algorithm, said := oci.SHA256, oci.Digest("")
	if strings.HasPrefix(key, layout.Blobs) {
		f := layout.Parse(key)
		if f.Kind != layout.Blob {
			return meta.Blob{}, blob.ErrNotExist
		}
		algorithm, said = f.Digest.Algorithm(), f.Digest
	}
	o, err := b.r.store.Open(ctx, key)
	if err != nil {
		return meta.Blob{}, err
	}
	defer o.Close()
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return meta.Blob{}, err
	}
	defer rc.Close()
	h := algorithm.New()
	if _, err := io.Copy(h, rc); err != nil {
		return meta.Blob{}, err
	}
	d := oci.SumDigest(algorithm, h)
	if said != "" && d != said {
		return meta.Blob{}, errDamaged
	}
	return meta.Blob{Digest: d, Size: o.Info().Size, Key: key, Stamp: o.Info().Stamp}, nil
}

// manifests makes manifests of those blobs of the repository that are some.
func (b *rebuild) manifests(ctx context.Context) error {
	for after := int64(0); ; {
		var page []meta.Blob
		err := b.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.BlobsOf(b.o.Into, after, scrubPage)
			return err
		})
		if err != nil {
			return err
		}
		for _, row := range page {
			if _, err := b.enter(ctx, row, true); err != nil {
				return err
			}
			after = row.ID
		}
		if len(page) < scrubPage {
			return nil
		}
	}
}

// enter makes the blob a manifest of the repository, if it is one and nothing of it
// is missing, its children first. It reports whether the repository has it as a
// manifest then.
func (b *rebuild) enter(ctx context.Context, row meta.Blob, tell bool) (bool, error) {
	if is, ok := b.tried[row.Digest]; ok {
		return is, nil
	}
	b.tried[row.Digest] = false
	m, err := b.parse(ctx, row)
	if err != nil || m == nil {
		return false, err
	}
	for _, child := range m.Manifests {
		if err := b.enterChild(ctx, child); err != nil {
			return false, err
		}
	}
	var missing []oci.Digest
	err = b.r.db.Grow(ctx, func(tx *meta.Tx) (err error) {
		missing, err = b.put(tx, row, m)
		return err
	})
	if err != nil {
		return false, err
	}
	if len(missing) == 0 {
		b.tried[row.Digest] = true
		b.count(func(r *RebuildReport) { r.Manifests++ })
		return true, nil
	}
	if tell {
		b.count(func(r *RebuildReport) {
			if len(r.Incomplete) < maxDamages {
				r.Incomplete = append(r.Incomplete, IncompleteManifest{row.Digest, missing})
			}
		})
	}
	return false, nil
}

// parse returns the manifest that the blob is, nil if it is none.
func (b *rebuild) parse(ctx context.Context, row meta.Blob) (*oci.Manifest, error) {
	if row.Size > oci.MaxManifestSize || row.Size == 0 {
		return nil, nil
	}
	data, err := b.r.manifestBytes(ctx, row)
	if errors.Is(err, errDamaged) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := oci.ParseStored(data)
	if err != nil || m.Config == nil && len(m.Layers)+len(m.Manifests) == 0 {
		return nil, nil
	}
	return m, nil
}

// enterChild enters a child of an index, wherever its bytes were found.
func (b *rebuild) enterChild(ctx context.Context, child oci.Descriptor) error {
	var row meta.Blob
	err := b.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		row, err = tx.Blob(child.Digest)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = b.enter(ctx, row, false)
	}
	return err
}

// put writes the manifest and lets the repository read what it names, or returns
// what of that is missing.
func (b *rebuild) put(tx *meta.Tx, row meta.Blob, m *oci.Manifest) (missing []oci.Digest, err error) {
	now := b.r.o.Now()
	id, err := tx.PutRepository(b.o.Into, now)
	if err != nil {
		return nil, err
	}
	var blobs []meta.Blob
	needed := append([]oci.Descriptor{}, m.Layers...)
	needed = append(needed, m.Manifests...)
	if m.Config != nil {
		needed = append(needed, *m.Config)
	}
	for _, d := range needed {
		there, err := tx.Blob(d.Digest)
		switch {
		case errors.Is(err, meta.ErrNotExist) && len(d.URLs) > 0:
		case errors.Is(err, meta.ErrNotExist) || err == nil && there.Size != d.Size:
			missing = append(missing, d.Digest)
		case err != nil:
			return nil, err
		case !b.tried[d.Digest]: // what is a manifest of the repository is read as one
			blobs = append(blobs, there)
		}
	}
	if len(missing) > 0 {
		return missing, nil
	}
	for _, there := range blobs {
		if err := tx.LinkBlob(b.o.Into, there, now); err != nil {
			return nil, err
		}
	}
	content := registry.ManifestContent{Manifest: m, Digest: row.Digest}
	if err := tx.PutManifest(id, manifestRow(content, row), children(m), now); err != nil {
		return nil, err
	}
	if err := tx.UnlinkBlob(b.o.Into, row.Digest); err != nil && !errors.Is(err, meta.ErrNotExist) {
		return nil, err
	}
	return nil, nil
}

// MarkNew marks a database that is empty as that of a store whose own was lost,
// and begins another epoch, in which the sweep touches nothing that was written
// before. It does nothing to a database that is marked. Errors: ErrInstance, when
// the store has no mark.
func MarkNew(ctx context.Context, store blob.Store, tx *meta.Tx, now time.Time) error {
	_, err := tx.Setting(InstanceSetting)
	if !errors.Is(err, meta.ErrNotExist) {
		return err
	}
	r := &Registry{store: store}
	mark, err := r.readInstance(ctx)
	if err != nil {
		return err
	}
	if mark == "" {
		return fmt.Errorf("%w: the store has no mark, so nobody has lost its database", ErrInstance)
	}
	if err := tx.PutSetting(InstanceSetting, mark); err != nil {
		return err
	}
	return BeginEpoch(ctx, store, tx, time.Unix(0, 0), now)
}
