package disk

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"berth/blob"
)

// List implements blob.Store. It holds the names of one folder on each level in
// memory. What is neither a folder nor a file named by a key is left out.
func (s *Store) List(ctx context.Context, after string, yield func(blob.Entry) bool) error {
	l := lister{ctx: ctx, after: after, yield: yield}
	if _, err := l.folder(s.root, ""); err != nil {
		return fmt.Errorf("list blobs: %w", err)
	}
	return nil
}

type lister struct {
	ctx   context.Context
	after string
	yield func(blob.Entry) bool
}

// folder lists what is in dir, whose keys begin with prefix, and reports
// whether to go on.
func (l *lister) folder(dir *os.Root, prefix string) (more bool, err error) {
	names, err := sortedNames(dir)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if err := l.ctx.Err(); err != nil {
			return false, err
		}
		key := prefix + name
		sub, isFolder := strings.CutSuffix(name, "/")
		switch {
		case blob.CheckKey(strings.TrimSuffix(key, "/")) != nil:
			continue
		case isFolder:
			more, err = l.subfolder(dir, sub, key)
		default:
			more, err = l.file(dir, name, key)
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

func (l *lister) subfolder(dir *os.Root, name, prefix string) (more bool, err error) {
	if prefix < l.after && !strings.HasPrefix(l.after, prefix) {
		return true, nil
	}
	sub, err := dir.OpenRoot(name)
	if isNotExist(err) {
		return true, nil // removed since the folder was read
	}
	if err != nil {
		return false, err
	}
	defer sub.Close()
	return l.folder(sub, prefix)
}

func (l *lister) file(dir *os.Root, name, key string) (more bool, err error) {
	if key <= l.after {
		return true, nil
	}
	info, err := dir.Lstat(name)
	if isNotExist(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return l.yield(blob.Entry{Key: key, Size: info.Size(), ModTime: info.ModTime()}), nil
}

// sortedNames returns the names of the files and folders in dir in the order
// in which their keys follow each other, which is that of the bytes when a
// folder ends with its slash: a-b before a/b.
func sortedNames(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		switch e.Type() {
		case fs.ModeDir:
			names = append(names, e.Name()+"/")
		case 0:
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}
