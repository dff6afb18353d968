package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/blob"
	"berth/blob/disk"
	"berth/blob/memory"
	"berth/blob/s3"
	"berth/meta"
	"berth/registry"
	"berth/registry/registrytest"
	"berth/test/postgres"
	"berth/test/versity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(sharedPostgres.Main(m)) }

// sharedPostgres is the server of all tests that need one.
var sharedPostgres postgres.Shared

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

// TestRegistryInBucket: what is far away has the same rules.
func TestRegistryInBucket(t *testing.T) {
	server := versity.Start(t)
	buckets := 0
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		buckets++
		name := fmt.Sprintf("berth-%d", buckets)
		server.NewBucket(name)
		s, err := s3.Open(t.Context(), s3.Options{
			Bucket: name, Endpoint: server.Endpoint, PathStyle: true, AccessKey: versity.AccessKey, SecretKey: versity.SecretKey,
			Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return openRegistry(t, s, openDB(t), Options{KeptUploads: buckets % 2, URLLifetime: time.Minute})
	})
}

func TestRegistryThatKeepsUploads(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, openDisk(t, t.TempDir()), openDB(t), Options{KeptUploads: 100})
	})
}

func TestRegistryOnPostgres(t *testing.T) {
	s := sharedPostgres.Server(t)
	tables := s.Database(t)
	if err := openPostgres(t, s.URL(tables)).Close(); err != nil {
		t.Fatal(err)
	}
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, memory.New(), openPostgres(t, s.URL(s.Copy(t, tables))), Options{KeptUploads: 2})
	})
}

// TestNodesMarkOneInstance: nodes that are the first to open a store and a
// database, at once, agree on their mark.
func TestNodesMarkOneInstance(t *testing.T) {
	s := sharedPostgres.Server(t)
	url := s.URL(s.Database(t))
	store := memory.New()
	var all sync.WaitGroup
	for range 4 {
		db := openPostgres(t, url)
		all.Go(func() {
			// The store lets one of them make the mark, and the others find it later.
			_, _ = Open(context.Background(), store, db, Options{})
		})
	}
	all.Wait()
	openRegistry(t, store, openPostgres(t, url), Options{})
}

func openPostgres(t testing.TB, url string) *meta.DB {
	t.Helper()
	db, err := meta.OpenPostgres(t.Context(), meta.PostgresOptions{URL: url, MaxConnections: 5})
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
