package local

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/memory"
	"berth/job"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

func TestSweepRemovesWhatNothingNeeds(t *testing.T) {
	r, c := swept(t)
	storyOfGarbage(t, r, c)
}

func storyOfGarbage(t *testing.T, r *Registry, c *turning) {
	push(t, r, repo, "layer")
	putManifest(t, r, repo, image(t, r, repo, "layer"), "v1")
	push(t, r, repo, "loose")
	push(t, r, "other/app", "layer")
	c.hours(29)
	if got := sweepWith(t, r, SweepOptions{}); got.Links+got.Blobs+got.Deleted != 0 {
		t.Errorf("within the grace: %+v", got)
	}
	wantBlob(t, r, repo, "layer")
	open, err := r.Blob(t.Context(), repo, digest("loose")) // renews the lease
	if err != nil {
		t.Fatal(err)
	}
	c.hours(29)
	sweepWith(t, r, SweepOptions{})
	c.hours(2)
	got := sweepWith(t, r, SweepOptions{})
	want := []registry.SweptRepository{{Name: repo, Blobs: 1, Bytes: 5}}
	if !slices.Equal(got.Repositories, want) || got.Blobs != 1 || got.Bytes != 5 || got.Deleted != 1 {
		t.Errorf("report %+v", got)
	}
	wantGone(t, r, repo, "loose")
	wantGone(t, r, "other/app", "layer") // it was linked there, and another sweep took it
	wantPulled(t, r, repo, "v1")
	wantBlob(t, r, repo, "layer")
	rc, err := open.Open(t.Context(), 0, -1)
	if err != nil {
		t.Errorf("who has it open: %v", err)
	} else {
		rc.Close()
	}
	open.Close()
	push(t, r, repo, "loose")
	wantBlob(t, r, repo, "loose")
}

// TestLease has somebody be told of a blob in each way, and asks whether it stays
// for all of the grace.
func TestLease(t *testing.T) {
	for name, touch := range map[string]func(t *testing.T, r *Registry){
		"read":  func(t *testing.T, r *Registry) { wantBlob(t, r, repo, "b") },
		"push":  func(t *testing.T, r *Registry) { push(t, r, repo, "b") },
		"mount": func(t *testing.T, r *Registry) { mount(t, r, repo, "other/app", "b") },
	} {
		t.Run(name, func(t *testing.T) {
			r, c := swept(t)
			push(t, r, repo, "b")
			push(t, r, "other/app", "b")
			for range 5 {
				c.hours(23)
				if name == "mount" {
					push(t, r, "other/app", "b")
				}
				touch(t, r)
				c.hours(5) // within a quarter of the grace: not written again
				touch(t, r)
				before := r.db.Stats().Updates
				if name == "read" {
					touch(t, r)
					if got := r.db.Stats().Updates - before; got != 0 {
						t.Errorf("a lease that is new was written again: %d updates", got)
					}
				}
				c.turn(24*time.Hour - time.Second)
				sweepWith(t, r, SweepOptions{})
				wantBlob(t, r, repo, "b")
			}
			c.hours(31)
			sweepWith(t, r, SweepOptions{})
			wantGone(t, r, repo, "b")
		})
	}
}

func mount(t testing.TB, r *Registry, repo, from oci.Name, s string) {
	t.Helper()
	if _, err := r.MountBlob(t.Context(), repo, from, digest(s)); err != nil {
		t.Fatal(err)
	}
}

// TestLeaseBeginsWhenTheManifestGoes: who was told of a blob that a manifest named
// then may still name it.
func TestLeaseBeginsWhenTheManifestGoes(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	putManifest(t, r, repo, m)
	c.hours(1000)
	wantBlob(t, r, repo, "layer")
	if err := r.DeleteManifest(t.Context(), repo, m.Digest); err != nil {
		t.Fatal(err)
	}
	c.hours(24)
	sweepWith(t, r, SweepOptions{})
	putManifest(t, r, repo, m, "v1")
	if err := r.DeleteManifest(t.Context(), repo, m.Digest); err != nil {
		t.Fatal(err)
	}
	c.hours(31)
	got := sweepWith(t, r, SweepOptions{})
	if got.Blobs != 3 || got.Emptied != 1 || len(keys(t, r.store)) != 0 {
		t.Errorf("report %+v, left %q", got, keys(t, r.store))
	}
}

// TestAReadGoesOnWithoutALease: the disk of the database may be full.
func TestAReadGoesOnWithoutALease(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "b")
	c.hours(1000)
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	p := meta.BlobPlace{Blob: meta.Blob{Digest: digest("b")}, Linked: true}
	if b, err := r.lease(t.Context(), repo, p, c.Now()); err != nil || !b.until.IsZero() {
		t.Errorf("lease = %v, %v", b, err)
	}
}

func TestSweepUnknownObjects(t *testing.T) {
	r, c := swept(t)
	storyOfUnknownObjects(t, r, c)
}

func storyOfUnknownObjects(t *testing.T, r *Registry, c *turning) {
	u := start(t, r, repo)
	write(t, u, "begun")
	suspend(t, u)
	push(t, r, repo, "b")
	put(t, r.store, "blobs/00/lost")
	put(t, r.store, layout.Blobs+"sha256/00/00/data")
	put(t, r.store, "elsewhere/lost")
	if got := sweepWith(t, r, SweepOptions{}); got.Objects != 4 || got.Unknown != 0 {
		t.Errorf("young: %+v", got)
	}
	c.hours(25)
	if got := sweepWith(t, r, SweepOptions{}); got.Objects != 4 || got.Unknown != 2 || got.UnknownBytes != 2 || got.Expired != 0 {
		t.Errorf("noted: %+v", got)
	}
	if err := r.store.Delete(t.Context(), layout.Blobs+"sha256/00/00/data"); err != nil {
		t.Fatal(err)
	}
	c.hours(7*24 - 1)
	if got := sweepWith(t, r, SweepOptions{}); got.Unknown != 1 || got.Expired != 0 {
		t.Errorf("set aside: %+v", got)
	}
	c.hours(1)
	if got := sweepWith(t, r, SweepOptions{SweepRequest: registry.SweepRequest{DryRun: true}}); got.Expired != 1 || got.Deleted != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	if got := sweepWith(t, r, SweepOptions{}); got.Expired != 1 || got.ExpiredBytes != 1 || got.Deleted != 1 {
		t.Errorf("expired: %+v", got)
	}
	if got := keys(t, r.store); len(got) != 2 || got[1] != "elsewhere/lost" {
		t.Errorf("left: %q", got)
	}
}

// TestWhatWasExportedIntoTheSameStoreStays, as long as the registry has the blob.
func TestWhatWasExportedIntoTheSameStoreStays(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	m := image(t, r, repo, "l")
	putManifest(t, r, repo, m)
	put(t, r.store, layout.BlobPath(digest("l")))
	c.hours(1000)
	o := SweepOptions{Aside: time.Nanosecond}
	if got := sweepWith(t, r, o); got.Objects != 4 || got.Unknown != 0 {
		t.Errorf("report %+v", got)
	}
	if err := r.DeleteManifest(t.Context(), repo, m.Digest); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		c.hours(31)
		sweepWith(t, r, o)
	}
	if got := keys(t, r.store); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestAnUnknownObjectThatGetsAName is not unknown any more, however long it was.
func TestAnUnknownObjectThatGetsAName(t *testing.T) {
	r, c := swept(t)
	u := start(t, r, repo)
	write(t, u, "slow")
	for range 3 {
		c.hours(3 * 24)
		sweepWith(t, r, SweepOptions{Aside: 100 * 24 * time.Hour})
	}
	if _, err := u.Commit(t.Context(), digest("slow")); err != nil {
		t.Fatal(err)
	}
	sweepWith(t, r, SweepOptions{})
	wantBlob(t, r, repo, "slow")

	u = start(t, r, repo)
	write(t, u, "slower")
	key := u.(*upload).row.Key
	c.hours(200)
	if err := r.db.Update(t.Context(), func(tx *meta.Tx) error { return tx.DeleteObject(key, 6, c.Now()) }); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Commit(t.Context(), digest("slower")); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("bytes that have to go got a name: %v", err)
	}
}

func TestTooManyUnknownObjects(t *testing.T) {
	r, c := swept(t)
	for i := range 25 {
		put(t, r.store, fmt.Sprintf("blobs/00/lost%d", i))
	}
	push(t, r, repo, "loose")
	c.hours(31)
	report, err := r.Sweep(t.Context(), SweepOptions{Aside: time.Nanosecond})
	if !errors.Is(err, ErrUnknownObjects) || report.Unknown != 25 {
		t.Fatalf("Sweep = %+v, %v", report, err)
	}
	if got := keys(t, r.store); len(got) != 26 {
		t.Errorf("something was removed: %d left", len(got))
	}
	accept := SweepOptions{Aside: time.Nanosecond, SweepRequest: registry.SweepRequest{AcceptUnknown: true}}
	sweepWith(t, r, accept)
	c.hours(1)
	sweepWith(t, r, accept)
	if got := keys(t, r.store); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

func TestSweepAfterARestore(t *testing.T) {
	r, c := swept(t)
	backup := c.Now()
	put(t, r.store, "blobs/00/after-the-backup")
	c.hours(1)
	if err := markRestore(t, r, backup); err != nil {
		t.Fatal(err)
	}
	c.hours(1000)
	for range 3 {
		if got := sweepWith(t, r, SweepOptions{Aside: time.Nanosecond}); got.Spared != 1 || got.Unknown != 0 {
			t.Errorf("after a restore: %+v", got)
		}
	}
	if err := r.db.Update(t.Context(), func(tx *meta.Tx) error { return tx.PutSetting(restoreSetting, "{}") }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sweep(t.Context(), SweepOptions{}); !errors.Is(err, ErrEpoch) {
		t.Errorf("with the database from before: %v", err)
	}
	if err := markRestore(t, r, backup); err != nil {
		t.Fatal(err)
	}
	sweepWith(t, r, SweepOptions{})
	if s, err := r.lastRestore(t.Context()); err != nil || s.Epoch != 2 {
		t.Errorf("restore %+v, %v", s, err)
	}
	r.store = memory.New()
	if _, err := r.Sweep(t.Context(), SweepOptions{}); !errors.Is(err, ErrInstance) {
		t.Errorf("with another store: %v", err)
	}
}

// deafStore does not delete.
type deafStore struct {
	blob.Store
	deaf bool
}

func (s *deafStore) Delete(ctx context.Context, key string) error {
	if s.deaf {
		return errors.New("no answer")
	}
	return s.Store.Delete(ctx, key)
}

// TestBytesThatCouldNotBeDeleted go with the next sweep: that their row is gone
// already is noted. So it is when the process ends between the two.
func TestBytesThatCouldNotBeDeleted(t *testing.T) {
	c := newClock()
	s := &deafStore{Store: memory.New()}
	r := openRegistry(t, s, openDB(t), Options{Now: c.Now})
	push(t, r, repo, "loose")
	key := namedKeys(t, r, "loose")
	c.hours(31)
	s.deaf = true
	if got := sweepWith(t, r, SweepOptions{}); got.Failed != 1 || got.Deleted != 0 || got.Blobs != 1 {
		t.Errorf("report %+v", got)
	}
	if got := noted(t, r); !slices.Equal(got, key) || !slices.Equal(keys(t, s), key) {
		t.Errorf("noted %q, want %q", got, key)
	}
	push(t, r, repo, "loose") // has another key
	s.deaf = false
	r = openRegistry(t, s, r.db, Options{Now: c.Now})
	if got := sweepWith(t, r, SweepOptions{}); got.Deleted != 1 || len(noted(t, r)) != 0 {
		t.Errorf("report %+v, noted %q", got, noted(t, r))
	}
	wantBlob(t, r, repo, "loose")
}

func TestSweepLingers(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "loose")
	c.hours(31)
	if got := sweepWith(t, r, SweepOptions{Linger: time.Hour}); got.Blobs != 1 || got.Deleted != 0 {
		t.Errorf("while somebody may have an address: %+v", got)
	}
	c.hours(1)
	if got := sweepWith(t, r, SweepOptions{Linger: time.Hour}); got.Deleted != 1 {
		t.Errorf("later: %+v", got)
	}
}

// TestSweepGoesOn interrupts a sweep at each of its steps.
func TestSweepGoesOn(t *testing.T) {
	r, c := swept(t)
	for i := range 3 * sweepBatch {
		push(t, r, repo, fmt.Sprint("loose", i))
	}
	c.hours(31)
	var phases []string
	for i := range 20 {
		ctx, stop := context.WithCancel(t.Context())
		steps := 0
		report, err := r.Sweep(ctx, SweepOptions{Resume: true, Progress: func(p registry.SweepProgress) {
			if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
			if steps++; steps == 2 {
				stop()
			}
		}})
		stop()
		if err == nil {
			if !report.Resumed || report.Blobs != 3*sweepBatch || report.Deleted != 3*sweepBatch {
				t.Errorf("after %d interruptions: %+v", i, report)
			}
			if i < 3 {
				t.Errorf("only %d interruptions", i)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	want := []string{"objects", "retention", "links", "blobs", "unknown", "delete", "repositories"}
	if !slices.Equal(phases, want) {
		t.Errorf("phases %q, want %q", phases, want)
	}
	if got := keys(t, r.store); len(got) != 0 {
		t.Errorf("%d left", len(got))
	}
	if got := sweepWith(t, r, SweepOptions{Resume: true}); got.Resumed {
		t.Error("a sweep that was whole is gone on with")
	}
}

func TestSweepThatWasOvertaken(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "loose")
	c.hours(31)
	s := r.db.Leases()
	old, err := s.Take(t.Context(), job.Request{Name: "gc", Now: c.Now(), TTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take(t.Context(), job.Request{Name: "gc", Now: c.Now().Add(time.Hour), TTL: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Sweep(t.Context(), SweepOptions{Lease: old}); !errors.Is(err, job.ErrLost) {
		t.Errorf("Sweep = %v", err)
	}
	wantBlob(t, r, repo, "loose")
}

func TestADryRunChangesNothingAndTellsTheSame(t *testing.T) {
	r, c := swept(t)
	storyOfADryRun(t, r, c)
}

func storyOfADryRun(t *testing.T, r *Registry, c *turning) {
	age := time.Hour
	rules := []RetentionRule{{Repository: anyRepo, Tag: anyTag, Keep: 1, Untagged: &age}}
	for _, s := range []string{"shared layer", "old layer", "loose"} {
		push(t, r, repo, s)
	}
	push(t, r, "other/app", "loose")
	old := image(t, r, repo, "shared layer", "old layer")
	putManifest(t, r, repo, old)
	c.hours(1)
	putManifest(t, r, repo, image(t, r, repo, "shared layer"), "v1")
	c.hours(1)
	putManifest(t, r, repo, image(t, r, repo, "shared layer", "shared layer"), "v2")
	c.hours(31)
	dry := sweepWith(t, r, SweepOptions{Retention: rules, SweepRequest: registry.SweepRequest{DryRun: true}})
	if len(dry.Removals) != 2 || dry.Removals[0].Tag != "v1" || dry.Removals[1].Digest != old.Digest || dry.Later != int64(len("old layer")) {
		t.Errorf("dry run: %+v", dry)
	}
	var told []registry.Removal
	real := sweepWith(t, r, SweepOptions{Retention: rules, Removed: func(m registry.Removal) { told = append(told, m) }})
	if !slices.Equal(told, dry.Removals) {
		t.Errorf("removed %+v\nforetold %+v", told, dry.Removals)
	}
	for i := range dry.Repositories {
		dry.Repositories[i].Later = 0
	}
	if real.Tags != dry.Tags || real.Manifests != dry.Manifests || real.Links != dry.Links || real.Blobs != dry.Blobs || real.Bytes != dry.Bytes ||
		!slices.Equal(real.Repositories, dry.Repositories) {
		t.Errorf("swept    %+v\nforetold %+v", real, dry)
	}
	c.hours(31)
	if got := sweepWith(t, r, SweepOptions{}); got.Bytes != dry.Later {
		t.Errorf("later: %+v", got)
	}
}
