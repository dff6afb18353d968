package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"berth/blob"
	"berth/meta"
	"berth/registry"
)

// backups is where the store keeps backups of the database: beside the blobs, so
// that no digest leads to one.
const backups = "backup/"

// BackupOptions are the choices of Backup.
type BackupOptions struct {
	Dir string // on the disk, for what is on its way to the store
	// Keep is how many of the newest backups stay, and Days for how many days the
	// newest of each.
	Keep, Days int
}

const (
	backupTime = "20060102T150405Z"
	// contentDigits of the digest of what a backup holds end its name.
	contentDigits = 16
)

var backupName = regexp.MustCompile(`^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{16}$`)

// Backup writes a backup of the database to the store, unless the newest one there
// holds the same, and removes those that are too many. One at a time may work: what
// another one has left unfinished is removed.
//
// No transaction is open while the store takes it: it is gathered in a file that
// has no name and goes with the process.
func (r *Registry) Backup(ctx context.Context, o BackupOptions) (registry.Backup, error) {
	there, err := Backups(ctx, r.store)
	if err != nil {
		return registry.Backup{}, err
	}
	f, err := os.CreateTemp(o.Dir, ".berth-backup-*")
	if err != nil {
		return registry.Backup{}, fmt.Errorf("make a file for a backup on its way: %w", err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		return registry.Backup{}, fmt.Errorf("make a file for a backup on its way: %w", err)
	}
	report, err := r.db.Dump(ctx, f, r.o.Now())
	if err != nil {
		return registry.Backup{}, err
	}
	content := report.Content[:contentDigits]
	if n := len(there); n > 0 && strings.HasSuffix(there[n-1].Name, "-"+content) {
		b := there[n-1]
		b.Unchanged = true
		return b, nil
	}
	b := registry.Backup{Name: report.Created.Format(backupTime) + "-" + content, Created: report.Created}
	if b.Size, err = r.storeFile(ctx, backups+b.Name, f); err != nil {
		return b, fmt.Errorf("write the backup to the blob store: %w", err)
	}
	b.Removed, err = r.thinOut(ctx, append(there, b), o)
	return b, err
}

// storeFile commits a file under a new key, or leaves nothing there.
func (r *Registry) storeFile(ctx context.Context, key string, f *os.File) (int64, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	w, err := r.store.Create(ctx, key)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(w, f)
	var info blob.Info
	if err == nil {
		info, err = w.Commit(ctx)
	}
	if err != nil {
		return 0, errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	return info.Size, nil
}

// Backups returns the backups in a store, the oldest first. What was not finished
// is not among them.
func Backups(ctx context.Context, store blob.Store) ([]registry.Backup, error) {
	var list []registry.Backup
	err := store.List(ctx, backups, func(e blob.Entry) bool {
		name, ok := strings.CutPrefix(e.Key, backups)
		if !ok {
			return false
		}
		if backupName.MatchString(name) {
			created, err := time.Parse(backupTime, name[:len(backupTime)])
			if err == nil {
				list = append(list, registry.Backup{Name: name, Created: created, Size: e.Size})
			}
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	committed := list[:0]
	for _, b := range list {
		o, err := store.Open(ctx, backups+b.Name)
		if errors.Is(err, blob.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open backup %s: %w", b.Name, err)
		}
		b.Size = o.Info().Size
		if err := o.Close(); err != nil {
			return nil, err
		}
		committed = append(committed, b)
	}
	return committed, nil
}

// OpenBackup opens a backup in a store. Errors: blob.ErrNotExist.
func OpenBackup(ctx context.Context, store blob.Store, name string) (io.ReadCloser, error) {
	if !backupName.MatchString(name) {
		return nil, fmt.Errorf("open backup %q: %w", name, blob.ErrNotExist)
	}
	o, err := store.Open(ctx, backups+name)
	if err != nil {
		return nil, fmt.Errorf("open backup %s: %w", name, err)
	}
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read backup %s: %w", name, err), o.Close())
	}
	return &openObject{rc, o}, nil
}

// An openObject is a reader of an object, which closes both.
type openObject struct {
	io.ReadCloser
	object blob.Object
}

func (o *openObject) Close() error { return errors.Join(o.ReadCloser.Close(), o.object.Close()) }

// thinOut removes the backups that are too many, and what was not finished. list
// ends with the newest one.
func (r *Registry) thinOut(ctx context.Context, list []registry.Backup, o BackupOptions) (removed []string, err error) {
	stay := staying(list, o, r.o.Now())
	var gone []string
	err = r.store.List(ctx, backups, func(e blob.Entry) bool {
		name, ok := strings.CutPrefix(e.Key, backups)
		if ok && backupName.MatchString(name) && !stay[name] {
			gone = append(gone, name)
		}
		return ok
	})
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	for _, name := range gone {
		if err := r.store.Delete(ctx, backups+name); err != nil {
			return removed, fmt.Errorf("remove backup %s: %w", name, err)
		}
		if slices.ContainsFunc(list, func(b registry.Backup) bool { return b.Name == name }) {
			removed = append(removed, name)
		}
	}
	return removed, nil
}

// staying returns the names of the backups that stay.
func staying(list []registry.Backup, o BackupOptions, now time.Time) map[string]bool {
	stay := make(map[string]bool)
	days := make(map[string]bool)
	for i := len(list) - 1; i >= 0; i-- {
		b := list[i]
		day := b.Created.Format(time.DateOnly)
		newest := !days[day]
		days[day] = true
		recent := b.Created.After(now.AddDate(0, 0, -o.Days))
		if i == len(list)-1 || len(list)-i <= o.Keep || newest && recent {
			stay[b.Name] = true
		}
	}
	return stay
}

// BackupTo writes a backup of the database to a file that is not there yet, which
// its owner alone can read. When it returns nil, the file is durable.
func (r *Registry) BackupTo(ctx context.Context, path string) (b registry.Backup, err error) {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return b, fmt.Errorf("%s is there already, or cannot be looked at: name another file", path)
	}
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return b, fmt.Errorf("write a backup: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
		}
	}()
	var report meta.DumpReport
	if err = f.Chmod(0o600); err == nil {
		report, err = r.db.Dump(ctx, f, r.o.Now())
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return b, err
	}
	if err := os.Rename(part, path); err != nil {
		return b, fmt.Errorf("write a backup: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	info, statErr := os.Stat(path)
	if err = errors.Join(err, statErr); err != nil {
		return b, fmt.Errorf("make the backup durable: %w", err)
	}
	return registry.Backup{Name: path, Created: report.Created, Size: info.Size()}, nil
}
