package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	modeFile   fs.FileMode = 0o600
	modeFolder fs.FileMode = 0o700
)

var errHeld = errors.New("another berth writes it")

// A file is the one that events are appended to. It is of one goroutine.
type file struct {
	path string
	f    *os.File
	size int64
	// began is when the first line was written, zero while there is none.
	began time.Time
}

// openFile opens the file at path, which is made if it is not there. A line that
// a crash has cut is ended, so that the next is one of its own.
func openFile(path string, now time.Time) (*file, error) {
	if err := os.MkdirAll(filepath.Dir(path), modeFolder); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, modeFile)
	if err != nil {
		return nil, err
	}
	l := &file{path: path, f: f}
	if err := l.begin(now); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
	}
	return l, nil
}

func (l *file) begin(now time.Time) error {
	if err := syscall.Flock(int(l.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errHeld
	}
	info, err := l.f.Stat()
	if err != nil {
		return err
	}
	if l.size = info.Size(); l.size == 0 {
		return errors.Join(syncFolder(l.path), syncFolder(filepath.Dir(l.path)))
	}
	l.began = firstTime(l.f, now)
	last := make([]byte, 1)
	if _, err := l.f.ReadAt(last, l.size-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		_, err = l.write([]byte{'\n'}, now)
	}
	return err
}

// firstTime returns the time of the first event that r holds. Where none can be
// read, it is as good as new.
func firstTime(r io.ReaderAt, now time.Time) time.Time {
	head := bufio.NewReader(io.NewSectionReader(r, 0, maxLine))
	for {
		line, err := head.ReadBytes('\n')
		if err != nil {
			return now
		}
		if e, err := parseLine(bytes.TrimSuffix(line, []byte{'\n'})); err == nil {
			return e.Time
		}
	}
}

// write appends lines and returns how many bytes of them were written.
func (l *file) write(lines []byte, now time.Time) (int, error) {
	if l.size == 0 {
		l.began = now
	}
	n, err := l.f.Write(lines)
	l.size += int64(n)
	return n, err
}

// moved reports whether the file is not at its path any more: somebody has
// moved or removed it.
func (l *file) moved() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	here, err := l.f.Stat()
	return err == nil && !os.SameFile(here, there)
}

// reopen goes on with a new file at the path. When that fails, it stays as it
// is.
func (l *file) reopen(now time.Time) error {
	next, err := openFile(l.path, now)
	if err != nil {
		return err
	}
	old := l.f
	*l = *next
	return errors.Join(old.Sync(), old.Close())
}

// rotate puts the file aside under the time, and goes on with a new one.
func (l *file) rotate(now time.Time) error {
	name := rotatedName(l.path, now)
	for {
		_, err := os.Lstat(name)
		_, packed := os.Lstat(name + packedExt)
		if errors.Is(err, fs.ErrNotExist) && errors.Is(packed, fs.ErrNotExist) {
			break
		}
		now = now.Add(time.Millisecond)
		name = rotatedName(l.path, now)
	}
	if err := os.Rename(l.path, name); err != nil {
		return err
	}
	if err := l.reopen(now); err != nil {
		return errors.Join(err, os.Rename(name, l.path))
	}
	return nil
}

func (l *file) close() error { return errors.Join(l.f.Sync(), l.f.Close()) }

// syncFolder makes the names in the folder of path durable.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
