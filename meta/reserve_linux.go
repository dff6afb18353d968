package meta

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// maxReserve is what is set aside, an eighth of a small disk at most: more
	// than the log holds when SQLite empties it.
	maxReserve = 16 << 20
	// maxSpare is what is left of the disk when Room says that there is none, a
	// sixteenth of a small disk at most.
	maxSpare = 8 << 20
)

// setAside has the file at path hold blocks that nobody else can take, as many as
// are free when these are fewer than it should. It reports whether they are all
// that can be had.
func setAside(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	defer f.Close()
	var disk unix.Statfs_t
	info, err := f.Stat()
	if err := errors.Join(err, unix.Fstatfs(int(f.Fd()), &disk)); err != nil {
		return false
	}
	const blockSize = 512 // of stat(2)
	can := info.Sys().(*syscall.Stat_t).Blocks*blockSize + int64(disk.Bavail)*int64(disk.Bsize)
	want := min(maxReserve, int64(disk.Blocks)*int64(disk.Bsize)/8)
	if can <= 0 || want <= 0 {
		return false
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, min(can, want))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return true
	}
	return err == nil && can >= want
}

// spare reports whether no more is left of the disk at path than is to be spared.
func spare(path string) bool {
	var disk unix.Statfs_t
	if err := unix.Statfs(path, &disk); err != nil {
		return false // what writes will learn why
	}
	return int64(disk.Bavail)*int64(disk.Bsize) < min(maxSpare, int64(disk.Blocks)*int64(disk.Bsize)/16)
}
