package disk

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"berth/blob"
)

// A volume is a file system that loses what was not synced when it is cut off.
type volume struct {
	image, dir string
}

func newVolume(t *testing.T) *volume {
	t.Helper()
	v := &volume{image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.image, 16<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", v.image).CombinedOutput(); err != nil {
		t.Skipf("needs mkfs.ext4: %v: %s", err, out)
	}
	if out, err := v.mount(); err != nil {
		t.Skipf("needs the right to mount a file: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", v.dir).Run() })
	return v
}

func (v *volume) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop", v.image, v.dir).CombinedOutput()
}

// cut stops the file system without writing back its journal, and mounts it
// again.
func (v *volume) cut(t *testing.T) {
	t.Helper()
	const shutdown, withoutFlush = 0x8004587d, 2
	f, err := os.Open(v.dir)
	if err != nil {
		t.Fatal(err)
	}
	err = unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutFlush)
	f.Close()
	if err != nil {
		t.Skipf("needs a kernel that can shut a file system down: %v", err)
	}
	if out, err := exec.Command("umount", v.dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v: %s", err, out)
	}
	if out, err := v.mount(); err != nil {
		t.Fatalf("mount after the cut: %v: %s", err, out)
	}
}

// TestPowerCut cuts the power right behind a Commit and a Suspend, and checks
// that what they acknowledged is there, and nothing more is readable.
func TestPowerCut(t *testing.T) {
	v := newVolume(t)
	s, err := Open(filepath.Join(v.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	committed := make(map[string]blob.Info)
	for _, key := range []string{"aa/1", "aa/2", "bb/3", "cc/dd/4"} {
		committed[key] = put(t, s, key, "content of "+key)
	}
	w := create(t, s, "ee/suspended", "first, ")
	state, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w, err = s.Resume(t.Context(), "ee/suspended", state); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	committed["ff/last"] = put(t, s, "ff/last", "content of ff/last")
	create(t, s, "gg/unfinished", "lost")
	unsynced := filepath.Join(v.dir, "unsynced")
	if err := os.WriteFile(unsynced, []byte("lost"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, w := range s.writers {
		w.close()
	}
	s.Close()
	v.cut(t)

	if _, err := os.Stat(unsynced); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the cut loses nothing, so that this test shows nothing: %v", err)
	}
	if s, err = Open(filepath.Join(v.dir, "data")); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for key, info := range committed {
		checkContent(t, s, key, info, "content of "+key)
	}
	if w, err = s.Resume(t.Context(), "ee/suspended", state); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	info, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkContent(t, s, "ee/suspended", info, "first, second")
	if _, err := s.Open(t.Context(), "gg/unfinished"); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open of what was not committed: %v, want %v", err, blob.ErrNotExist)
	}
}
