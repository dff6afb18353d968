package server

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// A client is one connection, and how many of its HTTP/2 streams it has reset
// before they were answered (RFC 9113, 5.4.2). Each costs it nothing, and the
// server a request (CVE-2023-44487): beyond maxResets in resetTime it has to
// connect again.
type client struct {
	conn net.Conn

	mu     sync.Mutex
	since  time.Time
	resets int
}

type clientKey struct{}

func withClient(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, &client{conn: c})
}

// countResets returns h, after whose requests the resets are counted.
func countResets(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 {
			defer func() {
				c, ok := r.Context().Value(clientKey{}).(*client)
				if ok && r.Context().Err() != nil && c.reset(time.Now()) > maxResets {
					c.conn.Close()
				}
			}()
		}
		h.ServeHTTP(w, r)
	})
}

// reset counts one, and returns how many there were in this span of time.
func (c *client) reset(now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) > resetTime {
		c.since, c.resets = now, 0
	}
	c.resets++
	return c.resets
}
