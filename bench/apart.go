package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is EXT4_TOPDIR_FL: each folder in such a folder gets a part of the disk
// of its own.
const topDir = 0x00020000

// keepApart tells ext4 to keep what is in one folder of dir apart from what is in
// another. Where a server deletes files, ext4 without a journal is slow in making
// new ones for some minutes, and that is to be no other server's burden. Other
// file systems do not know the flag, and need none.
func keepApart(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
	return nil
}
