package local

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

func TestRefusedManifestLeavesNothing(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	before := len(keys(t, r.store))
	_, err := r.PutManifest(t.Context(), "team/other", m, registry.PutOptions{})
	if !errors.Is(err, oci.ManifestBlobUnknown) {
		t.Errorf("PutManifest to a repository without the layer: %v", err)
	}
	if after := len(keys(t, r.store)); after != before {
		t.Errorf("%d objects in the store, want %d", after, before)
	}
	err = r.db.View(t.Context(), func(tx *meta.Tx) error { _, err := tx.Repository("team/other"); return err })
	if !errors.Is(err, meta.ErrNotExist) {
		t.Errorf("the repository was made: %v", err)
	}
}

func TestManifestBytesAreNoBlob(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	putManifest(t, r, repo, m, "latest")
	if _, err := r.Blob(t.Context(), repo, m.Digest); !errors.Is(err, oci.BlobUnknown) {
		t.Errorf("Blob of a manifest: %v", err)
	}
	if _, err := r.MountBlob(t.Context(), "team/other", "", m.Digest); !errors.Is(err, oci.BlobUnknown) {
		t.Errorf("MountBlob of a manifest: %v", err)
	}
}

// manyLayers names n blobs of the repository, without bytes.
func manyLayers(t testing.TB, r *Registry, n int) []string {
	layers := make([]string, n)
	err := r.db.Update(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.PutRepository(repo, time.Now())
		for i := range layers {
			layers[i] = fmt.Sprint(i)
			b, err2 := tx.PutBlob(meta.Blob{Digest: digest(layers[i]), Size: int64(len(layers[i])), Key: layers[i]}, "", time.Now())
			err = errors.Join(err, err2, tx.LinkBlob(repo, b, time.Now()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func TestManyLayers(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	layers := manyLayers(t, r, 700)
	m := image(t, r, repo, append(layers, layers...)...)
	putManifest(t, r, repo, m, "latest")
	for _, l := range []string{layers[0], layers[511], layers[512], layers[699]} {
		tags, err := r.Tags(t.Context(), repo, registry.TagQuery{Reaching: digest(l), Limit: 1})
		if err != nil || len(tags) != 1 {
			t.Errorf("tags that reach layer %s: %v, %v", l, tags, err)
		}
	}
	_, err := r.PutManifest(t.Context(), repo, image(t, r, repo, append(layers, "missing")...), registry.PutOptions{})
	if !errors.Is(err, oci.ManifestBlobUnknown) {
		t.Errorf("one layer of many is missing: %v", err)
	}
}
