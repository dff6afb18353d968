package meta

import (
	"context"
	"errors"
	"fmt"
)

// An update is one call of Update, on its way through the writer. Its fn runs in
// the goroutine that called Update, while the writer waits.
type update struct {
	ctx  context.Context
	turn chan *Tx      // the writer gives the transaction
	ran  chan struct{} // and has it back
	done chan struct{} // closed when err is what Update returns
	err  error
}

// Update calls fn with a Tx that reads and writes, and returns nil when what it
// wrote is durable. When fn returns an error or panics, nothing is written;
// Update returns that error as it is.
//
// Updates run one after the other, those of other nodes included, and a few of
// them are committed together; an error of one does not touch the others, unless
// the connection is lost. fn must not wait for anything. It is called again where
// the disk was full, and what was set aside may help.
// Errors: the context's, if fn was not called; ErrUnknownOutcome, ErrUnavailable,
// ErrNoSpace, ErrDamaged, ErrClosed.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	err := db.update(ctx, fn)
	if errors.Is(err, ErrNoSpace) {
		err = db.update(ctx, fn)
	}
	return err
}

// Grow is Update for what adds names: it returns ErrNoSpace while the disk is
// still not quite full, as Room does.
func (db *DB) Grow(ctx context.Context, fn func(*Tx) error) error {
	if err := db.Room(); err != nil {
		return err
	}
	return db.update(ctx, fn)
}

func (db *DB) update(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	u := &update{ctx: ctx, turn: make(chan *Tx), ran: make(chan struct{}, 1), done: make(chan struct{})}
	select {
	case db.queue <- u:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closing:
		return ErrClosed
	}
	select {
	case tx := <-u.turn:
		u.call(fn, tx)
		<-u.done
	case <-u.done:
	}
	return u.err
}

// errNotReturned is the error of an fn that panicked.
var errNotReturned = errors.New("the update did not return")

func (u *update) call(fn func(*Tx) error, tx *Tx) {
	defer func() { u.ran <- struct{}{} }()
	u.err = errNotReturned
	err := fn(tx)
	if err == nil {
		err = tx.err
	}
	u.err = err
}

func (db *DB) writeLoop() {
	defer close(db.stopped)
	for {
		select {
		case u := <-db.queue:
			db.writeBatch(u)
		case <-db.closing:
			return
		}
	}
}

// writeBatch runs first, and every update that waits by then, in one
// transaction. It tells none of them before the commit. Where none can be begun
// that is the answer to all that waited meanwhile: one after the other, the last
// would wait for long.
func (db *DB) writeBatch(first *update) {
	batch := []*update{first}
	err := db.begin()
	if err != nil {
		for u := db.next(); u != nil; u = db.next() {
			batch = append(batch, u)
		}
	}
	for u := first; err == nil && u != nil; {
		if err = db.run(u, u == first); err != nil || len(batch) == db.dialect.batch {
			break
		}
		if u = db.next(); u != nil {
			batch = append(batch, u)
		}
	}
	if err == nil {
		err = db.commit()
	}
	if err != nil {
		db.reset()
	}
	for _, u := range batch {
		if u.err == nil {
			u.err = err
		}
		if u.err == nil {
			db.updates.Add(1)
		}
		db.note(u.err)
		close(u.done)
	}
}

// next returns an update that waits, nil when none does.
func (db *DB) next() *update {
	select {
	case u := <-db.queue:
		return u
	default:
		return nil
	}
}

// begin begins a transaction. A connection that was lost since the last one is
// replaced: nothing was said on it yet.
func (db *DB) begin() error {
	if db.damaged.Load() {
		return ErrDamaged
	}
	if db.writer != nil && !db.engine.alive(db.writer) {
		db.reset()
	}
	if db.writer == nil {
		c, err := db.engine.connect(true)
		if err != nil {
			return fmt.Errorf("connect to the database: %w", db.dialect.translate(err))
		}
		db.writer = c
	}
	db.saved = false
	if err := db.writer.run(db.dialect.beginWrite); err != nil {
		return fmt.Errorf("begin to write: %w", db.dialect.translate(err))
	}
	return nil
}

func (db *DB) commit() error {
	if err := db.engine.commit(db.writer); err != nil {
		return err
	}
	db.commits.Add(1)
	return nil
}

// reset gives up the connection, and with it a transaction that may be open.
func (db *DB) reset() {
	if db.writer != nil {
		db.writer.discard()
		db.writer = nil
	}
}

// run runs u, so that nothing is left of it when it fails. Its own error goes to
// u; the error returned means that the transaction itself is lost, as SQLite
// rolls it back when the disk is full or does not answer. The first of a
// transaction needs no savepoint: where it fails there is nothing else in it.
func (db *DB) run(u *update, first bool) error {
	if u.err = u.ctx.Err(); u.err != nil {
		return nil
	}
	save, undo := []string{"SAVEPOINT one"}, []string{"ROLLBACK TO one"}
	switch {
	case first:
		save, undo = nil, []string{"ROLLBACK", db.dialect.beginWrite}
	case db.saved:
		save = []string{"RELEASE one", "SAVEPOINT one"}
	}
	if len(save) > 0 {
		if err := db.writer.run(save...); err != nil {
			return fmt.Errorf("write: %w", db.dialect.translate(err))
		}
		db.saved = true
	}
	u.turn <- &Tx{conn: db.writer}
	<-u.ran
	if u.err == nil {
		return nil
	}
	if err := db.writer.run(undo...); err != nil {
		return fmt.Errorf("the transaction was lost: %w", errors.Join(u.err, db.dialect.translate(err)))
	}
	return nil
}
