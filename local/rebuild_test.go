package local

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

const lostFound oci.Name = "lost-and-found"

func mustRebuild(t *testing.T, r *Registry) RebuildReport {
	t.Helper()
	report, err := r.Rebuild(t.Context(), RebuildOptions{Into: lostFound})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// emptied returns a registry on the store of r, and a database in which nothing is.
func emptied(t *testing.T, r *Registry) *Registry {
	t.Helper()
	db := openDB(t)
	err := db.Update(t.Context(), func(tx *meta.Tx) error { return MarkNew(t.Context(), r.store, tx, r.o.Now()) })
	if err != nil {
		t.Fatal(err)
	}
	return openRegistry(t, r.store, db, Options{Now: r.o.Now})
}

// TestRebuildFromBytesAlone: what was pushed can be pulled by its digest, and the
// sweep leaves it where it is.
func TestRebuildFromBytesAlone(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "layer"+large)
	m := image(t, r, repo, "layer"+large)
	putManifest(t, r, repo, m, "v1")
	both := index(t, nil, m)
	putManifest(t, r, repo, both, "all")
	push(t, r, "other", "of no manifest")
	broken := image(t, r, repo, "layer"+large, "gone")
	w, err := r.store.Create(t.Context(), "blobs/ff/of-a-manifest-whose-layer-is-gone")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(broken.Bytes); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	half, err := r.store.Create(t.Context(), "blobs/fe/half")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(half, "half"); err != nil {
		t.Fatal(err)
	}
	if _, err := half.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}

	lost := emptied(t, r)
	report := mustRebuild(t, lost)
	want := RebuildReport{
		Into: lostFound, Objects: 7, Unnamed: 6, Blobs: 6, Manifests: 2, Bytes: report.Bytes,
		Incomplete: []IncompleteManifest{{broken.Digest, []oci.Digest{digest("gone")}}},
	}
	if diff := cmp.Diff(want, report); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	check := func() {
		t.Helper()
		wantBlob(t, lost, lostFound, "layer"+large)
		for _, m := range []registry.ManifestContent{m, both} {
			if got, err := readManifest(lost, lostFound, oci.Reference{Digest: m.Digest}); err != nil || string(got) != string(m.Bytes) {
				t.Errorf("manifest: %q, %v", got, err)
			}
		}
		wantGone(t, lost, lostFound, string(m.Bytes))
	}
	check()
	wantBlob(t, lost, lostFound, "of no manifest")
	if again := mustRebuild(t, lost); again.Unnamed != 0 || again.Blobs != 0 {
		t.Errorf("done again: %+v", again)
	}
	c.hours(100)
	sweepWith(t, lost, SweepOptions{Aside: time.Nanosecond})
	c.hours(100)
	sweepWith(t, lost, SweepOptions{Aside: time.Nanosecond})
	check()
	// Whoever pushes it again may push the manifest, whose layers he mounts.
	if _, err := lost.MountBlob(t.Context(), repo, lostFound, digest("layer"+large)); err != nil {
		t.Error(err)
	}
}

// TestRebuildAfterARestore adds to what is there, gives whole bytes to what is
// damaged, and can be interrupted.
func TestRebuildAfterARestore(t *testing.T) {
	r, dir := onDisk(t, Options{})
	push(t, r, repo, "kept")
	push(t, r, repo, "damaged"+large)
	db := r.db
	for _, s := range []string{"a", "b", "c", "damaged" + large} {
		key, err := r.newKey()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.storeBytes(t.Context(), key, []byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	damage(t, r, dir, digest("damaged"+large), damages["flipped middle"])
	ctx, stop := context.WithCancel(t.Context())
	if _, err := r.Rebuild(ctx, RebuildOptions{Into: lostFound, Progress: func(p RebuildReport) {
		if p.Blobs == 2 {
			stop()
		}
	}}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	stop()
	r = openRegistry(t, r.store, db, Options{})
	mustRebuild(t, r)
	for _, s := range []string{"a", "b", "c"} {
		wantBlob(t, r, lostFound, s)
	}
	wantBlob(t, r, repo, "kept")
	wantBlob(t, r, repo, "damaged"+large)
	wantGone(t, r, lostFound, "kept", "damaged"+large)
}

func TestMarkNew(t *testing.T) {
	r, _ := swept(t)
	mark := func(tx *meta.Tx) error { return MarkNew(t.Context(), r.store, tx, time.Now()) }
	if err := r.db.Update(t.Context(), mark); err != nil {
		t.Errorf("a database in use: %v", err)
	}
	if s, err := r.lastRestore(t.Context()); err != nil || s.Epoch != 0 {
		t.Errorf("it was touched: %+v, %v", s, err)
	}
	r.store = memory.New()
	if err := openDB(t).Update(t.Context(), mark); !errors.Is(err, ErrInstance) {
		t.Errorf("a store that is new: %v", err)
	}
}
