package meta

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"berth/oci"
)

// TestDeleteOnFullDisk deletes rows when the disk of the database has no room
// left, also after more than the log of one commit.
func TestDeleteOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	db, err := OpenSQLite(t.Context(), filepath.Join(dir, "berth.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const repositories = 30
	name := func(i int) oci.Name { return oci.Name(fmt.Sprintf("team/app%d", i)) }
	for i := range repositories {
		mustUpdate(t, db, func(tx *Tx) error {
			_, err := tx.PutRepository(name(i), day)
			return err
		})
	}
	fillUp(t, filepath.Join(dir, "rest"))
	for i := range repositories {
		if err := db.Update(t.Context(), func(tx *Tx) error { return tx.DeleteRepository(name(i)) }); err != nil {
			t.Fatalf("delete %d of %d: %v", i+1, repositories, err)
		}
	}
}

// fillUp writes a file until there is no room for a byte more.
func fillUp(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}
