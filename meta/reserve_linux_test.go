package meta

import (
	"errors"
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
	dir := smallDisk(t)
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

// TestRoomForDeletes adds names until there is no room, has others take the rest
// of the disk, and deletes all of the names.
func TestRoomForDeletes(t *testing.T) {
	dir := smallDisk(t)
	db, err := OpenSQLite(t.Context(), filepath.Join(dir, "berth.db"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 3<<19), 0o600); err != nil {
		t.Fatal(err)
	}
	name := func(i int) oci.Name { return oci.Name(fmt.Sprintf("team/%0200d", i)) }
	added := 0
	for ; err == nil; added++ {
		err = db.Grow(t.Context(), func(tx *Tx) error {
			_, err := tx.PutRepository(name(added), day)
			return err
		})
	}
	if added--; !errors.Is(err, ErrNoSpace) || !errors.Is(db.Room(), ErrNoSpace) || added < 500 {
		t.Fatalf("after %d names: %v", added, err)
	}
	fillUp(t, filepath.Join(dir, "rest"))
	for i := range added {
		if err := db.Update(t.Context(), func(tx *Tx) error { return tx.DeleteRepository(name(i)) }); err != nil {
			t.Fatalf("delete %d of %d: %v", i+1, added, err)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "x") })
	if err := db.Room(); err != nil {
		t.Errorf("when others have made room: %v", err)
	}
	if info, err := os.Stat(db.engine.(*sqliteEngine).reserve); err != nil || info.Sys().(*syscall.Stat_t).Blocks*512 != 1<<20 {
		t.Errorf("set aside again: %+v, %v", info, err)
	}
}

// smallDisk mounts a file system of 8 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs the right to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
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
