package meta

import (
	"context"
	"crypto/tls"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"golang.org/x/sys/unix"
)

func (e *postgresEngine) connect(write bool) (*conn, error) {
	pool := e.read
	if write {
		pool = e.write
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	c, err := newConn(ctx, pool, e.dialect)
	if err != nil {
		return nil, err
	}
	c.run = func(statements ...string) error {
		_, err := e.simply(c, strings.Join(statements, "; "))
		return err
	}
	c.hangUp = func() {
		_ = raw(c, func(p *pgconn.PgConn) error { return p.Close(context.Background()) })
	}
	return c, nil
}

func (e *postgresEngine) lasting() (*sql.DB, error) {
	return e.options.lasting("SET default_transaction_read_only = on")
}

// lasting opens connections without the limits of time that a server needs, which
// begin with a statement.
func (o PostgresOptions) lasting(statement string) (*sql.DB, error) {
	config, err := o.parse()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"statement_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[name] = "0"
	}
	config.RuntimeParams["application_name"] += lastingName
	return stdlib.OpenDB(*config, stdlib.OptionBeforeConnect(o.password), stdlib.OptionAfterConnect(settle(statement))), nil
}

// lastingName is what the names of such connections end in.
const lastingName = " backup"

// simply runs statements without parameters, which is one way to the server and
// back, and returns the tag of the last.
func (e *postgresEngine) simply(c *conn, statements string) (tag string, err error) {
	ctx, cancel := e.dialect.context()
	defer cancel()
	err = raw(c, func(p *pgconn.PgConn) error {
		results, err := p.Exec(ctx, statements).ReadAll()
		if n := len(results); err == nil && n > 0 {
			tag = results[n-1].CommandTag.String()
		}
		return err
	})
	return tag, err
}

// raw calls f with the connection of the driver.
func raw(c *conn, f func(*pgconn.PgConn) error) error {
	return c.c.Raw(func(c any) error { return f(c.(*stdlib.Conn).Conn().PgConn()) })
}

// alive reports whether nothing has come from the server since the last answer:
// what comes unasked is that it ends the connection. A statement that is sent all
// the same would be lost, and its caller with it.
func (e *postgresEngine) alive(c *conn) bool {
	quiet := false
	err := raw(c, func(p *pgconn.PgConn) error {
		quiet = !p.IsClosed() && isQuiet(p.Conn())
		return nil
	})
	return err == nil && quiet
}

func isQuiet(c net.Conn) bool {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	r, err := s.SyscallConn()
	if err != nil {
		return false
	}
	var peeked error
	err = r.Control(func(fd uintptr) {
		var b [1]byte
		_, _, peeked = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(peeked, unix.EAGAIN)
}

// errLost is of a commit of nothing.
var errLost = errors.New("the transaction was lost before")

// commit knows that nothing was written when the server says so. Where it says
// nothing, or that it is about to end, the commit may have been one.
func (e *postgresEngine) commit(c *conn) error {
	const open = 'T'
	err := raw(c, func(p *pgconn.PgConn) error {
		if p.TxStatus() != open {
			return errLost
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit: %w", namePostgres(err))
	}
	tag, err := e.simply(c, "COMMIT")
	var told *pgconn.PgError
	switch {
	case err == nil && tag == "COMMIT":
		return nil
	case err == nil:
		return fmt.Errorf("commit: %w", errLost)
	case errors.As(err, &told) && told.SeverityUnlocalized == "ERROR":
		return fmt.Errorf("commit: %w", namePostgres(err))
	}
	return fmt.Errorf("%w: %w", ErrUnknownOutcome, namePostgres(err))
}

func (e *postgresEngine) room() error { return nil }

func (e *postgresEngine) close() error { return errors.Join(e.read.Close(), e.write.Close()) }

// namePostgres gives errors of PostgreSQL, and of the way to it, their names.
func namePostgres(err error) error {
	var told *pgconn.PgError
	var connecting *pgconn.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &connecting), isLost(err):
		// What is in it may be the error of a context, and the caller's is not over.
		return fmt.Errorf("%w: %v", ErrUnavailable, err)
	case !errors.As(err, &told):
		return err
	}
	for name, codes := range sqlStates() {
		for _, code := range codes {
			if strings.HasPrefix(told.Code, code) {
				return fmt.Errorf("%w: %w", name, err)
			}
		}
	}
	return err
}

// sqlStates returns the beginnings of SQLSTATEs that have a name here. None of
// them begins another.
func sqlStates() map[error][]string {
	return map[error][]string{
		ErrNoSpace: {"53100"},
		ErrDamaged: {"XX001", "XX002"}, // a page; an index
		ErrUnavailable: {
			"08", "57", "58", // the connection; an operator, or a time that is over; the system
			"53000", "53200", "53300", "53400", // out of memory, of connections
			"40", "55P03", // another transaction was in the way
			"25006", "25P03", // the server is read-only; we were too slow
		},
	}
}

// isLost reports whether err is one of a connection that is gone, or was given up.
func isLost(err error) bool {
	var network net.Error
	if errors.As(err, &network) || pgconn.Timeout(err) {
		return true
	}
	for _, lost := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, pgconn.ErrConnClosed, driver.ErrBadConn, sql.ErrConnDone, context.DeadlineExceeded} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}
