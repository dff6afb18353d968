package local

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// markRestore begins another epoch, as a restore does.
func markRestore(t *testing.T, r *Registry, backup time.Time) error {
	t.Helper()
	return r.db.Update(t.Context(), func(tx *meta.Tx) error {
		return BeginEpoch(t.Context(), r.store, tx, backup, r.o.Now())
	})
}

func backUp(t *testing.T, r *Registry, o BackupOptions) registry.Backup {
	t.Helper()
	o.Dir = t.TempDir()
	b, err := r.Backup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return b
}

// restoreInto makes a database from a backup, and opens a registry on it and store.
func restoreInto(t *testing.T, r *Registry, from io.Reader, now time.Time) (*Registry, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth.db")
	_, err := meta.LoadSQLite(t.Context(), path, from, meta.Loading{Finish: func(tx *meta.Tx, h meta.DumpHeader) error {
		return BeginEpoch(t.Context(), r.store, tx, h.Created, now)
	}})
	if err != nil {
		return nil, err
	}
	db, err := meta.OpenSQLite(t.Context(), path, meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return openRegistry(t, r.store, db, Options{Now: r.o.Now}), nil
}

// TestBackupAndRestore: what was there at the backup is there after the restore;
// what came later has no names, and keeps its bytes whatever the sweep does.
func TestBackupAndRestore(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "before")
	started := start(t, r, repo)
	write(t, started, "in flight")
	suspend(t, started)
	b := backUp(t, r, BackupOptions{Keep: 3, Days: 3})
	c.hours(1)
	later := push(t, r, repo, "later")
	if _, err := resume(t, r, started.ID()).Commit(t.Context(), digest("in flight")); err != nil {
		t.Fatal(err)
	}
	before := keys(t, r.store)
	c.hours(1)

	in, err := OpenBackup(t.Context(), r.store, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	back, err := restoreInto(t, r, in, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(back, repo, digest("before"), 0, -1); got != "before" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	wantGone(t, back, repo, "later", "in flight")
	c.hours(20) // before the lease of the blob ends
	for range 3 {
		sweepWith(t, back, SweepOptions{Aside: time.Nanosecond})
		if _, err := back.ReapUploads(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.hours(1)
	}
	if got := keys(t, r.store); !containsAll(got, before) {
		t.Errorf("bytes of what was pushed after the backup are gone: %q, were %q", got, before)
	}
	if push(t, back, repo, "later") != later {
		t.Error("pushed again, it has another digest")
	}
	if _, err := r.Sweep(t.Context(), SweepOptions{}); !errors.Is(err, ErrEpoch) {
		t.Errorf("with the database from before the restore: %v", err)
	}
}

func containsAll(got, want []string) bool {
	have := make(map[string]bool)
	for _, s := range got {
		have[s] = true
	}
	for _, s := range want {
		if !have[s] {
			return false
		}
	}
	return true
}

func TestRestoreOfAnotherRegistry(t *testing.T) {
	r, c := swept(t)
	other, _ := swept(t)
	b := backUp(t, other, BackupOptions{Keep: 1, Days: 1})
	in, err := OpenBackup(t.Context(), other.store, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := restoreInto(t, r, in, c.Now()); !errors.Is(err, ErrInstance) {
		t.Errorf("got %v", err)
	}
}

// TestBackupsAreThinnedOut: nothing is made when nothing has changed, the newest
// stay, and one of each day.
func TestBackupsAreThinnedOut(t *testing.T) {
	c := newClock()
	c.now = time.Date(2026, 5, 1, 0, 30, 0, 0, time.UTC)
	r := openRegistry(t, memory.New(), openDB(t), Options{Now: c.Now})
	o := BackupOptions{Keep: 3, Days: 2}
	first := backUp(t, r, o)
	c.hours(1)
	if again := backUp(t, r, o); !again.Unchanged || again.Name != first.Name {
		t.Errorf("nothing has changed: %+v", again)
	}
	removed := 0
	for i := range 60 {
		c.hours(1)
		push(t, r, oci.Name("team/app"+strings.Repeat("a", i)), "x")
		removed += len(backUp(t, r, o).Removed)
	}
	w, err := r.store.Create(t.Context(), "backup/20260501T000000Z-0123456789abcdef") // by who was killed
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "half"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.hours(1)
	push(t, r, "last", "x")
	removed += len(backUp(t, r, o).Removed)
	list, err := Backups(t.Context(), r.store)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, b := range list {
		names = append(names, b.Name[:len("20260501T00")])
		if b.Size == 0 {
			t.Errorf("%+v", b)
		}
	}
	// It ends on the 3rd at 14:30, two days after 14:30 on the 1st.
	if diff := cmp.Diff([]string{"20260501T23", "20260502T23", "20260503T12", "20260503T13", "20260503T14"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if removed != 62-len(names) {
		t.Errorf("%d are said to be removed", removed)
	}
	for _, key := range keys(t, r.store) {
		if strings.HasPrefix(key, "backup/20260501T00") {
			t.Errorf("%s stays", key)
		}
	}
}

func TestBackupToAFile(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "x")
	path := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(path+".part", []byte("of one that was killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	b, err := r.BackupTo(t.Context(), path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || info.Size() != b.Size || info.Mode().Perm() != 0o600 {
		t.Fatalf("%+v, %v; %v, %v", b, err, info, statErr)
	}
	if _, err := r.BackupTo(t.Context(), path); err == nil {
		t.Error("a file was overwritten")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := r.BackupTo(ended, path+"2"); err == nil {
		t.Error("a backup without time is one")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("there are %v", left)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	back, err := restoreInto(t, r, f, c.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(back, repo, digest("x"), 0, -1); got != "x" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
