package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A volume is a file system of the campaign's own.
type volume struct {
	image string // empty for one in memory
	dir   string
}

// newVolume makes an ext4 file system of so many MiB in a file.
func newVolume(dir string, size int64) (*volume, error) {
	v := &volume{image: filepath.Join(dir, "image"), dir: filepath.Join(dir, "volume")}
	if err := errors.Join(os.WriteFile(v.image, nil, 0o600), os.Truncate(v.image, size<<20), os.Mkdir(v.dir, 0o700)); err != nil {
		return nil, err
	}
	if err := command("mkfs.ext4", "-q", "-F", v.image); err != nil {
		return nil, err
	}
	return v, v.mount()
}

// newMemory makes a file system of so many KiB in memory.
func newMemory(dir string, size int) (*volume, error) {
	v := &volume{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return v, command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk", size), "tmpfs", dir)
}

func (v *volume) mount() error {
	return command("mount", "-o", "loop,errors=remount-ro", v.image, v.dir)
}

// cut stops the file system without writing back its journal.
func (v *volume) cut() error {
	const shutdown, withoutFlush = 0x8004587d, 2
	f, err := os.Open(v.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutFlush); err != nil {
		return fmt.Errorf("shut the file system down: %w", err)
	}
	return nil
}

// remount mounts the file system again, as after a start of the machine.
func (v *volume) remount() error {
	if err := command("umount", v.dir); err != nil {
		return err
	}
	return v.mount()
}

func (v *volume) close() error { return command("umount", "-l", v.dir) }

// free returns how many bytes can be written.
func (v *volume) free() (int64, error) {
	var st unix.Statfs_t
	err := unix.Statfs(v.dir, &st)
	return int64(st.Bavail) * st.Bsize, err
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// device returns the name of the loop device.
func (v *volume) device() (string, error) {
	out, err := exec.Command("findmnt", "-n", "-o", "SOURCE", v.dir).Output()
	return filepath.Base(strings.TrimSpace(string(out))), err
}
