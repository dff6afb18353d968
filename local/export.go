package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// The modes of what Distribution makes. Only the folder itself, when it is new,
// is for its owner alone.
const (
	modeExportDir    = 0o700
	modeExportFolder = 0o755
	modeExportFile   = 0o644
)

const (
	copiedAtOnce = 4   // blobs
	namesAtOnce  = 500 // rows in one answer of the database
)

// An exporter is one call of Export.
type exporter struct {
	transfer
	r     *Registry
	dir   *os.Root
	prune bool
	repos map[string]bool // that the registry has

	linking sync.Mutex
}

// Export implements registry.Mover. A file that is there already, of the right
// length, is left as it is: a blob gets its name when it is whole. Blobs are
// copied, by the kernel where it can, which shares the bytes on file systems that
// know how; never are they hard links: whoever changes one file, its mode or its
// owner would change the other, and damage to one would be damage to both.
func (r *Registry) Export(ctx context.Context, o registry.ExportOptions) (registry.Transfer, error) {
	if !r.transferring.TryLock() {
		return registry.Transfer{}, errTransfer
	}
	defer r.transferring.Unlock()
	if err := os.MkdirAll(o.Dir, modeExportDir); err != nil {
		return registry.Transfer{}, fmt.Errorf("make the folder to export to: %w", err)
	}
	dir, err := os.OpenRoot(o.Dir)
	if err != nil {
		return registry.Transfer{}, fmt.Errorf("open the folder to export to: %w", err)
	}
	e := &exporter{r: r, dir: dir, prune: o.Prune, transfer: transfer{watch: o.Watch}, repos: make(map[string]bool)}
	err = e.run(ctx)
	return e.total, errors.Join(err, dir.Close())
}

func (e *exporter) run(ctx context.Context) error {
	after := oci.Name("")
	for {
		var names []oci.Name
		err := e.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
			names, err = tx.AllRepositories(after, namesAtOnce)
			return err
		})
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := e.repository(ctx, name); err != nil {
				return fmt.Errorf("export repository %s: %w", name, err)
			}
			e.repos[string(name)] = true
		}
		if len(names) < namesAtOnce {
			break
		}
		after = names[len(names)-1]
	}
	if err := e.staleRepositories(ctx, "."); err != nil {
		return err
	}
	return syncAll(e.dir)
}

// An exportee is what a repository held at one moment.
type exportee struct {
	name             oci.Name
	layers, manifest []meta.Blob
	tags             []registry.TagInfo
}

// read reads the names of a repository.
func (e *exporter) read(ctx context.Context, name oci.Name) (*exportee, error) {
	p := &exportee{name: name}
	return p, e.r.db.View(ctx, func(tx *meta.Tx) error {
		id, err := tx.Repository(name)
		if errors.Is(err, meta.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if p.layers, err = pages(func(last meta.Blob) ([]meta.Blob, error) { return tx.BlobsOf(name, last.ID, namesAtOnce) }); err != nil {
			return err
		}
		if p.manifest, err = pages(func(last meta.Blob) ([]meta.Blob, error) { return tx.ManifestsOf(id, last.Digest, namesAtOnce) }); err != nil {
			return err
		}
		p.tags, err = pages(func(last registry.TagInfo) ([]registry.TagInfo, error) {
			return tx.Tags(id, registry.TagQuery{After: last.Tag, Limit: namesAtOnce})
		})
		return err
	})
}

// pages gathers all pages, each of which is told the end of the one before.
func pages[T any](page func(last T) ([]T, error)) (all []T, err error) {
	var last T
	for {
		list, err := page(last)
		if err != nil || len(list) == 0 {
			return all, err
		}
		all = append(all, list...)
		last = list[len(list)-1]
	}
}

// repository writes the blobs, then the links to them, then the tags.
func (e *exporter) repository(ctx context.Context, name oci.Name) error {
	p, err := e.read(ctx, name)
	if err != nil {
		return err
	}
	layers, err := e.links(ctx, p.layers, func(d oci.Digest) string { return layout.LayerPath(name, d) })
	if err != nil {
		return err
	}
	e.count(func(t *registry.Transfer) { t.Links += int64(len(p.layers)) })
	manifests, err := e.links(ctx, p.manifest, func(d oci.Digest) string { return layout.RevisionPath(name, d) })
	if err != nil {
		return err
	}
	e.count(func(t *registry.Transfer) { t.Manifests += int64(len(p.manifest)) })
	tags, err := e.tags(ctx, p)
	if err != nil {
		return err
	}
	e.count(func(t *registry.Transfer) { t.Repositories++ })
	// Tags first, so that with a prune too none names what is gone.
	if err := e.staleTags(name, tags); err != nil {
		return err
	}
	if err := e.staleLinks(layout.RevisionsFolder(name), manifests); err != nil {
		return err
	}
	return e.staleLinks(layout.LayersFolder(name), layers)
}

// links writes blobs, and the link that path names to each of them. It returns
// the names of the links.
func (e *exporter) links(ctx context.Context, blobs []meta.Blob, path func(oci.Digest) string) (map[string]bool, error) {
	type written struct {
		meta.Blob
		canonical oci.Digest
	}
	list := make([]written, 0, len(blobs))
	for _, b := range blobs {
		list = append(list, written{Blob: b})
	}
	err := each(ctx, copiedAtOnce, list, func(ctx context.Context, w *written) (err error) {
		if w.canonical, err = e.blob(ctx, w.Blob); err != nil || w.canonical == "" {
			return err
		}
		// Under both of its digests, as Distribution does, whose garbage
		// collection looks for the canonical one.
		for _, d := range slices.Compact([]oci.Digest{w.canonical, w.Digest}) {
			if err := e.writeLink(path(d), w.canonical); err != nil {
				return err
			}
		}
		return nil
	})
	names := make(map[string]bool, len(list))
	for _, w := range list {
		for _, d := range []oci.Digest{w.canonical, w.Digest} {
			if d != "" {
				names[digestName(d)] = true
			}
		}
	}
	return names, err
}

// digestName is what stands for a digest in paths.
func digestName(d oci.Digest) string { return string(d.Algorithm()) + "/" + d.Encoded() }

// tags writes the tags whose manifest was written, and returns all of them.
func (e *exporter) tags(ctx context.Context, p *exportee) (map[string]bool, error) {
	names := make(map[string]bool, len(p.tags))
	for _, t := range p.tags {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		names[string(t.Tag)] = true
		if !e.exists(layout.RevisionPath(p.name, t.Digest)) {
			e.found(true, layout.TagPath(p.name, t.Tag), "the manifest that it names was not written: "+string(t.Digest))
			continue
		}
		if err := e.writeLink(layout.TagIndexPath(p.name, t.Tag, t.Digest), t.Digest); err != nil {
			return nil, err
		}
		if err := e.writeLink(layout.TagPath(p.name, t.Tag), t.Digest); err != nil {
			return nil, err
		}
	}
	e.count(func(c *registry.Transfer) { c.Tags += int64(len(p.tags)) })
	return names, nil
}
