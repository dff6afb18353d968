package local

import (
	"fmt"
	"testing"
	"time"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
)

const (
	benchLayers = 8   // of a manifest, half of which others have as well
	benchRepos  = 100 // manifests of a repository
	benchBatch  = 500 // manifests written in a transaction
)

// BenchmarkSweep sweeps registries of which nothing is garbage: the time of a
// manifest must not depend on how many there are.
func BenchmarkSweep(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("%d manifests", n), func(b *testing.B) {
			c := newClock()
			r := openRegistry(b, memory.New(), openDB(b), Options{Now: c.Now})
			populate(b, r, n)
			c.hours(1000)
			age := time.Hour
			rule := RetentionRule{Repository: anyRepo, Tag: anyTag, Keep: 1000, Untagged: &age}
			for _, rules := range [][]RetentionRule{nil, {rule}} {
				b.Run(fmt.Sprintf("%d rules", len(rules)), func(b *testing.B) {
					for b.Loop() {
						if got := sweepWith(b, r, SweepOptions{Retention: rules}); got.Links+got.Manifests > 0 {
							b.Fatalf("%+v", got)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/manifest")
				})
			}
		})
	}
}

// populate writes the names of n manifests, each with a tag.
func populate(b *testing.B, r *Registry, n int) {
	b.Helper()
	now := r.o.Now()
	for first := 0; first < n; first += benchBatch {
		err := r.db.Update(b.Context(), func(tx *meta.Tx) error {
			for i := first; i < min(first+benchBatch, n); i++ {
				if err := populateOne(tx, i, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func populateOne(tx *meta.Tx, i int, now time.Time) error {
	repo := oci.Name(fmt.Sprintf("team%d/app", i/benchRepos))
	id, err := tx.PutRepository(repo, now)
	if err != nil {
		return err
	}
	put := func(s string) (meta.Blob, error) {
		return tx.PutBlob(meta.Blob{Digest: digest(s), Size: 1, Key: "blobs/00/" + digest(s).Encoded()}, "", now)
	}
	var children []meta.Child
	for l := range benchLayers {
		s := fmt.Sprintf("layer %d of %d", l, i)
		if l%2 == 0 {
			s = fmt.Sprintf("layer %d of %s", l, repo)
		}
		layer, err := put(s)
		if err == nil {
			err = tx.LinkBlob(repo, layer, now)
		}
		if err != nil {
			return err
		}
		children = append(children, meta.Child{Digest: layer.Digest, Kind: meta.KindLayer})
	}
	m := meta.Manifest{MediaType: "m", Size: 1}
	if m.Blob, err = put(fmt.Sprint("manifest ", i)); err != nil {
		return err
	}
	m.Digest = m.Blob.Digest
	if err := tx.PutManifest(id, m, children, now); err != nil {
		return err
	}
	return tx.PutTag(id, oci.Tag(fmt.Sprint("v", i)), m.Digest, now)
}
