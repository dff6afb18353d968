package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"berth/local"
	"berth/meta"
)

const (
	lockName   = "berth.lock"
	socketName = "berth.sock"
	dbName     = "berth.db"
)

// errLocked means that another process holds the data.
var errLocked = errors.New("another berth holds this data directory")

// lockData makes dir and takes its lock, which ends with the process or when
// the file is closed. Errors: errLocked.
func lockData(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory, which storage.filesystem.rootdirectory names, or metadata.sqlite.path with an object store: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of the data directory, which storage.filesystem.rootdirectory names, or metadata.sqlite.path with an object store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s", errLocked, dir)
		}
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	return f, nil
}

// checkNew refuses a PostgreSQL database that no registry was opened on before,
// where there are metadata that should be moved or taken over into it.
func checkNew(ctx context.Context, db *meta.DB, dir, file string) error {
	err := db.View(ctx, func(tx *meta.Tx) error {
		_, err := tx.Setting(local.InstanceSetting)
		return err
	})
	if !errors.Is(err, meta.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(file); err == nil {
		return fmt.Errorf("the database that metadata.postgres names is empty, and %s holds metadata: run `berth migrate` once, or move that file away", file)
	}
	return nil
}

// listenAdmin opens the socket that commands speak to. Only the owner of the
// data may; the lock is held, so a socket that is there belongs to nobody.
func listenAdmin(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the local socket: %w", err)
	}
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the local socket: %w", err)
	}
	return l, nil
}
