package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/blob"
)

// TestReplacedFolder moves folders that are kept open, and puts others in their
// place: the path decides where files are made and found, and what is durable.
func TestReplacedFolder(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, "a/b/old", "old")
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	synced := recordSyncs(t, s, dir, nil)
	put(t, s, "a/b/new", "new")
	if diff := cmp.Diff([]string{"a/b/new", ".", "a", "a/b"}, take(synced)); diff != "" {
		t.Errorf("synced where the folder was moved (-want +got):\n%s", diff)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a", "b", "new")); err != nil {
		t.Errorf("the path does not lead to the new file: %v", err)
	}
	if _, err := s.Open(t.Context(), "a/b/old"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open of what was moved: %v, want %v", err, blob.ErrNotExist)
	}
	checkContent(t, s, "a/b/new", infoOf(t, s, "a/b/new"), "new")

	// And back, while the folder that is kept open is the later one.
	for _, move := range [][2]string{{"a", "later"}, {"moved", "a"}} {
		if err := os.Rename(filepath.Join(dir, move[0]), filepath.Join(dir, move[1])); err != nil {
			t.Fatal(err)
		}
	}
	checkContent(t, s, "a/b/old", infoOf(t, s, "a/b/old"), "old")
}

// TestPlantedFolders puts what is no folder in the place of one.
func TestPlantedFolders(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	put(t, s, "real/k", "abc")
	if err := errors.Join(syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := s.Open(t.Context(), "pipe/k"); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Open below a pipe: %v, want %v", err, blob.ErrNotExist)
		}
	}()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("Open waits for a pipe")
	}
	checkContent(t, s, "link/k", infoOf(t, s, "real/k"), "abc")
	if err := os.Remove(filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "link/new"); err == nil {
		t.Error("Create follows a link out that came in the place of a folder")
	}
}

// TestManyFolders uses more folders than are kept open, several at once.
func TestManyFolders(t *testing.T) {
	s := openStore(t, t.TempDir())
	s.sync = func(*os.File) error { return nil }
	const n = maxFolders + 100
	var group sync.WaitGroup
	for part := range 4 {
		group.Go(func() {
			for i := part; i < n; i += 4 {
				key := fmt.Sprintf("%03x/k", i)
				w, err := s.Create(t.Context(), key)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := w.Commit(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for i := range n {
		infoOf(t, s, fmt.Sprintf("%03x/k", i))
	}
	if got := len(s.folders); got != maxFolders {
		t.Errorf("%d folders are open, want %d", got, maxFolders)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(s.folders); got != 0 {
		t.Errorf("%d folders are open after Close", got)
	}
}
