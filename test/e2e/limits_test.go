package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const mebibyte = 1 << 20

// TestIdleMemory measures a server that has just served its first requests.
func TestIdleMemory(t *testing.T) {
	s := serve(t, "team.yml")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	c.mustPush(t, "team/app", "v1", newImage("small"))
	time.Sleep(2 * time.Second)
	rss := residentSet(t, s)
	t.Logf("idle: %.1f MiB", float64(rss)/mebibyte)
	if rss > 40*mebibyte {
		t.Errorf("an idle server holds %.1f MiB, want at most 40", float64(rss)/mebibyte)
	}
}

// TestStalledManifests leaves 300 pushes of manifests hanging before the last
// byte of 2 MiB: the server must not hold on to all that it was sent.
func TestStalledManifests(t *testing.T) {
	const stalled, size = 300, 2 * mebibyte
	s := serve(t, "team.yml")
	c := &client{base: s.url(), user: "user1", password: "secret1"}
	c.mustPush(t, "team/app", "v1", newImage("small"))
	before := residentSet(t, s)

	body := bytes.Repeat([]byte{' '}, size-1)
	token := c.bearer(t, "repository:team/app:pull,push").token
	var sending sync.WaitGroup
	var unanswered atomic.Int32
	for i := range stalled {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		sending.Go(func() {
			conn.SetDeadline(time.Now().Add(8 * time.Second))
			fmt.Fprintf(conn, "PUT /v2/team/app/manifests/stalled-%d HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n",
				i, s.addr, token, mediaTypeManifest, size)
			// The server may stop reading, or turn away whom it has no room for.
			conn.Write(body)
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			switch {
			case err != nil:
				unanswered.Add(1)
			case resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable:
				t.Errorf("a stalled push was answered with %s", resp.Status)
			}
		})
	}
	most := before
	for range 40 {
		most = max(most, residentSet(t, s))
		time.Sleep(250 * time.Millisecond)
	}
	sending.Wait()
	grown := float64(most-before) / mebibyte
	t.Logf("%d stalled pushes of %d MiB, %d of them unanswered: %.1f MiB more", stalled, size/mebibyte, unanswered.Load(), grown)
	if unanswered.Load() == 0 {
		t.Error("none of the pushes stalled: this shows nothing")
	}
	if grown > 128 {
		t.Errorf("stalled pushes cost %.1f MiB, want at most 128", grown)
	}
	if err := c.pull("team/app", "v1", newImage("small")); err != nil {
		t.Errorf("beside them: %v", err)
	}
}

// residentSet returns the memory that a server holds, in bytes.
func residentSet(t *testing.T, s *server) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("the status of the process has no VmRSS")
	return 0
}
