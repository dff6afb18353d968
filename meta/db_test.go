package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/oci"
)

var day = time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)

func mustUpdate(t *testing.T, db *DB, fn func(*Tx) error) {
	t.Helper()
	if err := db.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func mustView(t *testing.T, db *DB, fn func(*Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

// setting returns a setting, "" when it is not there.
func setting(t *testing.T, db *DB, name string) string {
	t.Helper()
	var value string
	mustView(t, db, func(tx *Tx) (err error) {
		value, err = tx.Setting(name)
		if errors.Is(err, ErrNotExist) {
			return nil
		}
		return err
	})
	return value
}

func TestOpenedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a?b#c d%20.db")
	for i := range 2 {
		db, err := OpenSQLite(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := setting(t, db, "a"), strings.Repeat("x", i); got != want {
			t.Errorf("opened for the %dth time: setting %q, want %q", i, got, want)
		}
		mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "x") })
		for _, suffix := range []string{"", "-wal"} {
			if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("file %q: %v, %v", suffix, info, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the log is still there: %v", err)
		}
		nothing := func(*Tx) error { return nil }
		if err := db.Update(t.Context(), nothing); !errors.Is(err, ErrClosed) {
			t.Errorf("Update after Close: %v", err)
		}
		if err := db.View(t.Context(), nothing); !errors.Is(err, ErrClosed) {
			t.Errorf("View after Close: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
	}
}

func TestTablesOfTheFuture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db, err := OpenSQLite(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, db, func(tx *Tx) error {
		_, err := tx.exec("test", `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
		return errors.Join(err, tx.PutSetting(minimumSetting, "99998"))
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenSQLite(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "99999") {
		t.Errorf("tables of version 99999: %v, %v", db, err)
	}
}

func TestDamagedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenSQLite(t.Context(), path, Options{}); !errors.Is(err, ErrDamaged) {
		t.Errorf("opened what is no database: %v", err)
	}
}

// TestDamagedPage: what is found to be damaged is not written to any more.
func TestDamagedPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	db, err := OpenSQLite(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, db, func(tx *Tx) error {
		for i := range 1000 {
			if err := tx.PutSetting(fmt.Sprint(i), strings.Repeat("x", 100)); err != nil {
				return err
			}
		}
		return nil
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for i := page; i < len(data); i += page {
		if bytes.Contains(data[i:i+page], []byte(strings.Repeat("x", 100))) {
			copy(data[i:], strings.Repeat("\xff", 64))
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err = OpenSQLite(t.Context(), path, Options{}); err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(t.Context(), func(tx *Tx) error {
		_, err := tx.Setting("500")
		return err
	})
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged page was read: %v", err)
	}
	err = db.Update(t.Context(), func(tx *Tx) error { return tx.PutSetting("new", "x") })
	if db.Degraded() == "" {
		t.Error("a damaged database is well")
	}
	if !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged database was written to: %v", err)
	}
}

func TestDurability(t *testing.T) {
	db := open(t)
	var journal string
	var synchronous, foreignKeys int
	mustUpdate(t, db, func(tx *Tx) error {
		return errors.Join(
			tx.row("test", "PRAGMA journal_mode", nil, &journal),
			tx.row("test", "PRAGMA synchronous", nil, &synchronous),
			tx.row("test", "PRAGMA foreign_keys", nil, &foreignKeys))
	})
	if journal != "wal" || synchronous != 2 || foreignKeys != 1 {
		t.Errorf("journal_mode %q, synchronous %d, foreign_keys %d", journal, synchronous, foreignKeys)
	}
}

// hold lets the writer wait in an update until the returned function is called.
func hold(db *DB) (release func() error) {
	held, gate := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- db.Update(context.Background(), func(*Tx) error {
			close(held)
			<-gate
			return nil
		})
	}()
	<-held
	return func() error {
		close(gate)
		return <-ended
	}
}

func TestUpdatesShareCommits(t *testing.T) { onEach(t, testUpdatesShareCommits) }

func testUpdatesShareCommits(t *testing.T, db *DB) {
	const n = 50
	release := hold(db)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if err := db.Update(t.Context(), func(tx *Tx) error { return tx.PutSetting(fmt.Sprint(i), "x") }); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // until they wait in line
	if err := release(); err != nil {
		t.Error(err)
	}
	all.Wait()
	if got := db.Stats(); got.Updates != n+1 || got.Commits > n/2 {
		t.Errorf("%d updates in %d commits", got.Updates, got.Commits)
	}
	for i := range n {
		if setting(t, db, fmt.Sprint(i)) != "x" {
			t.Errorf("update %d is not there", i)
		}
	}
}

func TestUpdatesThatFail(t *testing.T) { onEach(t, testUpdatesThatFail) }

func testUpdatesThatFail(t *testing.T, db *DB) {
	own := errors.New("mine")
	canceled, cancel := context.WithCancel(t.Context())
	release := hold(db)
	var all sync.WaitGroup
	update := func(ctx context.Context, name string, want error, after func()) {
		all.Go(func() {
			defer func() { _ = recover() }()
			err := db.Update(ctx, func(tx *Tx) error {
				err := tx.PutSetting(name, "x")
				after()
				return errors.Join(err, want)
			})
			if want != nil && !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	update(t.Context(), "first", nil, func() {})
	update(t.Context(), "fails", own, func() {})
	update(t.Context(), "panics", errors.New("did not panic"), func() { panic("oh") })
	update(canceled, "canceled", context.Canceled, func() { t.Error("called with a context that is over") })
	update(t.Context(), "last", nil, func() {})
	time.Sleep(20 * time.Millisecond)
	cancel()
	time.Sleep(20 * time.Millisecond)
	if err := release(); err != nil {
		t.Error(err)
	}
	all.Wait()
	for name, want := range map[string]string{"first": "x", "fails": "", "panics": "", "canceled": "", "last": "x"} {
		if got := setting(t, db, name); got != want {
			t.Errorf("%s: setting %q, want %q", name, got, want)
		}
	}
}

func TestPanicReachesTheCaller(t *testing.T) { onEach(t, testPanicReachesTheCaller) }

func testPanicReachesTheCaller(t *testing.T, db *DB) {
	for name, call := range map[string]func(context.Context, func(*Tx) error) error{"Update": db.Update, "View": db.View} {
		func() {
			defer func() {
				if recover() != "oh" {
					t.Errorf("%s did not panic", name)
				}
			}()
			_ = call(t.Context(), func(*Tx) error { panic("oh") })
		}()
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "x") })
	if setting(t, db, "a") != "x" {
		t.Error("nothing is written after a panic")
	}
}

func TestLostTransaction(t *testing.T) {
	db := open(t)
	release := hold(db)
	innocent := make(chan error, 1)
	go func() {
		innocent <- db.Update(t.Context(), func(tx *Tx) error { return tx.PutSetting("a", "x") })
	}()
	time.Sleep(20 * time.Millisecond)
	lost := make(chan error, 1)
	go func() {
		lost <- db.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.exec("test", "ROLLBACK") // what SQLite does by itself after an I/O error
			return err
		})
	}()
	time.Sleep(20 * time.Millisecond)
	if err := errors.Join(release(), <-lost); err == nil {
		t.Error("an update that lost its transaction was acknowledged")
	}
	if err := <-innocent; (err == nil) != (setting(t, db, "a") == "x") {
		t.Errorf("acknowledged with %v, and the setting is %q", err, setting(t, db, "a"))
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("b", "x") })
}

// TestFailedCommit: nobody in it is told that his update is durable.
func TestFailedCommit(t *testing.T) {
	db := open(t)
	release := hold(db)
	innocent := make(chan error, 1)
	go func() {
		innocent <- db.Update(t.Context(), func(tx *Tx) error { return tx.PutSetting("a", "x") })
	}()
	time.Sleep(20 * time.Millisecond)
	guilty := make(chan error, 1)
	go func() {
		guilty <- db.Update(t.Context(), func(tx *Tx) error {
			_, err := tx.exec("test", "PRAGMA defer_foreign_keys = ON") // COMMIT finds the fault
			return errors.Join(err, tx.PutTag(1, "latest", digest("none"), day))
		})
	}()
	time.Sleep(20 * time.Millisecond)
	for _, err := range []error{release(), <-innocent, <-guilty} {
		if !errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("Update = %v, want %v", err, ErrUnknownOutcome)
		}
	}
	if got := setting(t, db, "a"); got != "" {
		t.Errorf("setting %q after a failed commit", got)
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "y") })
	if got := setting(t, db, "a"); got != "y" {
		t.Errorf("setting %q after the next commit", got)
	}
}

func TestIgnoredErrorIsNotCommitted(t *testing.T) { onEach(t, testIgnoredErrorIsNotCommitted) }

func testIgnoredErrorIsNotCommitted(t *testing.T, db *DB) {
	err := db.Update(t.Context(), func(tx *Tx) error {
		_ = tx.PutSetting("a", "x")
		_ = tx.PutTag(1, "latest", oci.DigestOf(oci.SHA256, nil), day) // no such repository
		_ = tx.PutSetting("b", "x")
		return nil
	})
	if err == nil || setting(t, db, "a") != "" || setting(t, db, "b") != "" {
		t.Errorf("Update = %v, settings %q and %q", err, setting(t, db, "a"), setting(t, db, "b"))
	}
}

func TestViewCannotWrite(t *testing.T) { onEach(t, testViewCannotWrite) }

func testViewCannotWrite(t *testing.T, db *DB) {
	if err := db.View(t.Context(), func(tx *Tx) error { return tx.PutSetting("a", "x") }); err == nil {
		t.Error("a View wrote")
	}
}

func TestViewSeesOneState(t *testing.T) { onEach(t, testViewSeesOneState) }

func testViewSeesOneState(t *testing.T, db *DB) {
	mustView(t, db, func(tx *Tx) error {
		if _, err := tx.Setting("a"); !errors.Is(err, ErrNotExist) {
			t.Errorf("Setting = %v", err)
		}
		mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "x") })
		if _, err := tx.Setting("a"); !errors.Is(err, ErrNotExist) {
			t.Errorf("Setting after another wrote it = %v", err)
		}
		return nil
	})
}

func TestFullDisk(t *testing.T) {
	db := open(t)
	mustUpdate(t, db, func(tx *Tx) error {
		var n int
		return tx.row("test", "PRAGMA max_page_count = 1", nil, &n) // no page more than there are
	})
	err := db.Grow(t.Context(), func(tx *Tx) error { return tx.PutSetting("a", strings.Repeat("x", 1<<20)) })
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("on a full disk: %v, want %v", err, ErrNoSpace)
	}
	mustUpdate(t, db, func(tx *Tx) error { // of the connection of before, if it is still there
		var n int
		return tx.row("test", "PRAGMA max_page_count = 1000000", nil, &n)
	})
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("a", "x") })
}
