package local

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// rowsOf returns how many uploads of mine the database knows.
func rowsOf(t *testing.T, r *Registry) (n int) {
	t.Helper()
	err := r.db.View(t.Context(), func(tx *meta.Tx) (err error) {
		n, err = tx.CountUploads(mine.Owner, 100)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// suspended returns the ID of a new upload that holds content.
func suspended(t *testing.T, r *Registry, content string) string {
	t.Helper()
	u, err := r.StartUpload(t.Context(), repo, mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(u, content); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return u.ID()
}

func resumed(t *testing.T, r *Registry, id string, size int64) registry.Upload {
	t.Helper()
	u, err := r.ResumeUpload(t.Context(), repo, id, mine)
	if err != nil {
		t.Fatal(err)
	}
	if u.Size() != size {
		t.Fatalf("goes on at %d, want %d", u.Size(), size)
	}
	return u
}

func TestKeptUploadHasNoRow(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 1})
	first := suspended(t, r, "first")
	if n := rowsOf(t, r); n != 0 {
		t.Errorf("a kept upload has %d rows", n)
	}
	suspended(t, r, "second")
	if n := rowsOf(t, r); n != 1 {
		t.Errorf("beyond the limit: %d rows, want 1", n)
	}
	u := resumed(t, r, first, int64(len("first")))
	if _, err := u.Commit(t.Context(), oci.DigestOf(oci.SHA256, []byte("first"))); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ResumeUpload(t.Context(), repo, first, mine); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("after the commit: %v", err)
	}
}

func TestLargeUploadIsNotKept(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 10})
	suspended(t, r, strings.Repeat("x", keptBytes+1))
	if n := rowsOf(t, r); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestKeptUploadIsTheOwners(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 10})
	id := suspended(t, r, "mine")
	theirs := registry.UploadOptions{Owner: "accounts/mallory"}
	if _, err := r.ResumeUpload(t.Context(), repo, id, theirs); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("another owner: %v", err)
	}
	if _, err := r.ResumeUpload(t.Context(), "other/app", id, mine); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("another repository: %v", err)
	}
	if _, err := r.UploadStatus(t.Context(), repo, id, theirs); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("the status for another owner: %v", err)
	}
}

// TestKeptUploadIsOvertaken goes on twice from where an upload was kept: the
// second one begins there again, whatever the first has written meanwhile.
func TestKeptUploadIsOvertaken(t *testing.T) {
	r := openRegistry(t, openDisk(t, t.TempDir()), openDB(t), Options{KeptUploads: 10})
	for _, content := range []string{"", "begun "} {
		id := suspended(t, r, content)
		stalled := resumed(t, r, id, int64(len(content)))
		if _, err := io.WriteString(stalled, "and never ended"); err != nil {
			t.Fatal(err)
		}
		retry := resumed(t, r, id, int64(len(content)))
		if _, err := io.WriteString(retry, "and ended"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(stalled, "?"); !errors.Is(err, oci.Conflict) {
			t.Errorf("the one who was overtaken writes: %v", err)
		}
		d := oci.DigestOf(oci.SHA256, []byte(content+"and ended"))
		if _, err := retry.Commit(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if err := stalled.Close(t.Context()); !errors.Is(err, oci.Conflict) {
			t.Errorf("the one who was overtaken closes: %v", err)
		}
		if got, err := read(r, repo, d, 0, -1); err != nil || got != content+"and ended" {
			t.Errorf("the blob is %q, %v", got, err)
		}
	}
}

func TestSavedUploadsSurviveTheProcess(t *testing.T) {
	store, db := openDisk(t, t.TempDir()), openDB(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	r := openRegistry(t, store, db, Options{KeptUploads: 10, Now: clock})
	id := suspended(t, r, "old")
	now = now.Add(time.Minute)
	young := suspended(t, r, "young")
	if err := r.SaveUploads(t.Context(), 30*time.Second); err != nil {
		t.Fatal(err)
	}
	crashed := openRegistry(t, store, db, Options{Now: clock})
	u := resumed(t, crashed, id, int64(len("old")))
	if _, err := u.Commit(t.Context(), oci.DigestOf(oci.SHA256, []byte("old"))); err != nil {
		t.Fatal(err)
	}
	if _, err := crashed.ResumeUpload(t.Context(), repo, young, mine); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("an upload that was not saved: %v", err)
	}
}

func TestKeptUploadsCount(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 10, MaxOpenUploads: 2})
	id := suspended(t, r, "a")
	suspended(t, r, "b")
	if _, err := r.StartUpload(t.Context(), repo, mine); !errors.Is(err, oci.TooManyRequests) {
		t.Fatalf("a third upload: %v", err)
	}
	if err := resumed(t, r, id, 1).Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.SaveUploads(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	suspended(t, r, "c")
	if _, err := r.StartUpload(t.Context(), repo, mine); !errors.Is(err, oci.TooManyRequests) {
		t.Fatalf("a third upload beside a saved one: %v", err)
	}
}
