package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWatchWaitsUntilFilesAreStable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yml")
	write := func(content string, at time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	write("one", now)
	w := newWatch([]string{path}, now)

	look := func(after time.Duration, want bool, when string) {
		t.Helper()
		now = now.Add(after)
		if got := w.look(now); got != want {
			t.Errorf("%s: look = %v, want %v", when, got, want)
		}
	}
	look(2*time.Second, false, "nothing has changed")
	write("half", now)
	look(time.Second, false, "just changed")
	write("two", now)
	look(time.Second, false, "changed again meanwhile")
	look(time.Second, true, "stable for a second")
	look(time.Second, false, "already told")
	write("two", now)
	look(time.Second, false, "touched")
	look(2*time.Second, false, "touched, with the same contents")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	look(time.Second, false, "just removed")
	look(time.Second, true, "gone for a second")
}
