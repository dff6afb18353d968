package local

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/blob/memory"
	"berth/oci"
	"berth/registry"
)

// TestNearlyFullDatabase: where the database has little room left, nothing is
// named any more, and what is there can be read and deleted.
func TestNearlyFullDatabase(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	store := memory.New()
	r := openRegistry(t, store, openDBIn(t, dir), Options{})
	layer := push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	begun := start(t, r, repo)
	write(t, begun, "more")

	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, int64(disk.Bavail)*disk.Bsize-256<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := r.StartUpload(t.Context(), repo, mine)
	wantFull(t, "begin an upload", err)
	_, err = begun.Commit(t.Context(), digest("more"))
	wantFull(t, "end an upload that was begun before", err)
	_, err = r.MountBlob(t.Context(), "team/other", repo, layer)
	wantFull(t, "mount", err)
	_, err = r.PutManifest(t.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"latest"}})
	wantFull(t, "push a manifest", err)
	if got, err := read(r, repo, layer, 0, -1); err != nil || got != "layer" {
		t.Errorf("read: %q, %v", got, err)
	}
	if err := r.DeleteBlob(t.Context(), repo, layer); err != nil {
		t.Errorf("delete: %v", err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	push(t, r, repo, "more")
}

func wantFull(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, oci.InsufficientStorage) {
		t.Errorf("%s: %v", what, err)
	}
}
