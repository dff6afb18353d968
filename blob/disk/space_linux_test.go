package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"berth/blob"
)

// TestFullDisk fills a file system of 1 MiB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=12"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	s := openStore(t, dir)
	put(t, s, "old", "abc")

	w := create(t, s, "large", "")
	data := bytes.Repeat([]byte("x"), 3<<20)
	n, err := w.Write(data)
	if !errors.Is(err, blob.ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Write to a full disk: %v, want %v", err, blob.ErrNoSpace)
	}
	if w.Size() != int64(n) || n == 0 || n >= len(data) {
		t.Errorf("Write took %d bytes, Size is %d", n, w.Size())
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "new", string(data[:1<<19]))

	for i := 0; err == nil || i == 0; i++ {
		if i > 12 {
			t.Fatal("12 files fit where there is room for fewer")
		}
		_, err = s.Create(t.Context(), fmt.Sprintf("%d/k", i))
	}
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Errorf("Create on a full disk: %v, want %v", err, blob.ErrNoSpace)
	}

	o, err := s.Open(t.Context(), "old")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := o.Range(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != "abc" {
		t.Errorf("what was there reads as %q, %v", got, err)
	}
}

// TestNoSpaceOfASync checks the errors that a sync or a quota brings.
func TestNoSpaceOfASync(t *testing.T) {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		dir := t.TempDir()
		s := openStore(t, dir)
		recordSyncs(t, s, dir, func(string) error { return full })
		if _, err := create(t, s, "a", "x").Commit(t.Context()); !errors.Is(err, blob.ErrNoSpace) {
			t.Errorf("Commit: %v, want %v", err, blob.ErrNoSpace)
		}
		if _, err := create(t, s, "b", "x").Suspend(t.Context()); !errors.Is(err, blob.ErrNoSpace) {
			t.Errorf("Suspend: %v, want %v", err, blob.ErrNoSpace)
		}
	}
}
