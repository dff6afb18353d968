package meta

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxReserve is what is set aside: twice what the log holds when SQLite empties
// it, so that one delete after the other finds room.
const maxReserve = 8 << 20

// reserve gives the log at path blocks beyond its end, a quarter of those that
// are free at most. A delete writes to the log before anything else, and so can
// be done on a disk that others have filled. Where nothing can be set aside the
// log grows as it may.
func reserve(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	size := min(maxReserve, int64(st.Bavail)*st.Bsize/4)
	if size == 0 {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}
