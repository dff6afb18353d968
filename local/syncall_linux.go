package local

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes everything durable that was written to the file system of dir.
func syncAll(dir *os.Root) error {
	f, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("make what was written durable: %w", err)
	}
	return nil
}
