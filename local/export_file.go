package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// blob writes the bytes of a blob, if they are not there, and returns the digest
// that they stand under; "" when they are left out.
func (e *exporter) blob(ctx context.Context, b meta.Blob) (oci.Digest, error) {
	canonical, copied, err := e.placeBlob(ctx, b)
	if errors.Is(err, errDamaged) {
		// It may have been deleted, or pushed again, since it was read.
		var now meta.Blob
		lookErr := e.r.db.Lookup(ctx, func(tx *meta.Tx) error {
			now, err = tx.Blob(b.Digest)
			return err
		})
		switch {
		case errors.Is(lookErr, meta.ErrNotExist):
			return "", nil
		case lookErr != nil:
			return "", lookErr
		case now.Key != b.Key:
			canonical, copied, err = e.placeBlob(ctx, now)
		default:
			err = errDamaged
		}
	}
	if errors.Is(err, errDamaged) {
		e.found(true, layout.BlobPath(b.Digest), "the registry's own bytes are missing or damaged: push it again")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	e.count(func(t *registry.Transfer) {
		t.Blobs++
		t.Bytes += b.Size
		if copied {
			t.Copied++
		}
	})
	return canonical, nil
}

// placeBlob makes sure that the bytes are where they belong. Errors: errDamaged.
func (e *exporter) placeBlob(ctx context.Context, b meta.Blob) (canonical oci.Digest, copied bool, err error) {
	if b.Digest.Algorithm() == oci.SHA256 {
		target := layout.BlobPath(b.Digest)
		if info, err := e.dir.Lstat(target); err == nil && info.Mode().IsRegular() && info.Size() == b.Size {
			return b.Digest, false, nil
		}
		return b.Digest, true, e.copyBlob(ctx, b, func() string { return target }, nil)
	}
	// Distribution keeps all bytes under their SHA-256, which has to be found.
	h := sha256.New()
	place := func() string {
		canonical = oci.SumDigest(oci.SHA256, h)
		return layout.BlobPath(canonical)
	}
	err = e.copyBlob(ctx, b, place, h)
	return canonical, true, err
}

// copyBlob writes the bytes to the path that place names when all of them have
// gone to also, which may be nil. Errors: errDamaged.
func (e *exporter) copyBlob(ctx context.Context, b meta.Blob, place func() string, also io.Writer) (err error) {
	c, err := e.r.openBlob(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	part := layout.BlobPath(b.Digest) + ".tmp"
	return e.writeFile(part, place, func(f *os.File) error {
		if source, ok := c.File(); ok && also == nil {
			_, err := io.Copy(f, source)
			return errors.Join(err, f.Sync())
		}
		rc, err := c.Open(ctx, 0, -1)
		if err != nil {
			return err
		}
		defer rc.Close()
		var w io.Writer = f
		if also != nil {
			w = io.MultiWriter(f, also)
		}
		_, err = io.Copy(w, rc)
		return errors.Join(err, f.Sync())
	})
}

// writeFile fills a file at the path part, and gives it the name that place
// returns. A file that an earlier export has left at part is replaced.
func (e *exporter) writeFile(part string, place func() string, fill func(*os.File) error) error {
	if err := e.dir.MkdirAll(path.Dir(part), modeExportFolder); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	f, err := e.dir.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, modeExportFile)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	err = errors.Join(fill(f), f.Close())
	if err == nil {
		target := place()
		if err = e.dir.MkdirAll(path.Dir(target), modeExportFolder); err == nil {
			err = e.dir.Rename(part, target)
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export %s: %w", part, err), e.dir.Remove(part))
	}
	return nil
}

// writeLink writes a link, unless it is there. One at a time: bytes that have two
// digests in a repository are two blobs with the same link.
func (e *exporter) writeLink(target string, d oci.Digest) error {
	e.linking.Lock()
	defer e.linking.Unlock()
	if there, err := e.dir.ReadFile(target); err == nil && bytes.Equal(there, []byte(d)) {
		return nil
	}
	return e.writeFile(target+".tmp", func() string { return target }, func(f *os.File) error {
		_, err := f.WriteString(string(d))
		return err
	})
}

func (e *exporter) exists(name string) bool {
	_, err := e.dir.Lstat(name)
	return err == nil
}

// staleTags finds the tags of the repository that the registry does not have.
func (e *exporter) staleTags(name oci.Name, kept map[string]bool) error {
	folder := layout.TagsFolder(name)
	tags, err := e.folders(folder)
	for _, t := range tags {
		if err == nil && !kept[t] && e.exists(layout.TagPath(name, oci.Tag(t))) {
			err = e.drop(folder + t)
		}
	}
	return err
}

// staleLinks finds the links in a folder that the registry does not have and
// Distribution would follow.
func (e *exporter) staleLinks(folder string, kept map[string]bool) error {
	algorithms, err := e.folders(folder)
	for _, algorithm := range algorithms {
		if err != nil {
			return err
		}
		var encoded []string
		encoded, err = e.folders(folder + algorithm)
		for _, hex := range encoded {
			name := algorithm + "/" + hex
			text, readErr := e.dir.ReadFile(folder + name + "/link")
			if err != nil || kept[name] || readErr != nil {
				continue
			}
			if d, bad := layout.ParseLink(text); bad == nil && e.exists(layout.BlobPath(d)) {
				err = e.drop(folder + name)
			}
		}
	}
	return err
}

// drop removes a name that the registry does not have, or tells of it.
func (e *exporter) drop(name string) error {
	if !e.prune {
		e.found(true, name, "the registry does not have it, and Distribution would serve it: --prune removes it")
		return nil
	}
	if err := e.dir.RemoveAll(name); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

// staleRepositories finds, below the folder, the repositories that the registry
// does not have. Their uploads stay.
func (e *exporter) staleRepositories(ctx context.Context, folder string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := e.folders(layout.Repositories + folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		below := path.Join(folder, name)
		switch {
		case !strings.HasPrefix(name, "_"):
			err = e.staleRepositories(ctx, below)
		case !e.repos[folder] && (name == "_layers" || name == "_manifests"):
			err = e.drop(layout.Repositories + below)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folders returns the names of the folders in a folder, none where it is not
// there.
func (e *exporter) folders(folder string) ([]string, error) {
	entries, err := fs.ReadDir(e.dir.FS(), path.Clean(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at what was exported: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
