package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// writeBehind asks the kernel to write the n bytes at off of f to the disk, and to
// forget what has been written: a large stream then finds the disk done with most
// of it when it ends, and takes no memory from what is read often. It does not
// wait, and leaves it to the sync to find out what failed.
func writeBehind(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}
