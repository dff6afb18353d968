package meta

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"berth/job"
)

// TestLeases is a story of two nodes.
func TestLeases(t *testing.T) { onEach(t, testLeases) }

func testLeases(t *testing.T, db *DB) {
	s, ctx := db.Leases(), t.Context()
	take := func(holder string, at time.Duration, every time.Duration) (job.Lease, error) {
		r := job.Request{Name: "gc", Holder: holder, Now: day.Add(at), TTL: time.Minute}
		if every > 0 {
			r.Done, r.Tried = r.Now.Add(-every), r.Now.Add(-every/24)
		}
		return s.Take(ctx, r)
	}
	a, err := take("a", 0, 24*time.Hour)
	if err != nil || a.Fence != 1 {
		t.Fatalf("the first = %v, %v", a, err)
	}
	if _, err := take("b", 59*time.Second, 0); !errors.Is(err, job.ErrHeld) {
		t.Errorf("while a has it: %v", err)
	}
	if err := s.Renew(ctx, a, day.Add(2*time.Minute)); err != nil {
		t.Error(err)
	}
	if _, err := take("b", 90*time.Second, 0); !errors.Is(err, job.ErrHeld) {
		t.Errorf("after a renewed: %v", err)
	}
	b, err := take("b", 3*time.Minute, 24*time.Hour)
	if err != nil || b.Fence != 2 {
		t.Fatalf("when the lease of a is over = %v, %v", b, err)
	}
	if err := s.Renew(ctx, a, day.Add(time.Hour)); !errors.Is(err, job.ErrLost) {
		t.Errorf("a renews late: %v", err)
	}
	check := func(l job.Lease) error { return db.Update(ctx, func(tx *Tx) error { return tx.CheckLease(l) }) }
	if err := check(a); !errors.Is(err, job.ErrLost) {
		t.Errorf("a writes late: %v", err)
	}
	if err := errors.Join(check(b), s.Give(ctx, a, day, job.Done), check(b), s.Give(ctx, b, day.Add(4*time.Minute), job.Done)); err != nil {
		t.Error(err)
	}
	wantDue(t, take, 5*time.Minute, false)
	wantDue(t, take, 25*time.Hour, true)
}

func wantDue(t *testing.T, take func(string, time.Duration, time.Duration) (job.Lease, error), at time.Duration, due bool) {
	t.Helper()
	_, err := take("c", at, 24*time.Hour)
	if due && err != nil || !due && !errors.Is(err, job.ErrNotDue) {
		t.Errorf("after %v: %v", at, err)
	}
}

func TestAFailedJobIsNotDueForAWhile(t *testing.T) { onEach(t, testAFailedJobIsNotDueForAWhile) }

func testAFailedJobIsNotDueForAWhile(t *testing.T, db *DB) {
	s := db.Leases()
	ctx := context.Background()
	for _, tt := range []struct {
		how   job.Ending
		after time.Duration
		due   bool
	}{
		{job.Interrupted, time.Second, true},
		{job.Failed, 59 * time.Minute, false},
		{job.Failed, 61 * time.Minute, true},
	} {
		now := day
		l, err := s.Take(ctx, job.Request{Name: tt.after.String(), Now: now, TTL: time.Minute})
		if err == nil {
			err = s.Give(ctx, l, now, tt.how)
		}
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(tt.after)
		_, err = s.Take(ctx, job.Request{Name: tt.after.String(), Now: now, TTL: time.Minute, Done: now.Add(-24 * time.Hour), Tried: now.Add(-time.Hour)})
		if tt.due != (err == nil) {
			t.Errorf("%v after ending %d: %v", tt.after, tt.how, err)
		}
	}
}

// TestLeasesEndWithTheProcess that had the file to itself.
func TestLeasesEndWithTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	for i := range int64(2) {
		db, err := OpenSQLite(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := db.Leases().Take(t.Context(), job.Request{Name: "gc", Now: day, TTL: time.Hour})
		if err != nil || l.Fence != i+1 {
			t.Errorf("process %d: %v, %v", i, l, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
