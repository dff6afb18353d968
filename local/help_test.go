package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/blob"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

const repo oci.Name = "team/app"

var mine = registry.UploadOptions{Owner: "alice"}

func digest(s string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(s)) }

// push pushes s as a blob.
func push(t testing.TB, r *Registry, repo oci.Name, s string) oci.Digest {
	t.Helper()
	u := start(t, r, repo)
	write(t, u, s)
	d, err := u.Commit(t.Context(), digest(s))
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

func start(t testing.TB, r *Registry, repo oci.Name) registry.Upload {
	t.Helper()
	u, err := r.StartUpload(t.Context(), repo, mine)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func resume(t testing.TB, r *Registry, id string) registry.Upload {
	t.Helper()
	u, err := r.ResumeUpload(t.Context(), repo, id, mine)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func write(t testing.TB, u registry.Upload, s string) {
	t.Helper()
	if n, err := io.WriteString(u, s); n != len(s) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

func suspend(t testing.TB, u registry.Upload) {
	t.Helper()
	if err := u.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// read returns what r serves, and the error of any step of it.
func read(r *Registry, repo oci.Name, d oci.Digest, off, n int64) (string, error) {
	c, err := r.Blob(context.Background(), repo, d)
	if err != nil {
		return "", err
	}
	rc, err := c.Open(context.Background(), off, n)
	if err != nil {
		return "", errors.Join(err, c.Close())
	}
	b, err := io.ReadAll(rc)
	return string(b), errors.Join(err, rc.Close(), c.Close())
}

func wantBlob(t testing.TB, r *Registry, repo oci.Name, s string) {
	t.Helper()
	if got, err := read(r, repo, digest(s), 0, -1); err != nil || got != s {
		t.Errorf("blob of %d bytes: got %d bytes, %v", len(s), len(got), err)
	}
}

// image returns a manifest of layers that were pushed to repo, and pushes its
// config.
func image(t testing.TB, r *Registry, repo oci.Name, layers ...string) registry.ManifestContent {
	t.Helper()
	push(t, r, repo, "{}")
	list := make([]string, 0, len(layers))
	for _, l := range layers {
		list = append(list, fmt.Sprintf(`{"mediaType":"l","digest":%q,"size":%d}`, digest(l), len(l)))
	}
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"c","digest":%q,"size":2},"layers":[%s]}`,
		oci.MediaTypeManifest, digest("{}"), strings.Join(list, ","))
	m, err := oci.ParseManifest("", data)
	if err != nil {
		t.Fatal(err)
	}
	return registry.ManifestContent{Manifest: m, Digest: oci.DigestOf(oci.SHA256, data), Bytes: data}
}

func putManifest(t testing.TB, r *Registry, repo oci.Name, m registry.ManifestContent, tags ...oci.Tag) {
	t.Helper()
	if _, err := r.PutManifest(t.Context(), repo, m, registry.PutOptions{Tags: tags}); err != nil {
		t.Fatal(err)
	}
}

// readManifest returns what r serves.
func readManifest(r *Registry, repo oci.Name, ref oci.Reference) ([]byte, error) {
	c, err := r.Manifest(context.Background(), repo, ref)
	if err != nil {
		return nil, err
	}
	rc, err := c.Open(context.Background(), 0, -1)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(rc)
}

// keys returns what is in the store, but for the mark.
func keys(t testing.TB, s blob.Store) []string {
	t.Helper()
	var list []string
	err := s.List(t.Context(), "", func(e blob.Entry) bool {
		if e.Key != instanceKey {
			list = append(list, e.Key)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// row returns where the bytes of a digest are.
func row(t testing.TB, r *Registry, d oci.Digest) meta.Blob {
	t.Helper()
	var b meta.Blob
	err := r.db.View(t.Context(), func(tx *meta.Tx) (err error) {
		b, err = tx.Blob(d)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// onDisk is a registry on disk, and its folder.
func onDisk(t testing.TB, o Options) (*Registry, string) {
	t.Helper()
	dir := t.TempDir()
	return openRegistry(t, openDisk(t, dir), openDB(t), o), dir
}

// damage rewrites the file of a blob.
func damage(t testing.TB, r *Registry, dir string, d oci.Digest, change func([]byte) []byte) {
	t.Helper()
	path := filepath.Join(dir, row(t, r, d).Key)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = change(bytes.Clone(data))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if data == nil {
		return
	}
	if err := os.WriteFile(path, data, 0o400); err != nil {
		t.Fatal(err)
	}
}
