package local

import (
	"log/slog"
	"path/filepath"
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
		return openRegistry(t, memory.New(), openDB(t), Options{})
	})
}

func TestRegistryOnDisk(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, openDisk(t, t.TempDir()), openDB(t), Options{})
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

func openDB(t testing.TB) *meta.DB {
	t.Helper()
	db, err := meta.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "berth.db"), meta.Options{})
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
