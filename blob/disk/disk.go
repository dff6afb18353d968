// Package disk keeps streams as files below one folder.
//
// A key is the path of its file. The file is made there when the stream begins
// and is never renamed. While it is written its mode is 0200, and when it is
// committed 0400: what its owner may not read is not committed yet. The files
// of another registry, which are readable, can therefore be opened where they
// are. A program that copies the folder under the same user cannot read the
// unfinished files, and needs none of them. List shows every file whose path is
// a key, whoever made it: who keeps other files below the folder has to tell
// them from the streams.
//
// Nothing is acknowledged that a power cut takes away. Suspend and Commit sync
// the file, its folder, and once in a process the parent of each folder on the
// way to it. The folders that are known to be durable are remembered, so keys
// should fan out over hundreds of folders, not over millions.
//
// All access goes through os.Root: a symbolic link planted below the folder
// leads to nothing outside of it. The folders in use are kept open; when one is
// removed or replaced behind the Store's back, that is noticed, and the path
// decides. One process at a time may write, because an overtaken Writer is
// stopped by the Store that it came from. Local files do not
// wait, so contexts are heeded by List alone.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"berth/blob"
)

const (
	modeFolder    fs.FileMode = 0o700
	modeWriting   fs.FileMode = 0o200
	modeCommitted fs.FileMode = 0o400
)

// A Store is a blob.Store over a folder.
type Store struct {
	root *os.Root
	sync func(*os.File) error

	mu      sync.Mutex
	writers map[string]*writer // the one at work on each key
	folders map[string]*folder // that are kept open, by path
	durable map[string]bool    // folders whose entry in their parent is synced
}

// Open returns the Store over dir, which is made if it is not there. The Store
// must be closed.
func Open(dir string) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	if err := makeDurable(dir); err != nil {
		return nil, fmt.Errorf("make folder of blob store: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	return &Store{
		root:    root,
		sync:    (*os.File).Sync,
		writers: make(map[string]*writer),
		folders: make(map[string]*folder),
		durable: map[string]bool{".": true},
	}, nil
}

// Close releases the folder. Objects and Writers must have ended before.
func (s *Store) Close() error {
	err := s.root.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.folders {
		d.close()
	}
	clear(s.folders)
	return err
}

// makeDurable makes dir and its parents, and syncs the parent of each that was
// not there.
func makeDurable(dir string) error {
	err := os.Mkdir(dir, modeFolder)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDurable(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, modeFolder)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // where it is no folder, opening it says so
	}
	if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// Open implements blob.Store.
func (s *Store) Open(_ context.Context, key string) (blob.Object, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	f, err := s.openFile(key, os.O_RDONLY, 0)
	if err != nil {
		return nil, s.openError(key, err)
	}
	a, err := attributesOf(f)
	if err == nil && !a.isCommitted() {
		err = blob.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	return &object{file: f, info: a.info()}, nil
}

// openError says what err, of opening the file of key, means. The kernel
// refuses files that are not committed to all but root.
func (s *Store) openError(key string, err error) error {
	uncommitted := false
	if errors.Is(err, fs.ErrPermission) {
		info, statErr := s.root.Lstat(key)
		uncommitted = statErr == nil && !isCommitted(info.Mode())
	}
	if uncommitted || isNotExist(err) || leadsOut(err) {
		return fmt.Errorf("open blob %s: %w", key, blob.ErrNotExist)
	}
	return fmt.Errorf("open blob %s: %w", key, err)
}

func isCommitted(m fs.FileMode) bool { return m.IsRegular() && m&modeCommitted != 0 }

// isNotExist reports whether err says that there is no such path, be it that
// what should be a folder is a file.
func isNotExist(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// leadsOut reports whether err says that a link on the path leads out of the
// folder, which os.Root refuses and not the kernel, or in a circle.
func leadsOut(err error) bool {
	var kernel syscall.Errno
	if errors.As(err, &kernel) {
		return kernel == syscall.ELOOP
	}
	return !errors.Is(err, fs.ErrClosed)
}

// URL implements blob.Store. A file has no address.
func (s *Store) URL(context.Context, string, time.Duration) (string, error) { return "", nil }

// Delete implements blob.Store. It is not synced: a file that comes back after
// a crash is one that no row names.
func (s *Store) Delete(_ context.Context, key string) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	info, err := s.root.Lstat(key)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		err = s.root.Remove(key)
	}
	if err != nil && !isNotExist(err) {
		return fmt.Errorf("delete blob %s: %w", key, err)
	}
	return nil
}

// makeFolders makes the folders above the file of key.
func (s *Store) makeFolders(key string) error {
	for i, c := range key {
		if c != '/' {
			continue
		}
		dir := key[:i]
		err := s.root.Mkdir(dir, modeFolder)
		if err == nil {
			// It may be known from before somebody removed it.
			s.mu.Lock()
			delete(s.durable, dir)
			s.mu.Unlock()
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// syncEntry makes the names durable that lead to the file of key. A folder
// whose sync has failed is synced again for the next file: folders are kept in
// the file system's journal, which stops at its first failure.
func (s *Store) syncEntry(key string) error {
	for i, c := range key {
		if c != '/' {
			continue
		}
		dir := key[:i]
		s.mu.Lock()
		known := s.durable[dir]
		s.mu.Unlock()
		if known {
			continue
		}
		if err := s.syncFolder(path.Dir(dir)); err != nil {
			return err
		}
		s.mu.Lock()
		s.durable[dir] = true
		s.mu.Unlock()
	}
	return s.syncFolder(path.Dir(key))
}

// An object is an open file.
type object struct {
	file *os.File
	info blob.Info
}

func (o *object) Info() blob.Info        { return o.info }
func (o *object) File() (*os.File, bool) { return o.file, true }
func (o *object) Close() error           { return o.file.Close() }

// Range reads at offsets, so that the position of the file stays the caller's.
func (o *object) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	n, err := blob.CheckRange(o.info.Size, off, n)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(o.file, off, n)), nil
}
