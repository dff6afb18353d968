package meta

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"
)

// A proxy stands between the database and its server, and can lose an answer.
type proxy struct {
	listener net.Listener
	server   string

	mu   sync.Mutex
	word []byte // after which nothing is answered
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// cutAfter has the connection end when the client says the word, which the server
// still hears; "" for none.
func (p *proxy) cutAfter(word string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word = []byte(word)
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	var answers sync.WaitGroup
	defer answers.Wait()
	defer server.Close()
	answers.Go(func() {
		defer client.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				return
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	})
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := len(p.word) > 0 && bytes.Contains(b[:n], p.word)
		p.mu.Unlock()
		if cut {
			client.Close()
		}
		if _, err := server.Write(b[:n]); err != nil {
			return
		}
		if cut {
			time.Sleep(100 * time.Millisecond) // until the server has acted
			return
		}
	}
}
