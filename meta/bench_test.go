package meta

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"berth/oci"
)

// BenchmarkPush measures the names of an image with two layers: three updates,
// of 16 clients at once.
func BenchmarkPush(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) { pushes(b, openSQLiteFor(b)) })
	b.Run("postgres", func(b *testing.B) {
		s := shared.Server(b)
		url := s.URL(s.Database(b))
		pushes(b, openPostgresFor(b, url))
	})
	b.Run("postgres of two nodes", func(b *testing.B) {
		s := shared.Server(b)
		url := s.URL(s.Database(b))
		pushes(b, openPostgresFor(b, url), openPostgresFor(b, url))
	})
}

// BenchmarkLookup measures one question of one client.
func BenchmarkLookup(b *testing.B) {
	look := func(b *testing.B, db *DB) {
		if err := push(db.Update, 1); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			err := db.Lookup(context.Background(), func(tx *Tx) error {
				_, err := tx.TaggedManifest("team/app1", "t1")
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("sqlite", func(b *testing.B) { look(b, openSQLiteFor(b)) })
	b.Run("postgres", func(b *testing.B) {
		s := shared.Server(b)
		look(b, openPostgresFor(b, s.URL(s.Database(b))))
	})
}

func openSQLiteFor(b *testing.B) *DB {
	db, err := OpenSQLite(context.Background(), b.TempDir()+"/berth.db", Options{})
	return benched(b, db, err)
}

func openPostgresFor(b *testing.B, url string) *DB {
	db, err := OpenPostgres(context.Background(), PostgresOptions{URL: url})
	return benched(b, db, err)
}

func benched(b *testing.B, db *DB, err error) *DB {
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}

func pushes(b *testing.B, nodes ...*DB) {
	var n, commits atomic.Int64
	b.SetParallelism(8) // times two processors
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			i := n.Add(1)
			if err := push(nodes[int(i)%len(nodes)].Update, i); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for _, db := range nodes {
		commits.Add(db.Stats().Commits)
	}
	b.ReportMetric(float64(commits.Load())/float64(b.N), "commits/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pushes/s")
}

// push writes the names of an image into one of ten repositories.
func push(update func(context.Context, func(*Tx) error) error, i int64) error {
	repo := oci.Name(fmt.Sprintf("team/app%d", i%10))
	layers := []oci.Digest{digest(fmt.Sprint("layer", i)), digest(fmt.Sprint("layer", i/10))}
	for n, d := range layers {
		err := update(context.Background(), func(tx *Tx) error {
			b, err := tx.PutBlob(Blob{Digest: d, Size: 5, Key: fmt.Sprint(i, "-", n)}, "", day)
			return errors.Join(err, tx.LinkBlob(repo, b, day))
		})
		if err != nil {
			return err
		}
	}
	m := digest(fmt.Sprint("manifest", i))
	return update(context.Background(), func(tx *Tx) error {
		sizes, err := tx.BlobSizes(repo, layers)
		if err == nil && len(sizes) != len(layers) {
			err = errors.New("a layer is missing")
		}
		if err != nil {
			return err
		}
		id, err := tx.PutRepository(repo, day)
		if err != nil {
			return err
		}
		b, err := tx.PutBlob(Blob{Digest: m, Size: 5, Key: fmt.Sprint(i)}, "", day)
		return errors.Join(err,
			tx.PutManifest(id, Manifest{Digest: m, Size: 5, Blob: b}, []Child{{layers[0], KindLayer}, {layers[1], KindLayer}}, day),
			tx.PutTag(id, oci.Tag(fmt.Sprint("t", i)), m, day))
	})
}
