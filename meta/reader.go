package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// View calls fn with a Tx that reads one state of the database and cannot write.
// It returns the error of fn as it is. fn must not wait for anything: there are
// few readers.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	return db.withReader(ctx, func(c *conn) error {
		if err := c.exec("BEGIN"); err != nil {
			c.broken = true
			return fmt.Errorf("begin to read: %w", translate(err))
		}
		defer func() { c.broken = c.exec("ROLLBACK") != nil }()
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
	if err := ctx.Err(); err != nil {
		return err
	}
	var c *conn
	select {
	case c = <-db.readers:
	case <-db.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() {
		if c != nil && c.broken {
			c.discard()
			c = nil
		}
		if errors.Is(err, ErrDamaged) {
			db.damaged.Store(true)
		}
		db.readers <- c
	}()
	if c == nil {
		if c, err = newConn(db.read); err != nil {
			return fmt.Errorf("connect to the database: %w", translate(err))
		}
	}
	return f(c)
}

// A conn is a connection and the statements that were prepared on it. Contexts
// do not reach the database: a statement takes microseconds, and one that is
// interrupted takes its whole transaction with it.
type conn struct {
	c      *sql.Conn
	stmts  map[string]*sql.Stmt
	broken bool // a transaction may be open that nobody ends
}

func newConn(pool *sql.DB) (*conn, error) {
	c, err := pool.Conn(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{c: c, stmts: make(map[string]*sql.Stmt)}, nil
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	s, err := c.c.PrepareContext(context.Background(), query)
	if err == nil {
		c.stmts[query] = s
	}
	return s, err
}

func (c *conn) exec(query string) error {
	s, err := c.prepare(query)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

// close closes the statements, without which SQLite does not close the
// connection, and gives it back to its pool.
func (c *conn) close() error {
	var err error
	for _, s := range c.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, c.c.Close())
}

// discard closes the connection, whatever state it is in, and does not give it
// back to its pool.
func (c *conn) discard() {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	_ = c.c.Raw(func(any) error { return driver.ErrBadConn })
}
