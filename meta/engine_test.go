package meta

import (
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"berth/registry"
	"berth/test/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Main(m)) }

// shared is the PostgreSQL of the tests that do not disturb it.
var shared postgres.Shared

// onEach runs a test on each of the databases.
func onEach(t *testing.T, test func(*testing.T, *DB)) {
	t.Run("sqlite", func(t *testing.T) { test(t, open(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, openShared(t)) })
}

// open opens an empty SQLite database.
func open(t *testing.T) *DB {
	t.Helper()
	db, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "berth.db"), Options{})
	return closedAfter(t, db, err)
}

// openShared opens an empty PostgreSQL database.
func openShared(t *testing.T) *DB {
	t.Helper()
	s := shared.Server(t)
	return openURL(t, s.URL(s.Copy(t, emptyTables(t))))
}

func openURL(t *testing.T, url string) *DB {
	t.Helper()
	db, err := OpenPostgres(t.Context(), PostgresOptions{URL: url})
	return closedAfter(t, db, err)
}

func closedAfter(t *testing.T, db *DB, err error) *DB {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var template struct {
	once sync.Once
	name string
}

// emptyTables returns the name of a database whose tables are made: to copy it takes
// less time.
func emptyTables(t *testing.T) string {
	t.Helper()
	template.once.Do(func() {
		s := shared.Server(t)
		name := s.Database(t)
		db, err := OpenPostgres(t.Context(), PostgresOptions{URL: s.URL(name)})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		template.name = name
	})
	return template.name
}

// TestAnyBytes: what clients say may be any bytes, on each of the databases.
func TestAnyBytes(t *testing.T) { onEach(t, testAnyBytes) }

func testAnyBytes(t *testing.T, db *DB) {
	const odd = "a\x00\xffb"
	id := putManifest(t, db, "a", "m", Manifest{ArtifactType: odd, Subject: digest("s")})
	mustView(t, db, func(tx *Tx) error {
		list, err := tx.Referrers(id, digest("s"), "", []string{odd}, 10)
		if err != nil || len(list) != 1 {
			t.Errorf("referrers of an odd type: %v, %v", list, err)
		}
		tags, err := tx.Tags(id, registry.TagQuery{After: odd, Limit: 10})
		if err != nil || len(tags) != 0 {
			t.Errorf("tags after odd ones: %v, %v", tags, err)
		}
		return nil
	})
}
