package meta

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// An engine is what each of the databases does in its own way.
type engine interface {
	// connect makes a connection. One that is not to write cannot.
	connect(write bool) (*conn, error)
	// alive reports whether a connection that rested can be used again.
	alive(c *conn) bool
	// commit makes what was written durable. Errors: ErrUnknownOutcome, unless it
	// is known that nothing was written.
	commit(c *conn) error
	// room returns ErrNoSpace where what is left is for deletes.
	room() error
	// lasting opens connections that read for as long as they want.
	lasting() (*sql.DB, error)
	// listen is DB.Listen.
	listen(ctx context.Context, heard func(topic, payload string), lost func())
	// close closes what connect left open.
	close() error
}

// A dialect is what is said to each of the databases in other words. A time or
// number that is 0 is without a bound.
type dialect struct {
	beginWrite string // a transaction that sees all that was committed, and no other writes beside it
	beginRead  string // one that sees one state
	// collation stands behind a text that is no column's, and has it sort as
	// columns do.
	collation string
	// announce tells a topic and a payload to whoever listens; "" where nobody can.
	announce   string
	catalog    string        // the columns of all tables in order, which are true or false, and which are numbered by the database
	references string        // which tables have rows that refer to those of others
	triggers   string        // statements that turn triggers off, and on again
	unicode    bool          // text is UTF-8 without the character 0
	batch      int           // updates that share a commit
	wait       time.Duration // for a connection that reads
	statement  time.Duration // for the answer to one statement
	name       func(error) error
}

// translate gives errors of the driver their names.
func (d *dialect) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotExist
	}
	return d.name(err)
}

// context returns the context of one statement. The caller's does not reach the
// database: one that is interrupted takes its whole transaction with it.
func (d *dialect) context() (context.Context, context.CancelFunc) {
	if d.statement == 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), d.statement)
}

// arguments returns args as the database takes them, in the same place. What
// clients say of themselves may be any bytes.
func (d *dialect) arguments(args []any) []any {
	if !d.unicode {
		return args
	}
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = toUnicode(a)
		case sql.NullString:
			a.String = toUnicode(a.String)
			args[i] = a
		}
	}
	return args
}

// toUnicode replaces what is not UTF-8, and the character 0, by U+FFFD.
func toUnicode(s string) string {
	if utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
