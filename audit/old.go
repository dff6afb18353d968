package audit

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	rotatedForm = "20060102T150405.000Z" // of the time in a name
	packedExt   = ".gz"
	halfExt     = ".tmp" // of what is being compressed
)

// An old is a file that nothing is appended to any more.
type old struct {
	path   string // without packedExt
	packed bool
	until  time.Time // nothing in it is later
}

// name returns the path of the file as it is.
func (o *old) name() string {
	if o.packed {
		return o.path + packedExt
	}
	return o.path
}

// rotatedName returns the path of a file that was at path until then.
func rotatedName(path string, until time.Time) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + until.UTC().Format(rotatedForm) + ext
}

// rotated returns the old files of the log at path, the oldest first.
func rotated(path string) ([]old, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	ext := filepath.Ext(path)
	prefix := strings.TrimSuffix(filepath.Base(path), ext) + "-"
	var olds []old
	for _, entry := range entries { // by name, so that what is packed comes last
		name, packed := strings.CutSuffix(entry.Name(), packedExt)
		text, ok := strings.CutPrefix(strings.TrimSuffix(name, ext), prefix)
		until, err := time.Parse(rotatedForm, text)
		if !ok || err != nil || !entry.Type().IsRegular() || !strings.HasSuffix(name, ext) {
			continue
		}
		o := old{filepath.Join(filepath.Dir(path), name), packed, until}
		if last := len(olds) - 1; last >= 0 && olds[last].path == o.path {
			olds = olds[:last] // the packed one is whole, or it would not have its name
		}
		olds = append(olds, o)
	}
	slices.SortFunc(olds, func(a, b old) int { return a.until.Compare(b.until) })
	return olds, nil
}

// tidy compresses the old files, and removes those that are too many or too old.
func (l *Log) tidy(ctx context.Context) error {
	olds, err := rotated(l.path)
	if err != nil {
		return err
	}
	var errs []error
	oldest := l.o.Now().Add(-l.o.MaxAge)
	for i, o := range olds {
		switch {
		case i < len(olds)-l.o.MaxFiles, o.until.Before(oldest):
			errs = append(errs, removeOld(o))
		case !o.packed:
			errs = append(errs, pack(ctx, o.path))
		default:
			errs = append(errs, removeIfThere(o.path))
		}
	}
	return errors.Join(errs...)
}

func removeOld(o old) error {
	return errors.Join(removeIfThere(o.path+packedExt), removeIfThere(o.path), removeIfThere(o.path+packedExt+halfExt))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// pack compresses the file at path. It is there, whole, at every moment: as it
// was or compressed.
func pack(ctx context.Context, path string) error {
	half := path + packedExt + halfExt
	if err := packInto(ctx, path, half); err != nil {
		return errors.Join(fmt.Errorf("compress %s: %w", path, err), removeIfThere(half))
	}
	if err := os.Rename(half, path+packedExt); err != nil {
		return err
	}
	if err := syncFolder(path); err != nil {
		return err
	}
	return os.Remove(path)
}

func packInto(ctx context.Context, path, half string) (err error) {
	src, err := os.Open(path)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(half, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, modeFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	z, err := gzip.NewWriterLevel(dst, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, reader{ctx, src}); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return dst.Sync()
}

// A reader reads until its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
