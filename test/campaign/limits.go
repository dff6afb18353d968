package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

var attacks = []attack{
	{name: "300 stalled manifests", grow: 128, open: (*attackers).stalledManifests},
	{name: "300 half headers", grow: 64, open: (*attackers).halfHeaders},
	{name: "300 half-closed connections", grow: 64, open: (*attackers).halfClosed},
	{name: "500 slow readers", grow: 128, open: (*attackers).slowReaders},
	{name: "10,000 idle connections", grow: 256, open: (*attackers).idle},
	{name: "10,000 HTTP/2 streams a second that are reset", grow: 64, open: (*attackers).resets},
	{name: "HTTP/2 headers without an end", grow: 64, open: (*attackers).continuations},
}

// limits attacks the server in every way, pulls beside it, and looks at what the
// process holds meanwhile and afterwards.
func (c *campaign) limits(rounds int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p, err := c.newProbe(s)
	if err != nil {
		return err
	}
	large, err := p.pushLarge()
	if err != nil {
		return err
	}
	for range rounds {
		for _, a := range attacks {
			if err := c.ctx.Err(); err != nil {
				return err
			}
			a.large = large
			if err := c.attack(s, p, a); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		if err := c.floods(s); err != nil {
			return err
		}
		if err := c.noDescriptors(s, p); err != nil {
			return err
		}
		c.report.Rounds++
	}
	return c.checkAll(s)
}

func (at *attackers) stalledManifests() error {
	const size = 2 << 20
	body := bytes.Repeat([]byte{' '}, size-1)
	return at.dial(300, func(i int) []byte {
		head := at.head("PUT", fmt.Sprintf("/v2/stall/app/manifests/t%d", i), fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n", typeManifest, size))
		return append([]byte(head), body...)
	})
}

func (at *attackers) halfHeaders() error {
	return at.dial(300, func(int) []byte {
		return []byte("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Half: " + strings.Repeat("x", 30_000))
	})
}

// halfClosed ask for a large blob, say that nothing more will come, and read
// nothing.
func (at *attackers) halfClosed() error {
	head := []byte(at.head("GET", "/v2/probe/app/blobs/"+at.large, ""))
	if err := at.dial(300, func(int) []byte { return head }); err != nil {
		return err
	}
	at.wg.Wait()
	for _, conn := range at.conns {
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
	}
	return nil
}

// slowReaders read a kilobyte now and then.
func (at *attackers) slowReaders() error {
	head := []byte(at.head("GET", "/v2/probe/app/blobs/"+at.large, ""))
	if err := at.dial(500, func(int) []byte { return head }); err != nil {
		return err
	}
	for _, conn := range at.conns {
		at.wg.Go(func() {
			buf := make([]byte, 1024)
			for at.ctx.Err() == nil {
				if _, err := conn.Read(buf); err != nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		})
	}
	return nil
}

func (at *attackers) idle() error {
	head := []byte("GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	return at.dial(10_000, func(int) []byte { return head })
}

// Frames of RFC 9113, by hand: a client that breaks the rules.
const (
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	frameContinuation = 9
	flagEndHeaders    = 4
	flagEndStream     = 1
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = append(head, flags)
	head = binary.BigEndian.AppendUint32(head, stream)
	return append(head, payload...)
}

// headers is the block of GET / to the host x: indexed fields of RFC 7541, and a
// literal for the authority.
var headers = []byte{0x82, 0x84, 0x86, 0x41, 0x01, 'x'}

// resets begins and resets streams (CVE-2023-44487), 10,000 a second at most: more
// would measure who gets the processor.
func (at *attackers) resets() error {
	hello := append([]byte(preface), frame(frameSettings, 0, 0, nil)...)
	if err := at.dial(10, func(int) []byte { return nil }); err != nil {
		return err
	}
	for _, conn := range at.conns {
		at.wg.Go(func() {
			conn.Write(hello)
			go io.Copy(io.Discard, conn)
			for stream := uint32(1); at.ctx.Err() == nil; stream += 2 {
				f := frame(frameHeaders, flagEndHeaders|flagEndStream, stream, headers)
				if _, err := conn.Write(append(f, frame(frameReset, 0, stream, []byte{0, 0, 0, 8})...)); err != nil {
					return
				}
				if stream%20 == 1 {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	return nil
}

// continuations sends headers that never end (CVE-2023-45288).
func (at *attackers) continuations() error {
	hello := append([]byte(preface), frame(frameSettings, 0, 0, nil)...)
	hello = append(hello, frame(frameHeaders, 0, 1, headers)...)
	field := append([]byte{0x00, 0x01, 'x', 0x7f, 0x81, 0x3f}, bytes.Repeat([]byte{'x'}, 127+8065)...)
	if err := at.dial(10, func(int) []byte { return nil }); err != nil {
		return err
	}
	for _, conn := range at.conns {
		at.wg.Go(func() {
			conn.Write(hello)
			go io.Copy(io.Discard, conn)
			for at.ctx.Err() == nil {
				if _, err := conn.Write(frame(frameContinuation, 0, 1, field)); err != nil {
					return
				}
			}
		})
	}
	return nil
}

// floods sends requests that are too large in one way each.
func (c *campaign) floods(s *server) error {
	var query strings.Builder
	for i := range 101 {
		fmt.Fprintf(&query, "&k%d=v", i)
	}
	cookies := strings.TrimSuffix(strings.Repeat("a=b; ", 101), "; ")
	tests := []struct {
		name, path, header string
		status             int
	}{
		{"header of 100 KiB", "/v2/", "X-Large: " + strings.Repeat("x", 100<<10) + "\r\n", http.StatusRequestHeaderFieldsTooLarge},
		{"10,000 headers", "/v2/", strings.Repeat("X-Many: 1\r\n", 10_000), http.StatusRequestHeaderFieldsTooLarge},
		{"101 query keys", "/v2/_catalog?n=1" + query.String(), "", http.StatusBadRequest},
		{"101 cookies", "/v2/", "Cookie: " + cookies + "\r\n", http.StatusBadRequest},
		{"path of 200 KiB", "/v2/" + strings.Repeat("a/", 100<<10), "", http.StatusRequestHeaderFieldsTooLarge},
	}
	at := &attackers{s: s}
	for _, test := range tests {
		status, err := once(s.addr, at.head("GET", test.path, test.header))
		if err != nil {
			return fmt.Errorf("%s: %w", test.name, err)
		}
		if status != test.status {
			c.report.broken("%s: status %d, want %d", test.name, status, test.status)
		}
	}
	return nil
}

// once sends a request as it is and returns the status of the answer.
func once(addr, request string) (int, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(15 * time.Second))
	go io.WriteString(conn, request)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

// noDescriptors takes all the descriptors that the server may have. It must go on
// once they are given back, and have lost nothing.
func (c *campaign) noDescriptors(s *server, p *probe) error {
	s.stop()
	s.files = 128
	if err := s.start(); err != nil {
		return err
	}
	at := &attackers{s: s}
	err := at.dial(300, func(int) []byte { return nil })
	time.Sleep(time.Second)
	at.close()
	if err != nil {
		return err
	}
	if !s.alive() {
		return errors.New("berth ended without descriptors")
	}
	began := time.Now()
	for p.pull() != nil {
		if time.Since(began) > readyTime {
			return errors.New("berth does not serve again after it had no descriptors")
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.report.note("without descriptors: served again after %v", time.Since(began).Round(time.Millisecond))
	s.stop()
	s.files = 0
	return s.start()
}
