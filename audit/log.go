package audit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxQueue = 10_000                 // events that wait to be written
	maxWait  = time.Second            // for a place among them, of events that are worth it
	maxBytes = 4 << 20                // of lines that wait for a disk that takes none
	maxBatch = 256 << 10              // bytes that are written without waiting for more
	pace     = 200 * time.Millisecond // between an event and its line
	syncPace = 800 * time.Millisecond // between a line and a sync, less one pace

	tidyInterval = time.Hour
	retryRotate  = time.Minute
)

// Defaults of a Log.
const (
	DefaultMaxSize  = 64 << 20
	DefaultMaxFiles = 20
	DefaultMaxAge   = 90 * 24 * time.Hour
)

// Options configure a Log. The zero value is for production.
type Options struct {
	// MaxSize is how large a file gets, in bytes, and MaxFiles how many old
	// ones are kept; 64 MiB and 20 when zero.
	MaxSize  int64
	MaxFiles int
	// MaxAge is how old events get, 90 days when zero. A file is closed when it
	// has been written for the MaxFiles-th part of it: on a quiet registry the
	// number of files never removes what is younger.
	MaxAge time.Duration
	Log    *slog.Logger // slog.Default when nil
	Now    func() time.Time
}

// Stats counts what a Log did.
type Stats struct {
	Recorded uint64 // calls of Record
	Dropped  uint64 // events that were lost
}

// A Log keeps events. It is safe for concurrent use, also by several
// goroutines; a nil Log keeps nothing. It must be closed.
type Log struct {
	path     string
	o        Options
	queue    chan *Event
	done     <-chan struct{} // Close was called
	end      func()
	untidy   chan struct{} // a file was put aside
	work     sync.WaitGroup
	problem  atomic.Pointer[string]
	recorded atomic.Uint64
	dropped  atomic.Uint64
	closed   error // of the file; read when work is done
}

// Open opens the log at path, and makes it, mode 0600, if it is not there. The
// old files stand beside it. Another process cannot open it until it is closed.
func Open(path string, o Options) (*Log, error) {
	if o.MaxSize == 0 {
		o.MaxSize = DefaultMaxSize
	}
	if o.MaxFiles == 0 {
		o.MaxFiles = DefaultMaxFiles
	}
	if o.MaxAge == 0 {
		o.MaxAge = DefaultMaxAge
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f, err := openFile(path, o.Now())
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	ctx, end := context.WithCancel(context.Background())
	l := &Log{
		path:   path,
		o:      o,
		queue:  make(chan *Event, maxQueue),
		done:   ctx.Done(),
		end:    end,
		untidy: make(chan struct{}, 1),
	}
	w := &writer{log: l, file: f, folds: newFolder()}
	l.work.Go(w.run)
	l.work.Go(func() { l.keepTidy(ctx) })
	return l, nil
}

// Record keeps e, and returns before it is written. When events come faster
// than they can be written, it waits a second at most for a push, a delete or a
// change; logins, tokens, refusals and pulls are lost then, and counted. After
// Close it does nothing.
func (l *Log) Record(e Event) {
	if l == nil {
		return
	}
	l.recorded.Add(1)
	if e.Time.IsZero() {
		e.Time = l.o.Now()
	}
	e.bound()
	select {
	case l.queue <- &e:
		return
	default:
	}
	if !e.waits() || !l.await(&e) {
		l.dropped.Add(1)
	}
}

// await reports whether a place for e was found in time.
func (l *Log) await(e *Event) bool {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case l.queue <- e:
		return true
	case <-timer.C:
	case <-l.done:
	}
	return false
}

// Degraded says why events cannot be written, or "" when they can.
func (l *Log) Degraded() string {
	if l == nil {
		return ""
	}
	if problem := l.problem.Load(); problem != nil {
		return *problem
	}
	return ""
}

// Stats returns the counts since the start.
func (l *Log) Stats() Stats {
	if l == nil {
		return Stats{}
	}
	return Stats{Recorded: l.recorded.Load(), Dropped: l.dropped.Load()}
}

// Path returns where the log is, "" of a nil Log.
func (l *Log) Path() string {
	if l == nil {
		return ""
	}
	return l.path
}

// Close writes what was recorded, and ends the Log. Its error says that some of
// that may be lost.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.end()
	l.work.Wait()
	return l.closed
}

// report notes what is wrong with the file, nil when nothing is. It is logged
// once.
func (l *Log) report(err error) {
	before := l.Degraded()
	switch {
	case err != nil:
		problem := err.Error()
		l.problem.Store(&problem)
		if before == "" {
			l.o.Log.Error("the audit log cannot be written", "error", err)
		}
	case before != "":
		l.problem.Store(nil)
		l.o.Log.Info("the audit log can be written again")
	}
}

// keepTidy compresses and removes old files, until ctx ends.
func (l *Log) keepTidy(ctx context.Context) {
	tick := time.NewTicker(tidyInterval)
	defer tick.Stop()
	for {
		if err := l.tidy(ctx); err != nil && ctx.Err() == nil {
			l.o.Log.Error("tidy up old audit logs", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.untidy:
		case <-tick.C:
		}
	}
}
