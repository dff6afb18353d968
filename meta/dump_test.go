package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func mustDump(t *testing.T, db *DB) ([]byte, DumpReport) {
	t.Helper()
	var b bytes.Buffer
	report, err := db.Dump(t.Context(), &b, day)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), report
}

// contents returns the rows of a dump, sorted, but for leases, without the
// difference between truth values and numbers.
func contents(t *testing.T, dump []byte) []string {
	t.Helper()
	in, err := newDumpReader(bytes.NewReader(dump))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var at *dumpTable
	for {
		table, row, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			slices.Sort(lines)
			return lines
		case err != nil:
			t.Fatal(err)
		case table != nil:
			at = table
			continue
		}
		var cells []string
		for i, v := range row {
			if truth, ok := v.(bool); ok {
				v = int64(0)
				if truth {
					v = int64(1)
				}
			}
			cells = append(cells, fmt.Sprintf("%s=%T %q", at.Columns[i], v, fmt.Sprint(v)))
		}
		slices.Sort(cells)
		lines = append(lines, at.Name+": "+strings.Join(cells, " "))
	}
}

func loadSQLite(t *testing.T, dump []byte, path string, o Loading) (Loaded, error) {
	t.Helper()
	return LoadSQLite(t.Context(), path, bytes.NewReader(dump), o)
}

// TestDump: what is dumped from either database is what is in the other one
// afterwards, and goes on from there.
func TestDump(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		fill(t, db)
		dump, report := mustDump(t, db)
		want := contents(t, dump)
		if report.Rows != int64(len(want)) || report.Rows < 20 || !report.Created.Equal(day) {
			t.Errorf("report: %+v; %d rows", report, len(want))
		}
		if _, again := mustDump(t, db); again.Content != report.Content {
			t.Error("nothing has changed, and the content is another one")
		}

		path := filepath.Join(t.TempDir(), "berth.db")
		var told DumpHeader
		loaded, err := loadSQLite(t, dump, path, Loading{Finish: func(tx *Tx, h DumpHeader) error {
			told = h
			mark, err := tx.Setting("instance")
			return errors.Join(err, tx.PutSetting("found", mark))
		}})
		if err != nil || loaded.Aside != "" || told != report.DumpHeader {
			t.Fatalf("%+v, %v; told %+v", loaded, err, told)
		}
		sqlite, err := OpenSQLite(t.Context(), path, Options{})
		closedAfter(t, sqlite, err)
		s := shared.Server(t)
		o := PostgresOptions{URL: s.URL(s.Database(t))}
		if loaded, err := LoadPostgres(t.Context(), o, bytes.NewReader(dump), Loading{Finish: func(tx *Tx, _ DumpHeader) error {
			return tx.PutSetting("found", "mark")
		}}); err != nil || loaded.Aside != "" {
			t.Fatalf("%+v, %v", loaded, err)
		}
		for _, to := range []*DB{sqlite, openURL(t, o.URL)} {
			mustUpdate(t, to, func(tx *Tx) error {
				if found, err := tx.Setting("found"); err != nil || found != "mark" {
					t.Errorf("what was done at the end: %q, %v", found, err)
				}
				_, err := tx.exec("test", `DELETE FROM settings WHERE name = 'found'`)
				return err
			})
			got, _ := mustDump(t, to)
			// The one database takes texts that the other one does not.
			clean := strings.NewReplacer(`\x00`, "\uFFFD", `\xff`, "\uFFFD")
			var a, b []string
			for _, line := range want {
				a = append(a, clean.Replace(line))
			}
			for _, line := range contents(t, got) {
				b = append(b, clean.Replace(line))
			}
			slices.Sort(a)
			slices.Sort(b)
			if diff := cmp.Diff(a, b); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			wantUsage(t, to, "a", 6, 2)
			putManifest(t, to, "d", "new", Manifest{}) // under numbers of its own
		}
	})
}

// TestDumpUnderLoad: a dump is one state, and nobody waits for it.
func TestDumpUnderLoad(t *testing.T) {
	onEach(t, func(t *testing.T, db *DB) {
		ctx, stop := context.WithCancel(t.Context())
		var writing sync.WaitGroup
		writing.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				err := db.Update(context.Background(), func(tx *Tx) error {
					return errors.Join(tx.PutSetting("one", fmt.Sprint(i)), tx.PutSetting("two", fmt.Sprint(i)))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
		defer func() { stop(); writing.Wait() }()
		for range 5 {
			before := db.Stats().Updates
			var dump bytes.Buffer
			slow := writerFunc(func(p []byte) (int, error) {
				for db.Stats().Updates < before+20 && t.Context().Err() == nil {
					continue // until others have written meanwhile
				}
				return dump.Write(p)
			})
			if _, err := db.Dump(t.Context(), slow, day); err != nil {
				t.Fatal(err)
			}
			values := make(map[string]bool)
			for _, line := range contents(t, dump.Bytes()) {
				if strings.Contains(line, `name=string "one"`) || strings.Contains(line, `name=string "two"`) {
					_, value, _ := strings.Cut(line, "value=")
					values[value] = true
				}
			}
			if len(values) > 1 {
				t.Errorf("two states in one dump: %v", values)
			}
		}
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestDamagedDumps: whatever is cut off or flipped, nothing is taken of it.
func TestDamagedDumps(t *testing.T) {
	db := open(t)
	fill(t, db)
	dump, _ := mustDump(t, db)
	path := filepath.Join(t.TempDir(), "berth.db")
	damaged := map[string][]byte{
		"empty":  nil,
		"other":  []byte("SQLite format 3\x00"),
		"longer": append(slices.Clone(dump), 0),
	}
	for i := 1; i < len(dump); i += 1 + len(dump)/20 {
		flipped := slices.Clone(dump)
		flipped[i] ^= 0x10
		damaged[fmt.Sprint("cut at ", i)], damaged[fmt.Sprint("flipped at ", i)] = dump[:i], flipped
	}
	damaged["last byte"] = dump[:len(dump)-1]
	for name, data := range damaged {
		if name == "flipped at "+fmt.Sprint(1+len(dumpMagic)+3) {
			continue
		}
		if _, err := loadSQLite(t, data, path, Loading{}); err == nil && !bytes.Equal(gzipHeaderless(data), gzipHeaderless(dump)) {
			t.Errorf("%s: it was taken", name)
		}
		if err := removeSQLite(path); err != nil {
			t.Error(err)
		}
	}
	if _, err := loadSQLite(t, dump[:len(dump)/2], path, Loading{}); !errors.Is(err, ErrDump) {
		t.Errorf("half a dump: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// gzipHeaderless returns a dump without the ten bytes before its compressed data,
// of which nothing depends.
func gzipHeaderless(dump []byte) []byte {
	if len(dump) < len(dumpMagic)+10 {
		return nil
	}
	return dump[len(dumpMagic)+10:]
}

// TestLoadOverOthers puts a database aside that is in use only when it is forced
// to, and brings one of an older version up to date.
func TestLoadOverOthers(t *testing.T) {
	from := open(t)
	fill(t, from)
	dump, _ := mustDump(t, from)
	stranger := errors.New("it is another one's")

	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "berth.db")
		db, err := OpenSQLite(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(put(db, "instance", "old"), db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := loadSQLite(t, dump, path, Loading{}); !errors.Is(err, ErrNotEmpty) {
			t.Errorf("over another one: %v", err)
		}
		refuse := func(*Tx, DumpHeader) error { return stranger }
		if _, err := loadSQLite(t, dump, path, Loading{Force: true, Finish: refuse}); !errors.Is(err, stranger) {
			t.Errorf("refused: %v", err)
		}
		if got := instanceIn(t, path); got != "old" {
			t.Errorf("after a load that failed: %q", got)
		}
		loaded, err := loadSQLite(t, dump, path, Loading{Force: true, Now: day})
		if err != nil || instanceIn(t, path) != "mark" || instanceIn(t, loaded.Aside) != "old" {
			t.Errorf("%+v, %v", loaded, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	})

	t.Run("postgres", func(t *testing.T) {
		s := shared.Server(t)
		o := PostgresOptions{URL: s.URL(s.Database(t))}
		db, err := OpenPostgres(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := put(db, "instance", "old"); err != nil {
			t.Fatal(err)
		}
		load := func(force bool) (Loaded, error) {
			return LoadPostgres(t.Context(), o, bytes.NewReader(dump), Loading{Force: force, Now: day})
		}
		if _, err := load(true); err == nil || !strings.Contains(err.Error(), "stop all of them") {
			t.Errorf("beside a node: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		eventuallyNil(t, func() error {
			if _, err := load(false); !errors.Is(err, ErrNotEmpty) {
				return fmt.Errorf("over another one: %w", err)
			}
			return nil
		})
		loaded, err := load(true)
		if err != nil || !strings.HasPrefix(loaded.Aside, "replaced_") {
			t.Fatalf("%+v, %v", loaded, err)
		}
		to := openURL(t, o.URL)
		err = to.View(t.Context(), func(tx *Tx) error {
			mark, err := tx.Setting("instance")
			if mark != "mark" {
				t.Errorf("the mark is %q", mark)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func instanceIn(t *testing.T, path string) (mark string) {
	t.Helper()
	db, err := OpenSQLite(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(t.Context(), func(tx *Tx) (err error) {
		mark, err = tx.Setting("instance")
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return mark
}

// eventuallyNil tries until it works: a server notices a little later that somebody
// has gone.
func eventuallyNil(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for range 100 {
		if err = try(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(err)
}
