package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// View calls fn with a Tx that reads one state of the database and cannot write.
// It returns the error of fn as it is. fn must not wait for anything: there are
// few readers. Errors: the context's, if fn was not called; ErrUnavailable,
// ErrDamaged, ErrClosed.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	return db.withReader(ctx, func(c *conn) error {
		if err := c.run(db.dialect.beginRead); err != nil {
			c.broken = true
			return fmt.Errorf("begin to read: %w", db.dialect.translate(err))
		}
		defer func() { c.broken = c.run("ROLLBACK") != nil }()
		return look(c, fn)
	})
}

// Lookup is View at less cost, for an fn that asks once, or that may see another
// state with each question.
func (db *DB) Lookup(ctx context.Context, fn func(*Tx) error) error {
	return db.withReader(ctx, func(c *conn) error { return look(c, fn) })
}

func look(c *conn, fn func(*Tx) error) error {
	tx := &Tx{conn: c}
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

// withReader calls f with a connection that reads.
func (db *DB) withReader(ctx context.Context, f func(*conn) error) (err error) {
	c, err := db.takeReader(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if c != nil && c.broken {
			c.discard()
			c = nil
		}
		db.note(err)
		db.readers <- c
	}()
	if c != nil && !db.engine.alive(c) {
		c.discard()
		c = nil
	}
	if c == nil {
		if c, err = db.engine.connect(false); err != nil {
			return fmt.Errorf("connect to the database: %w", db.dialect.translate(err))
		}
	}
	return f(c)
}

// takeReader waits for a connection that nobody uses, which is nil where it is
// still to be made.
func (db *DB) takeReader(ctx context.Context) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c := <-db.readers:
		return c, nil
	default:
	}
	var late <-chan time.Time
	if db.dialect.wait > 0 {
		t := time.NewTimer(db.dialect.wait)
		defer t.Stop()
		late = t.C
	}
	select {
	case c := <-db.readers:
		return c, nil
	case <-db.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-late:
		return nil, fmt.Errorf("%w: all connections are busy", ErrUnavailable)
	}
}

// A conn is a connection and the statements that were prepared on it.
type conn struct {
	c       *sql.Conn
	dialect *dialect
	run     func(statements ...string) error // without parameters
	hangUp  func()                           // nil where closing waits for nobody
	stmts   map[string]*sql.Stmt
	broken  bool // a transaction may be open that nobody ends
}

func newConn(ctx context.Context, pool *sql.DB, d *dialect) (*conn, error) {
	c, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, dialect: d, stmts: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	ctx, cancel := c.dialect.context()
	defer cancel()
	s, err := c.c.PrepareContext(ctx, query)
	if err == nil {
		c.stmts[query] = s
	}
	return s, err
}

// execute runs statements one by one, which are prepared.
func (c *conn) execute(statements ...string) error {
	for _, statement := range statements {
		s, err := c.prepare(statement)
		if err != nil {
			return err
		}
		if _, err := s.ExecContext(context.Background()); err != nil {
			return err
		}
	}
	return nil
}

// close closes the statements, without which SQLite does not close the
// connection, and gives it back to its pool.
func (c *conn) close() error {
	if c.hangUp != nil {
		c.discard()
		return nil
	}
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.c.Close())
}

// discard closes the connection, whatever state it is in, and does not give it
// back to its pool.
func (c *conn) discard() {
	if c.hangUp != nil {
		c.hangUp()
	}
	for _, s := range c.stmts {
		_ = s.Close()
	}
	_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
}
