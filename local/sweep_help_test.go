package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// turning is a clock that the test turns. It begins now, as the blobs in memory are dated by
// the machine's.
type turning struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *turning { return &turning{now: time.Now()} }

func (c *turning) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *turning) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// hours is what the stories count in. The grace is 24 of them, and a lease lasts
// for 30.
func (c *turning) hours(n int) { c.turn(time.Duration(n) * time.Hour) }

func swept(t testing.TB) (*Registry, *turning) {
	t.Helper()
	c := newClock()
	return openRegistry(t, memory.New(), openDB(t), Options{Now: c.Now}), c
}

func sweepWith(t testing.TB, r *Registry, o SweepOptions) registry.SweepReport {
	t.Helper()
	report, err := r.Sweep(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func wantGone(t testing.TB, r *Registry, repo oci.Name, contents ...string) {
	t.Helper()
	for _, s := range contents {
		if got, err := read(r, repo, digest(s), 0, -1); !errors.Is(err, oci.BlobUnknown) && !errors.Is(err, oci.NameUnknown) {
			t.Errorf("blob %q: got %q, %v", s, got, err)
		}
	}
}

func wantPulled(t testing.TB, r *Registry, repo oci.Name, refs ...string) {
	t.Helper()
	for _, ref := range refs {
		if _, err := readManifest(r, repo, reference(ref)); err != nil {
			t.Errorf("manifest %s: %v", ref, err)
		}
	}
}

func wantNotPulled(t testing.TB, r *Registry, repo oci.Name, refs ...string) {
	t.Helper()
	for _, ref := range refs {
		if _, err := readManifest(r, repo, reference(ref)); !errors.Is(err, oci.ManifestUnknown) && !errors.Is(err, oci.NameUnknown) {
			t.Errorf("manifest %s: %v", ref, err)
		}
	}
}

func reference(s string) oci.Reference {
	if strings.Contains(s, ":") {
		return oci.Reference{Digest: oci.Digest(s)}
	}
	return oci.Reference{Tag: oci.Tag(s)}
}

// index returns an index of manifests that are in the repository, with a subject
// unless that is nil.
func index(t testing.TB, subject *registry.ManifestContent, children ...registry.ManifestContent) registry.ManifestContent {
	t.Helper()
	describe := func(m registry.ManifestContent) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, m.MediaType, m.Digest, len(m.Bytes))
	}
	list := make([]string, 0, len(children))
	for _, c := range children {
		list = append(list, describe(c))
	}
	extra := ""
	if subject != nil {
		extra = `,"subject":` + describe(*subject)
	}
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]%s}`, oci.MediaTypeIndex, strings.Join(list, ","), extra)
	m, err := oci.ParseManifest("", data)
	if err != nil {
		t.Fatal(err)
	}
	return registry.ManifestContent{Manifest: m, Digest: oci.DigestOf(oci.SHA256, data), Bytes: data}
}

// noted returns the keys whose bytes have still to go.
func noted(t testing.TB, r *Registry) (list []string) {
	t.Helper()
	err := r.db.View(t.Context(), func(tx *meta.Tx) error {
		objects, err := tx.DeletedObjects("", r.o.Now(), 1000)
		for _, o := range objects {
			list = append(list, o.Key)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// namedKeys returns the keys of the blobs that the database has.
func namedKeys(t testing.TB, r *Registry, contents ...string) []string {
	t.Helper()
	var list []string
	for _, s := range contents {
		list = append(list, row(t, r, digest(s)).Key)
	}
	slices.Sort(list)
	return list
}

// put stores an object that no row names.
func put(t testing.TB, s blob.Store, key string) {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err == nil {
		_, err = w.Write([]byte("?"))
	}
	if err == nil {
		_, err = w.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestSweepOnPostgres tells some of the stories again.
func TestSweepOnPostgres(t *testing.T) {
	s := sharedPostgres.Server(t)
	tables := s.Database(t)
	if err := openPostgres(t, s.URL(tables)).Close(); err != nil {
		t.Fatal(err)
	}
	for name, story := range map[string]func(*testing.T, *Registry, *turning){
		"garbage": storyOfGarbage, "dry run": storyOfADryRun, "unknown objects": storyOfUnknownObjects, "untagged": storyOfUntagged,
		"a large repository": func(t *testing.T, r *Registry, _ *turning) {
			fill(t, r)
			if err := r.DeleteRepository(t.Context(), repo); err != nil {
				t.Fatal(err)
			}
			wantGone(t, r, repo, "l", "l1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			story(t, openRegistry(t, memory.New(), openPostgres(t, s.URL(s.Copy(t, tables))), Options{Now: c.Now}), c)
		})
	}
}
