package local

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"berth/blob/memory"
	"berth/oci"
)

func BenchmarkManifestOfManyLayers(b *testing.B) {
	r := openRegistry(b, memory.New(), openDB(b), Options{})
	m := image(b, r, repo, manyLayers(b, r, oci.MaxDescriptors)...)
	for b.Loop() {
		putManifest(b, r, repo, m, "latest")
		if err := r.DeleteManifest(b.Context(), repo, m.Digest); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPush pushes blobs as docker does: it asks first, and begins, fills and
// ends an upload with a request each.
func BenchmarkPush(b *testing.B) {
	r, _ := onDisk(b, Options{KeptUploads: 100})
	push(b, r, repo, "so that there is a repository")
	var n atomic.Int64
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			content := fmt.Sprint(n.Add(1))
			if _, err := r.Blob(b.Context(), repo, digest(content)); !errors.Is(err, oci.BlobUnknown) {
				b.Fatal(err)
			}
			u := start(b, r, repo)
			suspend(b, u)
			u = resume(b, r, u.ID())
			write(b, u, content)
			suspend(b, u)
			if _, err := resume(b, r, u.ID()).Commit(b.Context(), digest(content)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPull(b *testing.B) {
	r, _ := onDisk(b, Options{})
	push(b, r, repo, strings.Repeat("x", 64<<10))
	m := image(b, r, repo, strings.Repeat("x", 64<<10))
	putManifest(b, r, repo, m, "latest")
	b.Run("manifest", func(b *testing.B) {
		for b.Loop() {
			if _, err := readManifest(r, repo, oci.Reference{Tag: "latest"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("manifest that is not remembered", func(b *testing.B) {
		for b.Loop() {
			r.manifests.holdAll()()
			if _, err := readManifest(r, repo, oci.Reference{Tag: "latest"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("blob", func(b *testing.B) {
		for b.Loop() {
			c, err := r.Blob(b.Context(), repo, m.Layers[0].Digest)
			if err != nil {
				b.Fatal(err)
			}
			rc, err := c.Open(b.Context(), 0, -1)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				b.Fatal(err)
			}
			c.Close()
		}
	})
}
