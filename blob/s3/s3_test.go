package s3

import (
	"fmt"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"berth/blob"
	"berth/blob/blobtest"
	"berth/test/versity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A site is a store of objects with buckets for tests.
type site struct {
	*versity.Server
	buckets int
}

// options are those of a new bucket.
func (s *site) options() Options {
	s.buckets++
	name := fmt.Sprintf("berth-%d", s.buckets)
	s.NewBucket(name)
	return Options{
		Bucket: name, Endpoint: s.Endpoint, PathStyle: true, AccessKey: versity.AccessKey, SecretKey: versity.SecretKey,
		RootDirectory: "/some/where/", Log: slog.New(slog.DiscardHandler),
	}
}

func newSite(t *testing.T) *site { return &site{Server: versity.Start(t)} }

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	site := newSite(t)
	blobtest.Run(t, func(t *testing.T) blob.Store { return openStore(t, site.options()) })
}
