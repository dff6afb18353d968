//go:build !linux

package local

import (
	"io/fs"
	"os"
)

// syncAll makes everything durable that was written to dir.
func syncAll(dir *os.Root) error {
	return fs.WalkDir(dir.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := dir.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}
