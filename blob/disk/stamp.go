package disk

import (
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"berth/blob"
)

// attributes are what the file system knows of an open file.
type attributes struct{ stat unix.Stat_t }

func attributesOf(f *os.File) (attributes, error) {
	var a attributes
	conn, err := f.SyscallConn()
	if err != nil {
		return a, err
	}
	var statErr error
	err = conn.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &a.stat) })
	if err == nil {
		err = statErr
	}
	return a, err
}

// info leaves the device out of the stamp: its number changes with every mount
// of a network file system, a subvolume or a container's volume, and every
// file would have to be read again.
func (a attributes) info() blob.Info {
	return blob.Info{
		Size:  a.stat.Size,
		Stamp: fmt.Sprintf("%x.%x.%x.%x", a.stat.Ino, a.stat.Size, a.stat.Mtim.Nano(), a.stat.Ctim.Nano()),
	}
}

// isCommitted reports whether it is a regular file that its owner may read.
func (a attributes) isCommitted() bool {
	return a.stat.Mode&unix.S_IFMT == unix.S_IFREG && fs.FileMode(a.stat.Mode)&modeCommitted != 0
}

// isDeleted reports whether no name leads to the file any more.
func (a attributes) isDeleted() bool { return a.stat.Nlink == 0 }
