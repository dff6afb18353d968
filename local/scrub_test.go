package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

func mustScrub(t *testing.T, r *Registry, o ScrubOptions) registry.ScrubReport {
	t.Helper()
	report, err := r.Scrub(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// rot changes the file of a blob and leaves all that is known of the file as it was,
// as a disk does whose bits turn.
func rot(t *testing.T, r *Registry, dir string, d oci.Digest) {
	t.Helper()
	path := filepath.Join(dir, row(t, r, d).Key)
	damage(t, r, dir, d, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	o, err := r.store.Open(t.Context(), row(t, r, d).Key)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := r.restamp(row(t, r, d), o.Info()); err != nil {
		t.Fatal(err, path)
	}
}

// TestScrubFindsDamage finds whatever is not as it was, says who is concerned, and
// takes it out of service, also for who comes later.
func TestScrubFindsDamage(t *testing.T) {
	r, dir := onDisk(t, Options{})
	changes := map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"missing": func([]byte) []byte { return nil },
		"emptied": func([]byte) []byte { return []byte{} },
		"rotten":  nil,
	}
	for name := range changes {
		push(t, r, repo, name+large)
		m := image(t, r, repo, name+large)
		putManifest(t, r, repo, m, oci.Tag(name))
	}
	push(t, r, "other", "rotten"+large)
	manifest := image(t, r, repo, "rotten"+large, "cut"+large)
	putManifest(t, r, repo, manifest, "itself")
	whole := mustScrub(t, r, ScrubOptions{})
	if whole.Damaged != 0 || whole.Blobs != 2*int64(len(changes))+2 {
		t.Fatalf("before: %+v", whole)
	}
	for name, change := range changes {
		if change == nil {
			rot(t, r, dir, digest(name+large))
			continue
		}
		damage(t, r, dir, digest(name+large), change)
	}
	damage(t, r, dir, manifest.Digest, func(b []byte) []byte { b[0] = 'x'; return b })

	var told []registry.Damage
	report := mustScrub(t, r, ScrubOptions{Found: func(d registry.Damage) { told = append(told, d) }})
	if int(report.Damaged) != len(changes)+1 || len(told) != len(changes)+1 || len(report.Damages) != len(told) || report.Healed != 0 {
		t.Fatalf("found: %+v", report)
	}
	for _, d := range report.Damages {
		names := []oci.Name{repo}
		if d.Digest == digest("rotten"+large) {
			names = []oci.Name{"other", repo}
		}
		var at []oci.Name
		for _, p := range d.Places {
			at = append(at, p.Repository)
		}
		if !slices.Equal(at, names) || d.Problem == "" || d.Healed {
			t.Errorf("%+v", d)
		}
		place := d.Places[len(d.Places)-1]
		if d.Digest == manifest.Digest && (!slices.Equal(place.Tags, []oci.Tag{"itself"}) || !slices.Contains(place.Manifests, d.Digest)) {
			t.Errorf("the manifest: %+v", place)
		}
		if d.Digest == digest("missing"+large) && !slices.Equal(place.Tags, []oci.Tag{"missing"}) {
			t.Errorf("the layer: %+v", place)
		}
	}
	later := openRegistry(t, r.store, r.db, Options{}) // who has seen no damage
	for name := range changes {
		wantGone(t, r, repo, name+large)
		if got, err := read(later, repo, digest(name+large), 0, -1); err == nil || len(got) >= len(large) {
			t.Errorf("%s: %d bytes are served after a start, %v", name, len(got), err)
		}
	}
	if _, err := readManifest(r, repo, oci.Reference{Tag: "itself"}); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("the manifest is served: %v", err)
	}
	if still, err := r.StillDamaged(t.Context(), told); err != nil || len(still) != len(told) {
		t.Errorf("still damaged: %d of %d, %v", len(still), len(told), err)
	}
	for name := range changes {
		push(t, r, "healer", name+large)
	}
	putManifest(t, r, repo, manifest, "itself")
	if still, err := r.StillDamaged(t.Context(), told); err != nil || len(still) != 0 {
		t.Errorf("healed, and still damaged: %+v, %v", still, err)
	}
	if report := mustScrub(t, r, ScrubOptions{}); report.Damaged != 0 {
		t.Errorf("healed: %+v", report)
	}
}

// TestScrubHeals from the second of two stores; the first has other bytes.
func TestScrubHeals(t *testing.T) {
	r, dir := onDisk(t, Options{})
	copied, wrong := memory.New(), memory.New()
	for _, s := range []string{"a" + large, "b" + large} {
		d := push(t, r, repo, s)
		put := func(store blob.Store, key, s string) {
			w, err := store.Create(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, s); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		put(copied, row(t, r, d).Key, s)
		put(wrong, row(t, r, d).Key, s+"!")
		damage(t, r, dir, d, damages["flipped middle"])
	}
	only := push(t, r, repo, "nobody has it")
	damage(t, r, dir, only, damages["deleted"])
	report := mustScrub(t, r, ScrubOptions{Sources: []Source{StoreSource{wrong}, StoreSource{copied}}})
	if report.Damaged != 3 || report.Healed != 2 {
		t.Errorf("%+v", report)
	}
	wantBlob(t, r, repo, "a"+large)
	wantBlob(t, r, repo, "b"+large)
	wantGone(t, r, repo, "nobody has it")
	if n := len(keys(t, r.store)); n != 2 {
		t.Errorf("%d objects are left: %q", n, keys(t, r.store))
	}
}

// TestScrubIsInterrupted: it goes on where it was, and knows what it has found.
func TestScrubIsInterrupted(t *testing.T) {
	r, dir := onDisk(t, Options{})
	for i := range 9 {
		d := push(t, r, repo, string(rune('a'+i))+large)
		if i == 2 || i == 7 {
			damage(t, r, dir, d, damages["emptied"])
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	first, err := r.Scrub(ctx, ScrubOptions{Progress: func(p registry.ScrubProgress) {
		if p.Blobs == 5 {
			stop()
		}
	}})
	if !errors.Is(err, context.Canceled) || first.Blobs != 5 || first.Damaged != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	second := mustScrub(t, r, ScrubOptions{})
	if !second.Resumed || second.Blobs != 9 || second.Damaged != 2 || len(second.Damages) != 2 || !second.Began.Equal(first.Began) {
		t.Errorf("%+v", second)
	}
	if third := mustScrub(t, r, ScrubOptions{}); third.Resumed || third.Blobs != 9 {
		t.Errorf("%+v", third)
	}
}

// TestScrubBesideOthers: what is removed or pushed again meanwhile is no damage.
func TestScrubBesideOthers(t *testing.T) {
	r, dir := onDisk(t, Options{})
	gone, healed := push(t, r, repo, "gone"+large), push(t, r, repo, "healed"+large)
	damage(t, r, dir, gone, damages["deleted"])
	damage(t, r, dir, healed, damages["deleted"])
	stale := []meta.Blob{row(t, r, gone), row(t, r, healed)}
	push(t, r, repo, "healed"+large)
	err := r.db.Update(t.Context(), func(tx *meta.Tx) error {
		return errors.Join(tx.UnlinkBlob(repo, gone), tx.RemoveBlob(stale[0].ID, time.Now()))
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &scrub{r: r}
	for _, b := range stale {
		if err := s.look(t.Context(), b); err != nil || s.state.Report.Damaged != 0 {
			t.Errorf("%+v: %v", s.state.Report, err)
		}
	}
	wantBlob(t, r, repo, "healed"+large)
}

func TestPacer(t *testing.T) {
	began := time.Now()
	paced := &pacedReader{ctx: t.Context(), r: bytes.NewReader(make([]byte, 30_000)), pace: &pacer{rate: 100_000}}
	if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, paced, make([]byte, 1000)); n != 30_000 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 5*time.Second {
		t.Errorf("30,000 bytes at 100,000 a second took %v", took)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := (&pacedReader{ctx: ended, r: os.Stdin, pace: new(pacer)}).Read(nil); err == nil {
		t.Error("it goes on after the end")
	}
}
