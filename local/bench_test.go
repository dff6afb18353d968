package local

import (
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

func BenchmarkPush(b *testing.B) {
	r, _ := onDisk(b, Options{})
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			push(b, r, repo, fmt.Sprint(n.Add(1)))
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
