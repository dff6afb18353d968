package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openLog opens a log whose time is that of the test, and closes it with it.
func openLog(t *testing.T, path string, o Options) *Log {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// targets returns the targets of the events that a query finds, and fails when
// as many lines as said are not broken.
func targets(t *testing.T, path string, f Filter, broken int) []string {
	t.Helper()
	var got []string
	n, err := Query(t.Context(), path, f, func(e Event) error {
		got = append(got, e.Target)
		return nil
	})
	if err != nil || n != broken {
		t.Errorf("query: %d broken lines, want %d: %v", n, broken, err)
	}
	return got
}

func numbers(from, to int) []string {
	var all []string
	for i := from; i < to; i++ {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

// add records a change of that number.
func add(l *Log, i int) { l.Record(Event{Kind: UserAdd, Target: fmt.Sprint(i)}) }

func TestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit", "audit.log")
		l := openLog(t, path, Options{})
		add(l, 0)
		time.Sleep(pace + time.Millisecond)
		if got := targets(t, path, Filter{}, 0); !slices.Equal(got, numbers(0, 1)) {
			t.Errorf("after %v: %q", pace, got)
		}
		time.Sleep(time.Hour) // without work
		for i := 1; i < 1000; i++ {
			add(l, i)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := targets(t, path, Filter{}, 0); !slices.Equal(got, numbers(0, 1000)) {
			t.Errorf("after the end: %d events", len(got))
		}
		if s := l.Stats(); s != (Stats{Recorded: 1000}) {
			t.Errorf("%+v", s)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		add(l, 1000) // does nothing
	})
}

// TestSync: what was recorded a second ago is on the disk. The file system
// cannot be asked, but the writer has nothing left to do.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := openFile(filepath.Join(t.TempDir(), "audit.log"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		l := &Log{o: Options{Now: time.Now, MaxSize: DefaultMaxSize, MaxAge: DefaultMaxAge, MaxFiles: 1}}
		w := &writer{log: l, file: f, folds: newFolder()}
		defer f.close()
		w.take(&Event{Time: time.Now(), Kind: Push})
		began := time.Now()
		for w.tick() {
			time.Sleep(pace)
		}
		if took := time.Since(began); took == 0 || took > time.Second || !w.unsynced.IsZero() {
			t.Errorf("synced after %v", took)
		}
	})
}

func TestNilLog(t *testing.T) {
	var l *Log
	l.Record(Event{Kind: Push})
	if l.Degraded() != "" || l.Stats() != (Stats{}) || l.Path() != "" || l.Close() != nil {
		t.Error("a nil log does something")
	}
}

func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "audit.log")
		const lines = 400
		for run := range 2 { // the second goes on with what the first has left
			l := openLog(t, path, Options{MaxSize: 1000, MaxFiles: 5})
			for i := range lines / 2 {
				add(l, run*lines/2+i)
				time.Sleep(pace)
			}
			synctest.Wait()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		openLog(t, path, Options{MaxSize: 1000, MaxFiles: 5})
		synctest.Wait() // it has tidied up
		olds, err := rotated(path)
		if err != nil || len(olds) != 5 {
			t.Fatalf("%d old files, want 5: %v", len(olds), err)
		}
		for _, o := range olds {
			if !o.packed {
				t.Errorf("%s is not compressed", o.path)
			}
		}
		got := targets(t, path, Filter{}, 0)
		if want := numbers(lines-len(got), lines); len(got) < 5*10 || !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 6 {
			t.Errorf("%v, %v", entries, err)
		}
	})
}

// TestAge: on a quiet registry files are closed by their age, and go by it.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := openLog(t, path, Options{MaxAge: 20 * time.Hour, MaxFiles: 20})
		for i := range 48 {
			add(l, i)
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		got := targets(t, path, Filter{}, 0)
		if want := numbers(48-len(got), 48); len(got) < 20 || len(got) > 22 || !slices.Equal(got, want) {
			t.Errorf("after two days: %q", got)
		}
	})
}

// TestCutLine: a crash has cut the last line. It is lost, and no other.
func TestCutLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		whole := string(Event{Time: noon, Kind: UserAdd, Target: "0"}.Line())
		text := whole + strings.Repeat("x", 3*maxLine) + "\n" + "\n" + whole[:len(whole)/2]
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := targets(t, path, Filter{}, 2); !slices.Equal(got, numbers(0, 1)) {
			t.Errorf("before: %q", got)
		}
		l := openLog(t, path, Options{Now: func() time.Time { return noon }})
		add(l, 1)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := targets(t, path, Filter{}, 3); !slices.Equal(got, numbers(0, 2)) {
			t.Errorf("after: %q", got)
		}
	})
}

// TestMoved: another program puts the file aside.
func TestMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := openLog(t, path, Options{})
		add(l, 0)
		time.Sleep(time.Second)
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		add(l, 1)
		time.Sleep(time.Second)
		if got := targets(t, path, Filter{}, 0); !slices.Equal(got, numbers(1, 2)) {
			t.Errorf("at the path: %q", got)
		}
		if got := targets(t, path+".1", Filter{}, 0); !slices.Equal(got, numbers(0, 1)) {
			t.Errorf("aside: %q", got)
		}
	})
}

func TestHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openLog(t, path, Options{})
	if _, err := Open(path, Options{}); !errors.Is(err, errHeld) {
		t.Errorf("opened twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	openLog(t, path, Options{})
}

// TestQueueFull: the writer does not come after.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Log{queue: make(chan *Event, 1), done: make(chan struct{}), o: Options{Now: time.Now}}
		add(l, 0)
		began := time.Now()
		for _, kind := range []Kind{Login, Token, Refused, Pull} {
			l.Record(Event{Kind: kind})
		}
		if took := time.Since(began); took != 0 || l.Stats().Dropped != 4 {
			t.Errorf("%+v after %v", l.Stats(), took)
		}
		l.Record(Event{Kind: Push})
		if took := time.Since(began); took != maxWait || l.Stats().Dropped != 5 {
			t.Errorf("a push: %+v after %v", l.Stats(), took)
		}
		var pushing sync.WaitGroup
		pushing.Go(func() { l.Record(Event{Kind: Push, Target: "late"}) })
		time.Sleep(maxWait / 2)
		<-l.queue
		pushing.Wait()
		if e := <-l.queue; e.Target != "late" || l.Stats().Dropped != 5 {
			t.Errorf("a push that found a place: %+v, %+v", e, l.Stats())
		}
	})
}

// TestDroppedAreTold: a line says how many are missing.
func TestDroppedAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := openLog(t, path, Options{})
		for range 2 {
			l.dropped.Add(3)
			add(l, 0)
			time.Sleep(time.Second)
		}
		var counts []int
		if _, err := Query(t.Context(), path, Filter{Kind: Dropped}, func(e Event) error {
			counts = append(counts, e.Count)
			return nil
		}); err != nil || !slices.Equal(counts, []int{3, 3}) {
			t.Errorf("%v, %v", counts, err)
		}
	})
}

// TestNoPlace: what cannot be made is an error that says where.
func TestNoPlace(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "file", "audit.log"), dir} {
		if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), path) && !strings.Contains(err.Error(), filepath.Dir(path)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Query(t.Context(), filepath.Join(dir, "none", "audit.log"), Filter{}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}

// TestTogether records from many goroutines, and closes in between.
func TestTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := openLog(t, path, Options{MaxSize: 20_000})
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 200 {
				l.Record(Event{Kind: Push, User: fmt.Sprint("user", g), Target: fmt.Sprint(i)})
				l.Record(Event{Kind: Refused, User: fmt.Sprint("user", g)})
			}
		})
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for g := range 8 {
		if got := targets(t, path, Filter{User: fmt.Sprint("user", g), Kind: Push}, 0); !slices.Equal(got, numbers(0, 200)) {
			t.Errorf("of user%d: %d events", g, len(got))
		}
	}
	if s := l.Stats(); s.Dropped != 0 || s.Recorded != 8*400 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkRecord(b *testing.B) {
	l, err := Open(filepath.Join(b.TempDir(), "audit.log"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	e := Event{Kind: Refused, Result: Denied, User: "alice", Address: address(1), Repository: "team/app", Reason: "no rule allows it", Agent: "docker/28"}
	b.ReportAllocs()
	for b.Loop() {
		l.Record(e)
	}
}
