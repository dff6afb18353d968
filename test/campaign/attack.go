package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// An attack holds the server up in some way. It opens what it needs, and the end
// of the attackers ends it.
type attack struct {
	name    string
	grow    int    // MiB that it may cost; any when 0
	total   int    // MiB that the server may hold; any when 0
	large   string // digest of a large blob of the probe's
	slow    bool   // its connections take little at a time
	clients int    // where that is not always the same number
	windows int    // attackWindows when 0
	open    func(*attackers) error
}

const (
	attackWindows = 5               // quiet, and under attack
	windowTime    = 2 * time.Second // that pulls are measured for
)

// attackers are clients that misbehave, with the connections they hold.
type attackers struct {
	attack
	s     *server
	ctx   context.Context
	conns []net.Conn
	wg    sync.WaitGroup
	told  atomic.Int64 // connections that were answered 200, where that is looked at
}

// attack has the probe pull in windows that are quiet and under attack in turn,
// and looks at what the server holds meanwhile and afterwards.
func (c *campaign) attack(s *server, p *probe, a attack) error {
	before, err := s.usage()
	if err != nil {
		return err
	}
	var times comparison
	var most, held int
	for range cmp.Or(a.windows, attackWindows) {
		quiet, err := p.measure(windowTime)
		if err != nil {
			return err
		}
		at := &attackers{attack: a, s: s}
		beside, during, err := c.endure(p, at)
		if err != nil {
			return err
		}
		after, err := s.settled(before)
		if err != nil {
			return err
		}
		times.add(quiet, beside)
		most, held = max(most, during.memory>>10), len(at.conns)
		if after.goroutines > before.goroutines+10 || after.files > before.files+10 {
			c.report.broken("after %s: %v, before: %v", a.name, after, before)
		}
	}
	c.heldUp(a.name, times)
	grown := most - before.memory>>10
	c.report.note("%s: %+d MiB (%d in all), %d connections", a.name, grown, most, held)
	if a.grow > 0 && grown > a.grow || a.total > 0 && most > a.total {
		c.report.broken("%s: %d MiB, %d more than before", a.name, most, grown)
	}
	return nil
}

// endure measures one window under attack.
func (c *campaign) endure(p *probe, at *attackers) (beside latency, during usage, err error) {
	ctx, cancel := context.WithCancel(c.ctx)
	at.ctx = ctx
	defer at.close()
	defer cancel()
	if err := at.open(at); err != nil {
		return latency{}, usage{}, err
	}
	time.Sleep(time.Second) // what it costs to hold out, not to begin
	if beside, err = p.measure(windowTime); err != nil {
		return latency{}, usage{}, fmt.Errorf("pull beside: %w", err)
	}
	during, err = at.s.usage()
	return beside, during, err
}

func (at *attackers) close() {
	for _, conn := range at.conns {
		conn.Close()
	}
	at.wg.Wait()
}

// connect opens a connection. That of a slow attack has room for little, so that
// the kernel does not take for the client what the client does not take; and its
// segments are those of a network, as the kernel keeps many of them.
func (at *attackers) connect() (net.Conn, error) {
	var d net.Dialer
	if at.slow {
		d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			control := raw.Control(func(fd uintptr) {
				if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<10); err == nil {
					err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400)
				}
			})
			if control != nil {
				return control
			}
			return err
		}
	}
	conn, err := d.Dial("tcp", at.s.addr)
	if err != nil {
		return nil, err
	}
	if at.s.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, at.s.tls)
	if err := secure.HandshakeContext(at.ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// dial opens n connections and writes the same to each, without waiting for what
// is not taken.
func (at *attackers) dial(n int, first func(i int) []byte) error {
	for i := range n {
		conn, err := at.connect()
		if err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		at.conns = append(at.conns, conn)
		if data := first(i); data != nil {
			at.wg.Go(func() { conn.Write(data) })
		}
	}
	return nil
}

// head returns the head of a request of the first user.
func (at *attackers) head(method, path, more string) string {
	return at.headOf(userName(0), method, path, more)
}

func (at *attackers) headOf(user, method, path, more string) string {
	req, err := http.NewRequest(method, "http://"+at.s.addr+path, nil)
	if err != nil {
		panic(err) // of a literal
	}
	req.SetBasicAuth(user, password(user))
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: %s\r\n%s\r\n", method, path, at.s.addr, req.Header.Get("Authorization"), more)
}
