package server

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"berth/access"
	"berth/oci"
)

// body is larger than one piece of a download.
var body = strings.Repeat("0123456789abcdef", blobPiece/16+100)

// TestBlob: with a file and without, whole and in ranges.
func TestBlob(t *testing.T) {
	size := len(body)
	tests := []struct {
		name, header string
		status       int
		want         string
		contentRange string
	}{
		{"whole", "", 200, body, ""},
		{"the first", "Range: bytes=0-9", 206, body[:10], fmt.Sprintf("bytes 0-9/%d", size)},
		{"to the end", "Range: bytes=1000-", 206, body[1000:], fmt.Sprintf("bytes 1000-%d/%d", size-1, size)},
		{"the last", "Range: bytes=-16", 206, body[:16], fmt.Sprintf("bytes %d-%d/%d", size-16, size-1, size)},
		{"beyond the end", "Range: bytes=99999999-", 416, "", fmt.Sprintf("bytes */%d", size)},
		{"backwards", "Range: bytes=500-0", 416, "", fmt.Sprintf("bytes */%d", size)},
		{"too large a number", "Range: bytes=9223372036854775808-", 416, "", fmt.Sprintf("bytes */%d", size)},
		{"less than none", "Range: bytes=--1", 416, "", fmt.Sprintf("bytes */%d", size)},
		{"the last 0 bytes", "Range: bytes=-0", 200, body, ""},
		{"another unit", "Range: lines=1-2", 200, body, ""},
		{"17 ranges", "Range: bytes=0-0" + strings.Repeat(",2-2", 16), 200, body, ""},
		{"unchanged since", "If-None-Match: " + string(oci.DigestOf(oci.SHA256, []byte(body))), 304, "", ""},
		{"changed since", "If-None-Match: \"sha256:0\"", 200, body, ""},
		{"of another state", "If-Match: \"sha256:0\"", 412, "", ""},
	}
	for _, files := range []bool{true, false} {
		f := newFixture(t)
		if files {
			f.reg.files = t.TempDir()
		}
		d := f.reg.addBlob("docs", []byte(body))
		for _, test := range tests {
			t.Run(fmt.Sprintf("%s, files %v", test.name, files), func(t *testing.T) {
				f.t = t
				a := f.do(get, "/v2/docs/blobs/"+string(d), "", cmp.Or(test.header, "X-None: "))
				f.wantStatus(a, test.status)
				if test.status == 416 && !strings.Contains(a.body, `"RANGE_INVALID"`) {
					t.Errorf("body %q", a.body)
				}
				if test.status != 416 && a.body != test.want {
					t.Errorf("body of %d bytes, want %d", len(a.body), len(test.want))
				}
				if got := a.Header.Get("Content-Range"); got != test.contentRange {
					t.Errorf("Content-Range %q, want %q", got, test.contentRange)
				}
			})
		}
	}
}

// TestSizes: content of every size arrives, however it is sent, and HEAD says
// what GET says.
func TestSizes(t *testing.T) {
	for _, files := range []bool{true, false} {
		f := newFixture(t)
		if files {
			f.reg.files = t.TempDir()
		}
		for _, size := range []int{0, 1, blobSmall, blobSmall + 1, blobBuffer + 1, blobPiece + 1} {
			path := "/v2/docs/blobs/" + string(f.reg.addBlob("docs", []byte(body[:size])))
			a, h := f.do(get, path, ""), f.do(head, path, "")
			f.wantStatus(a, http.StatusOK)
			if a.body != body[:size] || a.ContentLength != int64(size) {
				t.Errorf("files %v: %d bytes of %d announced, want %d", files, len(a.body), a.ContentLength, size)
			}
			for _, header := range []http.Header{a.Header, h.Header} {
				header.Del("Date")
				header.Del("X-Request-Id")
			}
			if !maps.EqualFunc(a.Header, h.Header, slices.Equal) {
				t.Errorf("files %v, %d bytes: headers %v, those of HEAD %v", files, size, a.Header, h.Header)
			}
		}
	}
}

func TestContentHeaders(t *testing.T) {
	f := newFixture(t)
	blob := []byte("<script>alert(1)</script>")
	d := f.reg.addBlob("docs", blob)
	f.reg.addBlob("team/app", blob)
	m := f.reg.addManifest("docs", "v1")
	f.reg.addManifest("team/app", "v1")
	type headers struct {
		path, contentType, cache string
		digest                   oci.Digest
	}
	for _, want := range []headers{
		{"/v2/docs/blobs/" + string(d), "application/octet-stream", "max-age=31536000", d},
		{"/v2/team/app/blobs/" + string(d), "application/octet-stream", "private, max-age=31536000", d},
		{"/v2/docs/manifests/" + string(m), oci.MediaTypeManifest, "max-age=31536000", m},
		{"/v2/docs/manifests/v1", oci.MediaTypeManifest, "no-cache", m},
		{"/v2/team/app/manifests/v1", oci.MediaTypeManifest, "private, no-cache", m},
	} {
		var size string
		for _, method := range []string{get, head} {
			for _, accept := range []string{"*/*", "text/html", oci.MediaTypeDocker + ", " + oci.MediaTypeIndex} {
				a := f.do(method, want.path, "", as("puller"), "Accept: "+accept)
				f.wantStatus(a, http.StatusOK)
				h := a.Header
				got := headers{want.path, h.Get("Content-Type"), h.Get("Cache-Control"), oci.Digest(h.Get("Docker-Content-Digest"))}
				if got != want {
					t.Errorf("%s %s: %+v, want %+v", method, want.path, got, want)
				}
				if h.Get("Etag") != `"`+string(want.digest)+`"` || h.Get("Content-Security-Policy") != "sandbox" {
					t.Errorf("%s %s: Etag %s, policy %q", method, want.path, h.Get("Etag"), h.Get("Content-Security-Policy"))
				}
				if size == "" {
					size = fmt.Sprint(len(a.body))
				}
				if h.Get("Content-Length") != size {
					t.Errorf("%s %s: Content-Length %q, want %q", method, want.path, h.Get("Content-Length"), size)
				}
			}
		}
		f.wantStatus(f.do(head, want.path, "", as("puller"), "If-None-Match: "+string(want.digest)), http.StatusNotModified)
	}
}

// TestOpenedOnce: content that is no file is opened once, for the bytes that are
// asked for, and not at all where none are.
func TestOpenedOnce(t *testing.T) {
	f := newFixture(t)
	d := f.reg.addBlob("docs", []byte("0123456789"))
	for header, want := range map[string]string{
		"X-None: ": "[0+10]", "Range: bytes=2-4": "[2+3]", "Range: bytes=7-": "[7+3]", "Range: bytes=-4": "[6+4]",
		"Range: bytes=0-99": "[0+10]", "Range: bytes= 2-4": "[2+3]", "Range: bytes=-99": "[0+10]", "If-Match: \"sha256:0\"": "[0+10]",
	} {
		f.reg.opened = nil
		f.do(get, "/v2/docs/blobs/"+string(d), "", header)
		if got := fmt.Sprint(f.reg.opened); got != want {
			t.Errorf("%s: opened %s, want %s", header, got, want)
		}
	}
	f.reg.opened = nil
	f.do(head, "/v2/docs/blobs/"+string(d), "")
	if got := fmt.Sprint(f.reg.opened); got != "[0+0]" {
		t.Errorf("HEAD: opened %s, want [0+0]", got)
	}
}

// TestBrokenContent: bytes that turn out to be wrong on their way never arrive
// as a complete answer.
func TestBrokenContent(t *testing.T) {
	f := newFixture(t)
	f.reg.broken = errors.New("these are not the bytes of the digest")
	for _, data := range []string{"short", body} {
		d := f.reg.addBlob("docs", []byte(data))
		a, err := f.try(get, "/v2/docs/blobs/"+string(d), "")
		if err == nil {
			t.Errorf("a complete answer of %d bytes with status %d", len(a.body), a.StatusCode)
		}
	}
	if !strings.Contains(f.log.String(), "these are not the bytes") {
		t.Errorf("log: %s", f.log)
	}
}

// TestKnownNotRead: who may push without pulling learns that a blob is there.
func TestKnownNotRead(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		policy, err := access.Compile([]access.Rule{{Names: []string{"pusher"}, Type: access.TypeRegistry, Actions: []string{"push"}}})
		if err != nil {
			t.Fatal(err)
		}
		o.Policy = func() *access.Policy { return policy }
	})
	path := "/v2/team/app/blobs/" + string(f.reg.addBlob("team/app", []byte("blob")))
	f.wantStatus(f.do(head, path, "", as("pusher")), http.StatusOK)
	a := f.do(get, path, "", as("pusher"))
	f.wantStatus(a, http.StatusForbidden)
	if a.Header.Get("Docker-Content-Digest") != "" || a.Header.Get("Etag") != "" {
		t.Errorf("a refusal with headers of content: %v", a.Header)
	}
}

// TestReadFrom: what is sent from a file reaches the connection's ReadFrom as a
// file behind one LimitedReader, which is what the kernel can copy.
func TestReadFrom(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(body); err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	inner := &fileTaker{ResponseWriter: nil, header: make(http.Header)}
	w := newResponse(inner, httptest.NewRequest(get, "/", nil), newBuffers())
	w.tcp = new(net.TCPConn)
	n, err := io.CopyN(w, file, int64(len(body)))
	if err != nil || n != int64(len(body)) || w.sent != n || w.status != http.StatusOK {
		t.Errorf("%d bytes of %d, %d counted, status %d, %v", n, len(body), w.sent, w.status, err)
	}
	if inner.pieces != 2 || inner.b.String() != body {
		t.Errorf("%d pieces, want 2, of %d bytes", inner.pieces, inner.b.Len())
	}
}

// TestFilesKeepConnections: what goes to the connection past net/http is counted
// by it all the same, so that the next answer comes over the same connection, and
// a file that turns out to be too short ends it.
func TestFilesKeepConnections(t *testing.T) {
	f := newFixture(t)
	f.reg.files = t.TempDir()
	path := "/v2/docs/blobs/" + string(f.reg.addBlob("docs", []byte(body)))
	conn := f.dial("")
	answers := bufio.NewReader(conn)
	ask := func(method, more string) (*http.Response, string, error) {
		t.Helper()
		if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: r.test\r\n%s\r\n", method, path, more); err != nil {
			t.Fatal(err)
		}
		r := &http.Request{Method: method}
		resp, err := http.ReadResponse(answers, r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, err := io.ReadAll(resp.Body)
		return resp, string(data), err
	}
	for _, test := range []struct {
		method, more, want string
	}{
		{get, "", body}, {get, "Range: bytes=10-19\r\n", body[10:20]}, {head, "", ""}, {get, "Range: bytes=5-\r\n", body[5:]},
		{get, "If-None-Match: *\r\n", ""}, {get, "", body},
	} {
		resp, got, err := ask(test.method, test.more)
		if err != nil || got != test.want || resp.Close {
			t.Fatalf("%s %q: status %d, %d bytes of %d, close %v, %v", test.method, test.more, resp.StatusCode, len(got), len(test.want), resp.Close, err)
		}
	}
	resp, got, err := ask(get, "Range: bytes=0-0,10-19\r\n")
	if err != nil || resp.StatusCode != http.StatusPartialContent || !strings.Contains(got, body[10:20]) {
		t.Fatalf("two ranges: status %d, %q, %v", resp.StatusCode, got, err)
	}
	f.reg.short = 1000
	if resp, got, err := ask(get, ""); err == nil {
		t.Errorf("a file that is too short: status %d, %d bytes", resp.StatusCode, len(got))
	}
	if _, err := answers.ReadByte(); err == nil {
		t.Error("the connection goes on after an answer that ended early")
	}
}

// fileTaker is a connection that takes files.
type fileTaker struct {
	http.ResponseWriter
	header http.Header
	b      strings.Builder
	pieces int
}

func (f *fileTaker) Header() http.Header { return f.header }
func (f *fileTaker) WriteHeader(int)     {}

func (f *fileTaker) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return 0, fmt.Errorf("a %T", r)
	}
	if _, ok := limited.R.(*os.File); !ok {
		return 0, fmt.Errorf("a LimitedReader of a %T", limited.R)
	}
	f.pieces++
	return io.Copy(&f.b, r)
}

// dial sends text over a connection of its own.
func (f *fixture) dial(text string) net.Conn {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.Listener.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		f.t.Fatal(err)
	}
	return conn
}

// raw sends text over a connection of its own and returns the status line.
func (f *fixture) raw(text string) string {
	f.t.Helper()
	line, err := bufio.NewReader(f.dial(text)).ReadString('\n')
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestFraming: a request that two servers could read differently is refused, or
// is the last of its connection.
func TestFraming(t *testing.T) {
	f := newFixture(t)
	for _, header := range []string{
		"Content-Length: 5\r\nContent-Length: 6\r\n",
		"Transfer-Encoding: xchunked\r\n",
		"Transfer-Encoding : chunked\r\n",
	} {
		status := f.raw("POST /auth/token HTTP/1.1\r\nHost: a\r\n" + header + "\r\nhello")
		if !strings.HasPrefix(status, "HTTP/1.1 400") && !strings.HasPrefix(status, "HTTP/1.1 501") {
			t.Errorf("%q: %s", header, status)
		}
	}
	for _, request := range []string{"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"} {
		if status := f.raw(request); status != "HTTP/1.1 405 Method Not Allowed" {
			t.Errorf("%q: %s", request, status)
		}
	}
	if status := f.raw("GET / HTTP/1.0\r\n\r\n"); status != "HTTP/1.0 200 OK" {
		t.Errorf("a probe without a host: %s", status)
	}
}
