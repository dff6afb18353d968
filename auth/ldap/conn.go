package ldap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Bounds of what a server may answer.
const (
	maxAnswer = 16 << 20 // bytes, of one operation
	pageSize  = 500
)

var (
	errNoAnswer   = errors.New("it did not answer in time")
	errTooLong    = fmt.Errorf("its answer is longer than %d MiB", maxAnswer>>20)
	errTooMany    = errors.New("the answer holds too many entries")
	errNoPassword = errors.New("no bind without a password")
)

// A brokenError says that a server could not be talked to. Another one may be.
type brokenError struct {
	err     error
	timeout bool // it was not heard of, and may hang
	ours    bool // the caller had no time left, which is no fault of the server
}

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// A conn is a connection to a server. It is used by one goroutine at a time.
type conn struct {
	server *server
	facts  facts // of the server, when they are read
	ldap   *goldap.Conn
	wire   *wire
	limit  time.Duration // of one operation
	born   time.Time
	idle   time.Time // since when it waits in the pool
}

// A wire is a network connection that bounds what is read from it.
type wire struct {
	net.Conn
	left atomic.Int64
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.left.Add(-int64(n)) < 0 {
		return 0, errTooLong
	}
	return n, err
}

// close ends the connection, whatever it is doing.
func (c *conn) close() {
	_ = c.wire.Close() // first: the library would wait for what hangs
	_ = c.ldap.Close()
}

// do runs one operation within its time.
// Errors: brokenError, after which the connection is of no use; else the
// directory's answer.
func (c *conn) do(ctx context.Context, operation func(*goldap.Conn) error) error {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	c.wire.left.Store(maxAnswer)
	cut := context.AfterFunc(limited, func() { _ = c.wire.Close() })
	err := operation(c.ldap)
	finished := cut()
	if err == nil || finished && isAnswer(err) {
		c.server.hear()
	}
	switch {
	case err == nil:
		return nil
	case c.wire.left.Load() < 0:
		return &brokenError{err: errTooLong} // the library tells it as text only
	case !finished:
		return silent(ctx, began)
	case !isAnswer(err):
		return &brokenError{err: err}
	}
	return err
}

// silent returns the error of a server that was asked at began and has not
// answered.
func silent(ctx context.Context, began time.Time) *brokenError {
	left := errors.Is(ctx.Err(), context.Canceled)
	return &brokenError{err: errNoAnswer, timeout: true, ours: left || ctx.Err() != nil && time.Since(began) < silence}
}

// isAnswer reports whether err is what the directory says about the operation,
// and not that it cannot be had.
func isAnswer(err error) bool {
	var e *goldap.Error
	if !errors.As(err, &e) || e.ResultCode >= goldap.ErrorNetwork {
		return false
	}
	return e.ResultCode != goldap.LDAPResultBusy && e.ResultCode != goldap.LDAPResultUnavailable
}

// bind makes the connection that of the account with that DN. The policy is
// what the directory says of the password, or nil.
func (c *conn) bind(ctx context.Context, dn string, password auth.Secret) (policy *goldap.ControlBeheraPasswordPolicy, err error) {
	if password == "" {
		return nil, errNoPassword // RFC 4513, 5.1.2: such a bind succeeds
	}
	request := goldap.NewSimpleBindRequest(dn, password.Reveal(), []goldap.Control{goldap.NewControlBeheraPasswordPolicy()})
	err = c.do(ctx, func(l *goldap.Conn) error {
		result, err := l.SimpleBind(request)
		if result != nil {
			found := goldap.FindControl(result.Controls, goldap.ControlTypeBeheraPasswordPolicy)
			policy, _ = found.(*goldap.ControlBeheraPasswordPolicy)
		}
		return withoutEcho(err, password)
	})
	return policy, err
}

// withoutEcho takes a password out of what a server says about it: errors are
// logged. What is as short as a number of an error stays.
func withoutEcho(err error, password auth.Secret) error {
	const number = len("80090308")
	var e *goldap.Error
	if errors.As(err, &e) && e.Err != nil && len(password) > number && strings.Contains(e.Err.Error(), password.Reveal()) {
		e.Err = errors.New(strings.ReplaceAll(e.Err.Error(), password.Reveal(), password.String()))
	}
	return err
}

// A query is a search.
type query struct {
	base   string
	scope  int // goldap.ScopeWholeSubtree …
	filter string
	attrs  []string
	most   int // entries; more are errTooMany
}

// search returns the entries that q finds. Entries elsewhere that the directory
// refers to are not looked for.
func (c *conn) search(ctx context.Context, q query) ([]*goldap.Entry, error) {
	request := goldap.NewSearchRequest(q.base, q.scope, goldap.NeverDerefAliases, 0, int(c.limit/time.Second), false, q.filter, q.attrs, nil)
	var paging *goldap.ControlPaging
	if q.most > pageSize {
		paging = goldap.NewControlPaging(pageSize)
		request.Controls = []goldap.Control{paging}
	} else {
		request.SizeLimit = q.most + 1
	}
	var entries []*goldap.Entry
	for {
		var result *goldap.SearchResult
		err := c.do(ctx, func(l *goldap.Conn) (err error) {
			result, err = l.Search(request)
			return err
		})
		if goldap.IsErrorWithCode(err, goldap.LDAPResultSizeLimitExceeded) {
			return nil, errTooMany
		}
		if err != nil {
			return nil, err
		}
		if entries = append(entries, result.Entries...); len(entries) > q.most {
			return nil, errTooMany
		}
		cookie := nextPage(result)
		if paging == nil || len(cookie) == 0 {
			return entries, nil
		}
		paging.SetCookie(cookie)
	}
}

// nextPage returns the cookie of the page after result, which is empty after
// the last one.
func nextPage(result *goldap.SearchResult) []byte {
	control, ok := goldap.FindControl(result.Controls, goldap.ControlTypePaging).(*goldap.ControlPaging)
	if !ok {
		return nil
	}
	return control.Cookie
}

// read returns the entry of that DN, or nil where there is none to be seen.
func (c *conn) read(ctx context.Context, dn, filter string, attrs []string) (*goldap.Entry, error) {
	entries, err := c.search(ctx, query{dn, goldap.ScopeBaseObject, filter, attrs, 1})
	if goldap.IsErrorWithCode(err, goldap.LDAPResultNoSuchObject) {
		return nil, nil
	}
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	return entries[0], nil
}
