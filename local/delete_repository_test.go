package local

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"berth/meta"
	"berth/oci"
)

// fill pushes more to a repository than one transaction deletes.
func fill(t *testing.T, r *Registry) {
	t.Helper()
	push(t, r, repo, "l")
	m := image(t, r, repo, "l")
	putManifest(t, r, repo, m)
	for i := range sweepBatch + 10 {
		push(t, r, repo, fmt.Sprint("l", i))
		child := image(t, r, repo, "l", fmt.Sprint("l", i))
		putManifest(t, r, repo, child)
		putManifest(t, r, repo, index(t, nil, m, child), oci.Tag(fmt.Sprint("v", i)), oci.Tag(fmt.Sprint("w", i)))
	}
	push(t, r, "other/app", "l")
}

func TestDeleteALargeRepository(t *testing.T) {
	r, c := swept(t)
	fill(t, r)
	wantBlob(t, r, repo, "l")
	if err := r.DeleteRepository(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	wantGone(t, r, repo, "l", "l1")
	wantNotPulled(t, r, repo, "v1")
	if err := r.DeleteRepository(t.Context(), repo); !errors.Is(err, oci.NameUnknown) {
		t.Errorf("again: %v", err)
	}
	wantBlob(t, r, "other/app", "l")
	c.hours(25)
	sweepWith(t, r, SweepOptions{})
	if got := keys(t, r.store); len(got) != 1 {
		t.Errorf("%d objects left", len(got))
	}
}

// TestADeletionThatWasInterrupted leaves nothing that can be pulled by half, and is
// gone on with.
func TestADeletionThatWasInterrupted(t *testing.T) {
	for after := time.Duration(0); ; after = 2*after + time.Millisecond {
		r, _ := swept(t)
		fill(t, r)
		ctx, stop := context.WithTimeout(t.Context(), after)
		err := r.DeleteRepository(ctx, repo)
		stop()
		if err == nil {
			break
		}
		for i := range sweepBatch + 10 {
			if _, err := readManifest(r, repo, reference(fmt.Sprint("v", i))); err == nil {
				wantPulled(t, r, repo, string(image(t, r, repo, "l", fmt.Sprint("l", i)).Digest))
			}
		}
		if err := r.DeleteRepository(t.Context(), repo); err != nil {
			t.Fatal(err)
		}
		wantNotPulled(t, r, repo, "v1")
	}
}

// TestWhatComesWhileARepositoryIsDeleted stays.
func TestWhatComesWhileARepositoryIsDeleted(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	m := image(t, r, repo, "l")
	putManifest(t, r, repo, m, "old")
	d := deletion{r: r, repo: repo, began: c.Now()}
	err := r.db.View(t.Context(), func(tx *meta.Tx) (err error) {
		d.id, err = tx.Repository(repo)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.tags(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.hours(1)
	putManifest(t, r, repo, index(t, nil, m), "new")
	if err := errors.Join(d.manifests(t.Context()), d.blobs(t.Context()), d.row(t.Context())); err != nil {
		t.Fatal(err)
	}
	wantPulled(t, r, repo, "new", string(m.Digest))
	wantNotPulled(t, r, repo, "old")
	wantBlob(t, r, repo, "l")
}
