package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// A server is one of the servers of a directory.
type server struct {
	url    string // as configured
	addr   string // host:port
	name   string // that its certificate must have
	secure bool   // ldaps://

	mu    sync.Mutex
	down  error     // why it is not asked now, nil while it answers
	idle  []*conn   // bound as the service account, the longest idle first
	asked int       // questions that wait for it
	heard time.Time // when it last said something, or the first of those began
}

// ask notes that a question waits for the server, until the function that it
// returns is called.
func (s *server) ask() (answered func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == 0 {
		s.heard = time.Now()
	}
	s.asked++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked--
	}
}

// hear notes that the server has said something.
func (s *server) hear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// state returns whether the server is asked at all, whether a question waits for
// it, and whether it has said something within that time.
func (s *server) state(within time.Duration) (up, asked, heard bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down == nil, s.asked > 0, time.Since(s.heard) < within
}

// answers reports whether who asks now may hope for an answer: of the servers
// that can be asked one was heard of just now, or none has been asked.
func (d *Directory) answers() bool {
	hope := false
	waiting := false
	for _, s := range d.servers {
		up, asked, heard := s.state(d.limits.silence)
		if up && heard {
			return true
		}
		hope, waiting = hope || up, waiting || up && asked
	}
	return hope && !waiting
}

// inOrder returns the servers as they are to be asked: those that are silent
// last.
func (d *Directory) inOrder() []*server {
	var first, last []*server
	for _, s := range d.servers {
		if _, asked, heard := s.state(d.limits.silence); asked && !heard {
			last = append(last, s)
		} else {
			first = append(first, s)
		}
	}
	return append(first, last...)
}

// whyDown returns why the server is not asked now, or nil.
func (s *server) whyDown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// dial returns a connection on which nobody is bound, and which is secure as far
// as the configuration wants it to be.
// Errors: brokenError.
func (d *Directory) dial(ctx context.Context, s *server) (*conn, error) {
	config, err := d.tlsConfig(s)
	if err != nil {
		return nil, &brokenError{err: err}
	}
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, d.limits.dial)
	defer cancel()
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}}
	raw, err := dialer.DialContext(limited, "tcp", s.addr)
	if err != nil {
		return nil, dialError(ctx, began, "connect", err)
	}
	c := &conn{server: s, wire: &wire{Conn: raw}, limit: d.limits.operation, born: d.o.Now()}
	c.wire.left.Store(maxAnswer)
	var over net.Conn = c.wire
	if s.secure {
		over = tls.Client(c.wire, config)
		if err := over.(*tls.Conn).HandshakeContext(limited); err != nil {
			_ = raw.Close()
			return nil, dialError(ctx, began, "TLS", err)
		}
		s.hear()
	}
	c.ldap = goldap.NewConn(over, s.secure)
	c.ldap.Start()
	if s.secure || !d.o.StartTLS {
		return c, nil
	}
	if err := c.startTLS(ctx, config); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// startTLS secures c. Whatever the server says but yes ends the connection:
// nothing is sent in clear text where TLS is wanted.
func (c *conn) startTLS(ctx context.Context, config *tls.Config) error {
	var handshake error
	config = config.Clone()
	// The library tells what is wrong with a certificate as text only.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		handshake = verify(config, state)
		return handshake
	}
	err := c.do(ctx, func(l *goldap.Conn) error { return l.StartTLS(config) })
	var broken *brokenError
	switch {
	case err == nil:
		return nil
	case handshake != nil:
		return &brokenError{err: fmt.Errorf("TLS: %w", handshake)}
	case errors.As(err, &broken):
		return &brokenError{err: fmt.Errorf("StartTLS: %w", broken.err), timeout: broken.timeout, ours: broken.ours}
	}
	return &brokenError{err: fmt.Errorf("StartTLS is refused: %w", err)}
}

// dialError says what went wrong on the way to a server.
func dialError(ctx context.Context, began time.Time, what string, err error) error {
	broken := &brokenError{err: err}
	if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		broken = silent(ctx, began)
	}
	broken.err = fmt.Errorf("%s: %w", what, broken.err)
	return broken
}

// markDown notes that a server does not answer, and looks after it until it
// does.
func (d *Directory) markDown(s *server, err error) {
	s.mu.Lock()
	again := s.down != nil
	s.down = err
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	if again {
		return
	}
	d.o.Log.Warn("a server of the directory cannot be used", "directory", d.o.Name, "server", s.url, "error", err)
	d.background(func() { d.revive(s) })
}

// revive tries a server every now and then until it can be used again.
func (d *Directory) revive(s *server) {
	for {
		select {
		case <-time.After(d.limits.down):
		case <-d.use.Done():
			return
		}
		if err := d.try(d.use, s); err == nil {
			d.o.Log.Info("a server of the directory can be used again", "directory", d.o.Name, "server", s.url)
			return
		}
	}
}

// try connects to a server as a search would, and notes how that went.
func (d *Directory) try(ctx context.Context, s *server) error {
	ctx, cancel := context.WithTimeout(ctx, d.limits.total)
	defer cancel()
	defer s.ask()()
	c, err := d.connect(ctx, s)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.down != nil {
			s.down = err
		}
		return err
	}
	s.mu.Lock()
	s.down = nil
	s.mu.Unlock()
	d.put(c)
	return nil
}
