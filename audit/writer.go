package audit

import (
	"errors"
	"time"
)

// A writer is the one goroutine that writes the file.
type writer struct {
	log   *Log
	file  *file
	folds *folder
	lines []byte // that are not written yet

	unsynced time.Time // when the first line was written that is not synced; zero: none is
	told     uint64    // of the events that were dropped: those that a line tells of
	rotateAt time.Time // not before, after a failure
}

// run writes what is recorded, until the Log is closed. It sleeps while there is
// nothing to do.
func (w *writer) run() {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	awake := true
	for {
		select {
		case e := <-w.log.queue:
			w.take(e)
			if !awake {
				timer.Reset(pace)
				awake = true
			}
		case <-timer.C:
			if awake = w.tick(); awake {
				timer.Reset(pace)
			}
		case <-w.log.done:
			w.finish()
			return
		}
	}
}

// take makes e a line, or a part of one.
func (w *writer) take(e *Event) {
	if w.folds.takes(e, w.log.o.Now()) {
		return
	}
	w.add(e)
	if len(w.lines) >= maxBatch && w.log.Degraded() == "" {
		w.log.report(w.write())
	}
}

// add adds the line of e to those that wait. Where the disk takes none, there
// is an end to waiting.
func (w *writer) add(e *Event) {
	if len(w.lines) > maxBytes {
		w.log.dropped.Add(uint64(max(e.Count, 1)))
		return
	}
	w.lines = appendLine(w.lines, e)
}

// tick does what is due, and reports whether something will be.
func (w *writer) tick() bool {
	now := w.log.o.Now()
	w.folds.expire(now, false, w.add)
	w.tellDropped(now)
	w.log.report(w.flush(now))
	return len(w.lines) > 0 || !w.unsynced.IsZero() || len(w.folds.open) > 0
}

// flush writes the lines that wait, and syncs those that have waited for it.
func (w *writer) flush(now time.Time) error {
	if len(w.lines) > 0 {
		if err := w.write(); err != nil {
			return err
		}
	}
	if w.unsynced.IsZero() || now.Sub(w.unsynced) < syncPace && w.log.Degraded() == "" {
		return nil
	}
	if err := w.file.f.Sync(); err != nil {
		return err
	}
	w.unsynced = time.Time{}
	return nil
}

// tellDropped adds a line about the events that were dropped since the last.
func (w *writer) tellDropped(now time.Time) {
	dropped := w.log.dropped.Load()
	if dropped == w.told || len(w.lines) > maxBytes {
		return
	}
	w.add(&Event{Time: now, Kind: Dropped, Result: Error, Count: int(dropped - w.told), Reason: "they came faster than the disk took them"})
	w.told = dropped
}

// write writes the lines that wait. What the disk does not take goes on waiting.
func (w *writer) write() error {
	now := w.log.o.Now()
	w.rotate(now)
	n, err := w.file.write(w.lines, now)
	if n > 0 && w.unsynced.IsZero() {
		w.unsynced = now
	}
	w.lines = append(w.lines[:0], w.lines[n:]...)
	if cap(w.lines) > 2*maxBatch && len(w.lines) < maxBatch {
		w.lines = append(make([]byte, 0, maxBatch), w.lines...)
	}
	return err
}

// rotate goes on with a new file, where the one there is has been moved away, is
// large enough, or old enough. When that fails the old one has to do.
func (w *writer) rotate(now time.Time) {
	var err error
	o := w.log.o
	switch f := w.file; {
	case now.Before(w.rotateAt):
		return
	case f.moved():
		err = f.reopen(now)
	case f.size >= o.MaxSize, f.size > 0 && now.Sub(f.began) >= o.MaxAge/time.Duration(o.MaxFiles):
		err = f.rotate(now)
	default:
		return
	}
	if err != nil {
		w.rotateAt = now.Add(retryRotate)
		w.log.o.Log.Error("begin a new file of the audit log", "error", err)
		return
	}
	select {
	case w.log.untidy <- struct{}{}:
	default: // it is known already
	}
}

// finish writes all that was recorded, and closes the file.
func (w *writer) finish() {
	for {
		select {
		case e := <-w.log.queue:
			w.take(e)
			continue
		default:
		}
		break
	}
	now := w.log.o.Now()
	w.folds.expire(now, true, w.add)
	w.tellDropped(now)
	w.log.closed = errors.Join(w.write(), w.file.close())
}
