package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"
)

// A conn is a persistent HTTP/1.1 connection (RFC 9112). It does little, so
// that on a machine of few cores most of them are left to the server: requests
// are bytes made beforehand, and of an answer only what is asked is kept.
// A conn is for one goroutine.
type conn struct {
	nc net.Conn
	r  *bufio.Reader

	status   int
	location string // the path and query of Location
	length   int64  // -1 when the answer does not say
	chunked  bool
	bodyless bool // whatever the header says
	last     bool // the server closes after it
}

const readBuffer = 64 << 10

// dial connects to addr. All that is done over it must end within limit.
func dial(addr string, limit time.Duration) (*conn, error) {
	nc, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if err := nc.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	return &conn{nc: nc, r: bufio.NewReaderSize(nc, readBuffer)}, nil
}

func (c *conn) close() { _ = c.nc.Close() }

// head returns the bytes of a request without its body. Fields are whole lines
// of the header; empty ones are left out.
func head(method, path string, fields ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: berth-bench\r\n", method, path)
	for _, f := range fields {
		if f != "" {
			b.WriteString(f + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func contentLength(n int64) string { return "Content-Length: " + strconv.FormatInt(n, 10) }

// send writes a request and reads the header of its answer. The body of the
// answer must be read, by drain or copyTo, before the next send.
func (c *conn) send(head []byte, body io.WriterTo) error {
	if c.last {
		return io.ErrClosedPipe
	}
	if _, err := c.nc.Write(head); err != nil {
		return err
	}
	if body != nil {
		if _, err := body.WriteTo(c.nc); err != nil {
			return err
		}
	}
	return c.readHeader(bytes.HasPrefix(head, []byte("HEAD ")))
}

func (c *conn) readHeader(ofHead bool) error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	if len(line) < 13 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return fmt.Errorf("not a status line: %q", line)
	}
	if c.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return fmt.Errorf("not a status line: %q", line)
	}
	c.location, c.length, c.chunked = "", -1, false
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if err := c.field(line); err != nil {
			return err
		}
	}
	c.bodyless = ofHead || c.status == 204 || c.status == 304
	return nil
}

func (c *conn) field(line []byte) error {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("not a field of a header: %q", line)
	}
	value = bytes.TrimSpace(value)
	var err error
	switch {
	case is(name, "content-length"):
		c.length, err = strconv.ParseInt(string(value), 10, 64)
	case is(name, "transfer-encoding"):
		c.chunked = is(value, "chunked")
	case is(name, "connection"):
		c.last = is(value, "close")
	case is(name, "location"):
		c.location = pathOf(string(value))
	}
	return err
}

func is(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// pathOf returns a URL from its path on.
func pathOf(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
		return "/"
	}
	return url
}

// drain reads the body and drops it, and returns its length.
func (c *conn) drain() (int64, error) {
	if c.bodyless || c.length == 0 {
		return 0, nil
	}
	if c.length < 0 {
		return c.copyTo(io.Discard)
	}
	var done int64
	for done < c.length {
		n, err := c.r.Discard(int(min(c.length-done, 1<<30)))
		done += int64(n)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// copyTo copies the body to w.
func (c *conn) copyTo(w io.Writer) (int64, error) {
	switch {
	case c.bodyless:
		return 0, nil
	case c.chunked:
		n, err := io.Copy(w, httputil.NewChunkedReader(c.r))
		if err != nil {
			return n, err
		}
		_, err = c.r.ReadSlice('\n') // the end of the trailer, which none sends
		return n, err
	case c.length >= 0:
		return io.CopyN(w, c.r, c.length)
	}
	c.last = true
	return io.Copy(w, c.r)
}

// do sends a request, drops the body of the answer, and fails unless its status
// is want.
func (c *conn) do(want int, head []byte, body io.WriterTo) (int64, error) {
	if err := c.send(head, body); err != nil {
		return 0, fmt.Errorf("%s: %w", firstLine(head), err)
	}
	if c.status != want {
		var answer strings.Builder
		_, _ = c.copyTo(&answer)
		return 0, fmt.Errorf("%s: the status is %d and not %d: %.300s", firstLine(head), c.status, want, answer.String())
	}
	n, err := c.drain()
	if err != nil {
		return n, fmt.Errorf("%s: %w", firstLine(head), err)
	}
	return n, nil
}

func firstLine(head []byte) string {
	line, _, _ := strings.Cut(string(head), " HTTP/1.1")
	return line
}
