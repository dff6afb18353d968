package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// closable is a connection that knows whether it was closed.
type closable struct {
	net.Conn
	closed bool
}

func (c *closable) Close() error {
	c.closed = true
	return nil
}

func TestResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var conn closable
		base := withClient(t.Context(), &conn)
		h := countResets(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		send := func(protocol int, reset bool) {
			ctx, cancel := context.WithCancel(base)
			defer cancel()
			r := httptest.NewRequestWithContext(ctx, get, "/v2/", nil)
			r.ProtoMajor = protocol
			if reset {
				cancel()
			}
			h.ServeHTTP(nil, r)
		}
		for range 2 * maxResets {
			send(1, true)
			send(2, false)
		}
		for range maxResets {
			send(2, true)
		}
		time.Sleep(resetTime + 1)
		for range maxResets {
			send(2, true)
		}
		if conn.closed {
			t.Fatal("the connection of a client was closed that resets few streams")
		}
		if send(2, true); !conn.closed {
			t.Error("the connection of a client is open that resets one stream after the other")
		}
	})
}

// TestClientOfStream: a request of HTTP/2 knows its connection.
func TestClientOfStream(t *testing.T) {
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(clientKey{}).(*client); !ok || c.conn == nil || r.ProtoMajor != 2 {
			t.Errorf("HTTP/%d, connection %v", r.ProtoMajor, c)
		}
	}), slog.New(slog.DiscardHandler))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
