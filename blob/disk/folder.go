package disk

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// maxFolders is how many folders are kept open. Keys that fan out over more are
// found all the same.
const maxFolders = 512

// Files are opened without waiting for the other end of a named pipe in their
// place, and without os asking whether the descriptor could be polled.
const noWait = syscall.O_NONBLOCK

// A folder is kept open, so that the way to it is not gone for every file. It
// may have been removed, or moved and made again, since it was opened.
type folder struct {
	dir  string
	root *os.Root
	info fs.FileInfo // of the folder itself
}

// openFile opens the file of key. A folder that is kept open is only a shorter
// way: where it leads to nothing, the path decides.
func (s *Store) openFile(key string, flags int, mode fs.FileMode) (*os.File, error) {
	if d := s.folder(path.Dir(key)); d != nil {
		if flags&os.O_CREATE == 0 || s.isCurrent(d) {
			f, err := d.root.OpenFile(path.Base(key), flags|noWait, mode)
			if err == nil {
				return f, nil
			}
		}
		s.forget(d)
	}
	return s.root.OpenFile(key, flags|noWait, mode)
}

// folder returns the folder dir, or nil when it cannot be kept open.
func (s *Store) folder(dir string) *folder {
	s.mu.Lock()
	d := s.folders[dir]
	s.mu.Unlock()
	if d != nil || dir == "." {
		return d
	}
	root, err := s.root.OpenRoot(dir + "/.") // a named pipe is no folder, and is not waited for
	if err != nil {
		return nil
	}
	info, err := root.Stat(".")
	if err != nil {
		root.Close()
		return nil
	}
	d = &folder{dir: dir, root: root, info: info}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.folders[dir]; other != nil {
		d.close()
		return other
	}
	if len(s.folders) >= maxFolders {
		for dir, old := range s.folders { // any of them
			delete(s.folders, dir)
			old.close()
			break
		}
	}
	s.folders[dir] = d
	return d
}

// isCurrent reports whether the path of d still leads to it: what is made in
// another folder would not be found again.
func (s *Store) isCurrent(d *folder) bool {
	info, err := os.Stat(filepath.Join(s.root.Name(), d.dir))
	return err == nil && os.SameFile(info, d.info)
}

// forget lets go of d, which leads to nothing or not to the path any more. What
// is there now, if anything, is not known to be durable.
func (s *Store) forget(d *folder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.folders[d.dir] == d {
		delete(s.folders, d.dir)
		delete(s.durable, d.dir)
	}
	d.close()
}

// syncFolder makes the names in dir durable. It opens the folder for itself: of
// those who share an open file the kernel tells only one that a sync has failed.
func (s *Store) syncFolder(dir string) error {
	f, err := s.openFile(dir+"/.", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return s.sync(f)
}

// close lets go of d. Those who come later are refused with fs.ErrClosed, and take
// the path.
func (d *folder) close() { _ = d.root.Close() } // of a folder there is nothing to lose
