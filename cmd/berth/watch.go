package main

import (
	"context"
	"crypto/sha256"
	"os"
	"slices"
	"time"
)

const (
	watchInterval = time.Second
	// stableFor is how long files must stay as they are before they count as
	// written: an editor or a ConfigMap update takes several steps.
	stableFor = time.Second
)

// watchFiles calls changed after one of the files has changed and then stayed
// as it is for stableFor, until ctx ends. It looks instead of being told, which
// is right on every file system and through every kind of link.
func watchFiles(ctx context.Context, paths []string, changed func()) {
	w := newWatch(paths, time.Now())
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if w.look(now) {
				changed()
			}
		}
	}
}

type watch struct {
	paths   []string
	applied []string // contents that changed was last called for
	seen    []string // stamps at the last look
	since   time.Time
}

func newWatch(paths []string, now time.Time) *watch {
	w := &watch{paths: paths, since: now}
	w.applied, w.seen = w.contents(), w.stamps()
	return w
}

// look reports whether the files have been stable for long enough with other
// contents than before.
func (w *watch) look(now time.Time) bool {
	if stamps := w.stamps(); !slices.Equal(stamps, w.seen) {
		w.seen, w.since = stamps, now
		return false
	}
	if w.since.IsZero() || now.Sub(w.since) < stableFor {
		return false
	}
	w.since = time.Time{} // looked at; until the next change
	contents := w.contents()
	if slices.Equal(contents, w.applied) {
		return false
	}
	w.applied = contents
	return true
}

func (w *watch) stamps() []string {
	stamps := make([]string, len(w.paths))
	for i, path := range w.paths {
		stamps[i] = fileStamp(path)
	}
	return stamps
}

func (w *watch) contents() []string {
	sums := make([]string, len(w.paths))
	for i, path := range w.paths {
		data, err := os.ReadFile(path)
		if err != nil {
			sums[i] = err.Error()
			continue
		}
		sum := sha256.Sum256(data)
		sums[i] = string(sum[:])
	}
	return sums
}
