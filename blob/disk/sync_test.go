package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/blob"
)

// recordSyncs lets s note the path of everything it syncs, below dir, and fail
// where fail says so.
func recordSyncs(t *testing.T, s *Store, dir string, fail func(path string) error) *[]string {
	t.Helper()
	var synced []string
	s.sync = func(f *os.File) error {
		path, err := filepath.Rel(dir, f.Name())
		if err != nil {
			t.Errorf("sync of %s: %v", f.Name(), err)
		}
		synced = append(synced, path)
		if fail != nil {
			if err := fail(path); err != nil {
				return err
			}
		}
		return f.Sync()
	}
	return &synced
}

func take(synced *[]string) []string {
	got := *synced
	*synced = nil
	return got
}

func TestWhatIsSynced(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	synced := recordSyncs(t, s, dir, nil)
	want := func(step string, paths ...string) {
		t.Helper()
		if diff := cmp.Diff(paths, take(synced)); diff != "" {
			t.Errorf("%s: synced (-want +got):\n%s", step, diff)
		}
	}
	put(t, s, "a/b/1", "x")
	want("first file", "a/b/1", ".", "a", "a/b")
	put(t, s, "a/b/2", "x")
	want("folders are known", "a/b/2", "a/b")
	put(t, s, "a/c/3", "x")
	want("one folder is known", "a/c/3", "a", "a/c")
	put(t, s, "top", "x")
	want("no folder", "top", ".")

	w := create(t, s, "a/b/4", "x")
	want("nothing before Suspend")
	state, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want("Suspend", "a/b/4", "a/b")
	w, err = s.Resume(t.Context(), "a/b/4", state)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("Commit after Suspend", "a/b/4")

	if err := os.RemoveAll(filepath.Join(dir, "a", "c")); err != nil {
		t.Fatal(err)
	}
	put(t, s, "a/c/5", "x")
	want("a folder that was removed", "a/c/5", "a", "a/c")
}

// TestFailedSync lets each sync of a Commit and of a Suspend fail in turn.
func TestFailedSync(t *testing.T) {
	for _, path := range []string{"a/b/k", ".", "a", "a/b"} {
		dir := t.TempDir()
		s := openStore(t, dir)
		synced := recordSyncs(t, s, dir, func(p string) error {
			if p == path {
				return syscall.EIO
			}
			return nil
		})
		end := map[string]func(blob.Writer) error{
			"Commit":  func(w blob.Writer) error { _, err := w.Commit(t.Context()); return err },
			"Suspend": func(w blob.Writer) error { _, err := w.Suspend(t.Context()); return err },
		}
		for name, end := range end {
			w := create(t, s, "a/b/k", "abc")
			if err := end(w); !errors.Is(err, syscall.EIO) {
				t.Errorf("sync of %s fails: %s: %v, want %v", path, name, err, syscall.EIO)
			}
			tried := take(synced)
			if err := end(w); !errors.Is(err, blob.ErrStale) {
				t.Errorf("sync of %s fails: second %s: %v, want %v", path, name, err, blob.ErrStale)
			}
			if _, err := w.Write([]byte("d")); !errors.Is(err, blob.ErrStale) {
				t.Errorf("sync of %s fails: Write: %v, want %v", path, err, blob.ErrStale)
			}
			if again := take(synced); len(again) != 0 || !slices.Contains(tried, path) {
				t.Errorf("sync of %s fails: tried %q, then %q", path, tried, again)
			}
			if _, err := s.Open(t.Context(), "a/b/k"); !errors.Is(err, blob.ErrNotExist) {
				t.Errorf("sync of %s fails: Open: %v, want %v", path, err, blob.ErrNotExist)
			}
			if err := w.Abort(t.Context()); err != nil {
				t.Errorf("Abort: %v", err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "a/b/k")); !os.IsNotExist(err) {
				t.Errorf("sync of %s fails: the file is there after Abort: %v", path, err)
			}
		}
	}
}

// TestFolderIsSyncedAgain checks that a folder whose sync failed is not taken
// for durable.
func TestFolderIsSyncedAgain(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	broken := true
	synced := recordSyncs(t, s, dir, func(p string) error {
		if p == "." && broken {
			return syscall.EIO
		}
		return nil
	})
	if _, err := create(t, s, "a/1", "x").Commit(t.Context()); err == nil {
		t.Fatal("Commit succeeds although a sync fails")
	}
	take(synced)
	broken = false
	put(t, s, "a/2", "x")
	if diff := cmp.Diff([]string{"a/2", ".", "a"}, take(synced)); diff != "" {
		t.Errorf("synced (-want +got):\n%s", diff)
	}
}
