package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"berth/blob"
	"berth/blob/disk"
	"berth/blob/memory"
	"berth/meta"
	"berth/registry"
	"berth/registry/registrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRegistryInMemory(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 2})
	})
}

func TestRegistryOnDisk(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, openDisk(t, t.TempDir()), openDB(t), Options{})
	})
}

func TestRegistryThatKeepsUploads(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, openDisk(t, t.TempDir()), openDB(t), Options{KeptUploads: 100})
	})
}

func openDisk(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// emptyDatabase returns the file of a database whose tables are made: that takes
// longer than most tests.
var emptyDatabase = sync.OnceValues(func() (data []byte, err error) {
	dir, err := os.MkdirTemp("", "berth-local")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "berth.db")
	db, err := meta.OpenSQLite(context.Background(), path, meta.Options{})
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func openDB(t testing.TB) *meta.DB { return openDBIn(t, t.TempDir()) }

func openDBIn(t testing.TB, dir string) *meta.DB {
	t.Helper()
	data, err := emptyDatabase()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "berth.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := meta.OpenSQLite(t.Context(), path, meta.Options{})
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

func openRegistry(t testing.TB, s blob.Store, db *meta.DB, o Options) *Registry {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := Open(t.Context(), s, db, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
