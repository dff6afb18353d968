package main

import "golang.org/x/sys/unix"

// leftOnDisk returns how much can be written to the disk of dir by others than
// root.
func leftOnDisk(dir string) (bytes int64, readOnly bool, err error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, false, err
	}
	return int64(disk.Bavail) * int64(disk.Bsize), disk.Flags&unix.ST_RDONLY != 0, nil
}
