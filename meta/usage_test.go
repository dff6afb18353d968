package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"berth/oci"
	"berth/registry"
)

// wantUsage compares the totals of a repository with what is wanted, and with
// what there is.
func wantUsage(t *testing.T, db *DB, repo oci.Name, bytes, tags int64) {
	t.Helper()
	mustView(t, db, func(tx *Tx) error {
		got, err := tx.RepositoryUsage(repo)
		if err != nil {
			return err
		}
		if want := (registry.Usage{Repositories: 1, Bytes: bytes, Tags: tags}); got != want {
			t.Errorf("%s holds %+v, want %+v", repo, got, want)
		}
		counted, err := tx.CountUsage(repo)
		if counted != got {
			t.Errorf("%s: the totals are %+v, counted are %+v", repo, got, counted)
		}
		return err
	})
}

// TestUsageFollowsWhatIsWritten goes through every way in which a repository
// comes to hold more or less.
func TestUsageFollowsWhatIsWritten(t *testing.T) { onEach(t, testUsageFollowsWhatIsWritten) }

func testUsageFollowsWhatIsWritten(t *testing.T, db *DB) {
	var blob Blob
	link := func(repo oci.Name, d string, size int64) {
		mustUpdate(t, db, func(tx *Tx) (err error) {
			if blob, err = tx.PutBlob(Blob{Digest: digest(d), Size: size, Key: d}, "", day); err != nil {
				return err
			}
			return tx.LinkBlob(repo, blob, day)
		})
	}
	link("a", "layer", 100)
	link("a", "layer", 100) // again: counted once
	link("b", "layer", 100) // mounted: counted in both
	wantUsage(t, db, "a", 100, 0)
	wantUsage(t, db, "b", 100, 0)
	id := putManifest(t, db, "a", "manifest", Manifest{})
	putManifest(t, db, "a", "manifest", Manifest{})
	wantUsage(t, db, "a", 108, 0)
	mustUpdate(t, db, func(tx *Tx) error {
		return errors.Join(tx.PutTag(id, "v1", digest("manifest"), day), tx.PutTag(id, "v1", digest("manifest"), day), tx.PutTag(id, "v2", digest("manifest"), day))
	})
	wantUsage(t, db, "a", 108, 2)
	mustUpdate(t, db, func(tx *Tx) error { return tx.DeleteTag(id, "v1") })
	wantUsage(t, db, "a", 108, 1)
	mustUpdate(t, db, func(tx *Tx) error {
		_, err := tx.DeleteManifest(id, digest("manifest"))
		return err
	})
	wantUsage(t, db, "a", 100, 0)
	mustUpdate(t, db, func(tx *Tx) error { // whole again, after it had been cut
		_, err := tx.PutBlob(Blob{Digest: digest("layer"), Size: 130, Key: "healed"}, "layer", day)
		return err
	})
	wantUsage(t, db, "a", 130, 0)
	wantUsage(t, db, "b", 130, 0)
	mustUpdate(t, db, func(tx *Tx) error { return tx.UnlinkBlob("a", digest("layer")) })
	wantUsage(t, db, "a", 0, 0)
	link("b/c", "other", 7)
	mustUpdate(t, db, func(tx *Tx) error { return tx.DeleteRepository("b") })
	mustView(t, db, func(tx *Tx) error {
		list, err := tx.RepositoryUsages(RepositoryRange{Limit: 10})
		want := []registry.RepositoryUsage{{Name: "a", Created: day}, {Name: "b/c", Created: day, Bytes: 7}}
		if d := cmp.Diff(want, list); d != "" {
			t.Error(d)
		}
		return err
	})
}

func TestUsageOfASpan(t *testing.T) { onEach(t, testUsageOfASpan) }

func testUsageOfASpan(t *testing.T, db *DB) {
	for i, repo := range []oci.Name{"team", "team-x", "team/a", "team/b/c", "teams", "x"} {
		mustUpdate(t, db, func(tx *Tx) error {
			b, err := tx.PutBlob(Blob{Digest: digest(string(repo)), Size: 1 << i, Key: string(repo)}, "", day)
			if err != nil {
				return err
			}
			return tx.LinkBlob(repo, b, day)
		})
	}
	for _, tt := range []struct {
		span                registry.Span
		repositories, bytes int64
	}{
		{registry.Span{}, 6, 63},
		{registry.Span{From: "team/", To: "team0"}, 2, 4 + 8},
		{registry.Span{From: "team", To: "team\x00"}, 1, 1},
		{registry.Span{From: "y", To: "z"}, 0, 0},
	} {
		mustView(t, db, func(tx *Tx) error {
			got, err := tx.Usage(tt.span)
			if want := (registry.Usage{Repositories: tt.repositories, Bytes: tt.bytes}); got != want {
				t.Errorf("%+v holds %+v, want %+v", tt.span, got, want)
			}
			return err
		})
	}
}

// TestUsageIsCountedWhenTheTablesAreMade begins with databases of before.
func TestUsageIsCountedWhenTheTablesAreMade(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "berth.db")
		if err := createFile(path); err != nil {
			t.Fatal(err)
		}
		pool, err := openPool(path, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		writeBefore(t, pool, goose.DialectSQLite3, "sqlite")
		db, err := OpenSQLite(t.Context(), path, Options{})
		wantCounted(t, closedAfter(t, db, err))
	})
	t.Run("postgres", func(t *testing.T) {
		s := shared.Server(t)
		url := s.URL(s.Database(t))
		pool, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		writeBefore(t, pool, goose.DialectPostgres, "postgres")
		wantCounted(t, openURL(t, url))
	})
}

// writeBefore makes the tables of the version before there were totals, writes to
// them, and closes the pool.
func writeBefore(t *testing.T, pool *sql.DB, d goose.Dialect, folder string) {
	t.Helper()
	defer pool.Close()
	dir, err := fs.Sub(migrations, "migrations/"+folder)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(d, pool, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`INSERT INTO repositories (id, name, manifests, created) VALUES (1, 'a', 1, 0), (2, 'empty', 0, 0)`,
		`INSERT INTO blobs (id, digest, size, object_key, stamp, created) VALUES (1, 'd', 100, 'k', '', 0), (2, 'm', 8, 'l', '', 0)`,
		`INSERT INTO repository_blobs (blob_id, repository, created) VALUES (1, 'a', 0)`,
		`INSERT INTO manifests (repository_id, digest, blob_id, media_type, artifact_type, size, created) VALUES (1, 'm', 2, '', '', 8, 0)`,
		`INSERT INTO tags (repository_id, name, digest, updated) VALUES (1, 'v1', 'm', 0)`,
	} {
		if _, err := pool.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

func wantCounted(t *testing.T, db *DB) {
	t.Helper()
	wantUsage(t, db, "a", 108, 1)
	wantUsage(t, db, "empty", 0, 0)
}

func TestSetUsageMends(t *testing.T) {
	db := open(t)
	putManifest(t, db, "a", "manifest", Manifest{})
	for _, statement := range []string{`UPDATE repository_usage SET bytes = 1`, `DELETE FROM repository_usage`} {
		mustUpdate(t, db, func(tx *Tx) error {
			if _, err := tx.exec("break", statement); err != nil {
				return err
			}
			u, err := tx.CountUsage("a")
			if err != nil {
				return err
			}
			return tx.SetUsage("a", u)
		})
		wantUsage(t, db, "a", 8, 0)
	}
}

// BenchmarkUsage sums what many repositories hold.
func BenchmarkUsage(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			db, err := OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "berth.db"), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			err = db.Update(b.Context(), func(tx *Tx) error {
				for i := range n {
					if _, err := tx.PutRepository(oci.Name(fmt.Sprintf("team/%d", i)), day); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				err := db.View(context.Background(), func(tx *Tx) error {
					_, err := tx.Usage(registry.Span{From: "team/", To: "team0"})
					return err
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
