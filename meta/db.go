package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	engine  engine
	dialect *dialect

	readers chan *conn // nil stands for a connection not made yet
	queue   chan *update
	closing chan struct{}
	stopped chan struct{} // closed when the writer has ended
	once    sync.Once

	writer           *conn // of the writer alone; nil until it is needed
	saved            bool  // the writer's: its transaction has a savepoint
	damaged          atomic.Bool
	down             atomic.Bool // it did not answer when it was last asked
	updates, commits atomic.Int64
}

// Stats counts since the database was opened.
type Stats struct {
	Updates int64 // calls of Update that were committed
	Commits int64 // commits that they shared
}

// start returns the database of an engine, with so many connections that read.
func start(e engine, d *dialect, readers int) *DB {
	db := &DB{
		engine:  e,
		dialect: d,
		readers: make(chan *conn, readers),
		queue:   make(chan *update),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	for range readers {
		db.readers <- nil
	}
	go db.writeLoop()
	return db
}

// Close waits for what is running, and closes the database. Calls that come later
// return ErrClosed.
func (db *DB) Close() error {
	var err error
	db.once.Do(func() {
		close(db.closing)
		<-db.stopped
		if db.writer != nil {
			err = db.writer.close()
		}
		for range cap(db.readers) {
			if c := <-db.readers; c != nil {
				err = errors.Join(err, c.close())
			}
		}
		err = errors.Join(err, db.engine.close())
	})
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Room returns ErrNoSpace when the disk is nearly full: what is left is for
// deletes, and for logins, without which nobody deletes. Of a disk that is
// another machine's it knows nothing.
func (db *DB) Room() error { return db.engine.room() }

// Listen calls heard with what was announced by a transaction of any node, this
// one included, soon after it was committed; until ctx ends. It calls lost when
// announcements may have been missed, which it notices within 5 seconds, and
// again, as long as it hears nothing, as often. SQLite has one node, and nothing
// is heard there. Both must be quick, and are called one after the other.
func (db *DB) Listen(ctx context.Context, heard func(topic, payload string), lost func()) {
	db.engine.listen(ctx, heard, lost)
}

// Degraded says what is wrong, "" when nothing is. SQLite takes a disk that cannot
// be read for a database that is not whole: whoever starts again looks anew.
func (db *DB) Degraded() string {
	switch {
	case db.damaged.Load():
		return ErrDamaged.Error()
	case db.down.Load():
		return ErrUnavailable.Error()
	}
	return ""
}

// note remembers what err, of a call that has ended, says of the database.
func (db *DB) note(err error) {
	switch {
	case err == nil:
		if db.down.Load() {
			db.down.Store(false)
		}
	case errors.Is(err, ErrDamaged):
		db.damaged.Store(true)
	case errors.Is(err, ErrUnavailable):
		db.down.Store(true)
	}
}

// Stats returns the counters.
func (db *DB) Stats() Stats {
	return Stats{Updates: db.updates.Load(), Commits: db.commits.Load()}
}
