package audit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestFullDisk: while the disk takes nothing, recording goes on and the log says
// what is wrong. When there is room again, nothing is missing but what was more
// than could wait.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("only root can mount a small disk: ", err)
		}
		t.Skip("only root can mount a small disk: ", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "audit.log")
		l, err := Open(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		add(l, 0)
		time.Sleep(time.Second)
		filler := filepath.Join(dir, "filler")
		if err := os.WriteFile(filler, make([]byte, 128<<10), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
		const events = 100 // whose lines are more than what is left of a page
		for i := 1; i < events; i++ {
			add(l, i)
		}
		time.Sleep(2 * time.Second)
		if problem := l.Degraded(); !strings.Contains(problem, "no space left") {
			t.Errorf("degraded: %q", problem)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if problem := l.Degraded(); problem != "" {
			t.Errorf("degraded: %q", problem)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := targets(t, path, Filter{}, 0); !slices.Equal(got, numbers(0, events)) {
			t.Errorf("%d events: %q", len(got), got)
		}
	})
}

// TestFullForLong: what waits for a disk has an end, and what is over it is
// counted.
func TestFullForLong(t *testing.T) {
	w := &writer{log: new(Log), folds: newFolder()}
	for w.log.dropped.Load() < 2 {
		w.add(&Event{Time: noon, Kind: UserAdd, Reason: strings.Repeat("x", 500)})
	}
	if len(w.lines) > maxBytes+maxLine {
		t.Errorf("%d bytes wait", len(w.lines))
	}
}
