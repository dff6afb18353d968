package ldap

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// A halting server has every user, of one group, and can be made to wait with
// its answers to searches.
type halting struct {
	mu    sync.Mutex
	group string
	halt  chan struct{} // closed to go on; nil while it does not wait
}

// stop makes the server wait, until the function that it returns is called.
func (h *halting) stop() (goOn func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	halt := make(chan struct{})
	h.halt = halt
	return sync.OnceFunc(func() { close(halt) })
}

func (h *halting) move(group string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.group = group
}

func (h *halting) reply(w io.Writer, id int64, request *ber.Packet) bool {
	if request.Tag != goldap.ApplicationSearchRequest || !strings.Contains(filterOf(request), "uid=") {
		return false
	}
	h.mu.Lock()
	halt := h.halt
	h.mu.Unlock()
	if halt != nil {
		<-halt
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	name := strings.Trim(strings.TrimPrefix(filterOf(request), "(uid="), ")")
	send(w, id, found("uid="+name+",dc=test", "uid", name, "memberOf", "cn="+h.group+",dc=test"))
	send(w, id, result(goldap.ApplicationSearchResultDone, 0, ""))
	return true
}

// TestSilence: who is known does not wait for a server that has stopped to
// answer, and has the groups of before until it does.
func TestSilence(t *testing.T) {
	t.Parallel()
	h := &halting{group: "old"}
	f := startFake(t, h.reply)
	c := newClock()
	d := openFake(t, f, func(o *Options) { o.Now = c.now })
	d.limits = limits{dial: time.Second, operation: 3 * time.Second, total: 5 * time.Second, down: time.Hour, absent: time.Minute, recent: time.Minute, silence: 200 * time.Millisecond}
	group := func(name string, most time.Duration) string {
		t.Helper()
		began := time.Now()
		id, err := resolve(t, d, name)
		if took := time.Since(began); err != nil || took > most {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		return strings.Join(id.Groups, " ")
	}
	for _, name := range []string{"alice", "bob", "carol"} {
		group(name, time.Second)
	}
	h.move("new")
	c.add(DefaultInterval)
	if got := group("alice", time.Second); got != "new" {
		t.Errorf("while the server answers alice is in %q", got)
	}

	goOn := h.stop()
	defer goOn()
	c.add(DefaultInterval)
	if got := group("bob", time.Second); got != "old" {
		t.Errorf("the first who asks is in %q", got)
	}
	if got := group("carol", 100*time.Millisecond); got != "old" {
		t.Errorf("the second is in %q", got)
	}
	if got := d.Degraded(); got != "" {
		t.Errorf("already %s", got)
	}
	goOn() // within the time of the question, which goes on behind
	eventually(t, time.Second, func() bool { return group("bob", time.Second) == "new" })

	goOn = h.stop()
	defer goOn()
	c.add(DefaultInterval)
	group("bob", time.Second)
	eventually(t, 5*time.Second, func() bool { return d.Degraded() != "" })
	group("alice", 100*time.Millisecond)
	if _, err := resolve(t, d, "dave"); !errors.As(err, new(*DownError)) {
		t.Errorf("who is not known: %v", err)
	}
	c.add(DefaultStale)
	if _, err := resolve(t, d, "alice"); !errors.As(err, new(*DownError)) {
		t.Errorf("after the time of that: %v", err)
	}
}

// TestSilentFirst: while the first of two servers is silent, the second is asked
// before it.
func TestSilentFirst(t *testing.T) {
	t.Parallel()
	h := &halting{group: "g"}
	first, second := startFake(t, h.reply), startFake(t, (&halting{group: "g"}).reply)
	d := openFake(t, first, func(o *Options) { o.URLs = append(o.URLs, second.url) })
	d.limits = limits{dial: time.Second, operation: 3 * time.Second, total: 5 * time.Second, down: time.Hour, absent: time.Minute, recent: time.Minute, silence: 200 * time.Millisecond}
	goOn := h.stop()
	defer goOn()
	var asking sync.WaitGroup
	asking.Go(func() { _, _ = resolve(t, d, "alice") })
	time.Sleep(2 * d.limits.silence)
	began := time.Now()
	if _, err := resolve(t, d, "bob"); err != nil || time.Since(began) > time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	goOn()
	asking.Wait()
}

// TestRetire: a directory that is not needed any more answers who still asks, and
// keeps no connection.
func TestRetire(t *testing.T) {
	t.Parallel()
	h := &halting{group: "g"}
	f := startFake(t, h.reply)
	d := openFake(t, f, nil)
	d.limits.operation, d.limits.total = 3*time.Second, 5*time.Second
	if _, err := resolve(t, d, "alice"); err != nil || f.connections() != 1 {
		t.Fatalf("%v, %d connections", err, f.connections())
	}
	goOn := h.stop()
	asked := make(chan error)
	go func() { _, err := resolve(t, d, "bob"); asked <- err }()
	eventually(t, time.Second, func() bool { _, waits, _ := d.servers[0].state(0); return waits })
	d.Retire()
	goOn()
	if err := <-asked; err != nil {
		t.Errorf("who asked before: %v", err)
	}
	if _, err := resolve(t, d, "carol"); err != nil {
		t.Errorf("who asks after: %v", err)
	}
	d.Tend(t.Context())
	eventually(t, time.Second, func() bool { return f.connections() == 0 })
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.b.String()), "\n")
}

// TestSaysWhy: the log names a server that cannot be used and the reason, in one
// line and without a secret, and so does Degraded for the whole directory.
func TestSaysWhy(t *testing.T) {
	t.Parallel()
	const secret = "service-secret"
	refuse := func(w io.Writer, id int64, request *ber.Packet) bool {
		if request.Tag == goldap.ApplicationBindRequest {
			send(w, id, result(goldap.ApplicationBindResponse, goldap.LDAPResultInvalidCredentials, "no\nsuch password: "+secret))
		}
		return true
	}
	f := startFake(t, refuse)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	d := openFake(t, f, func(o *Options) {
		o.URLs = []string{"ldap://127.0.0.1:1", f.url}
		o.BindPassword, o.BindPasswordFile = "", file
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	d.Tend(t.Context())
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, _ = d.servicePassword()
	got := log.all()
	want := [][]string{
		{"directory=corp", "server=ldap://127.0.0.1:1", "connection refused"},
		{"directory=corp", "server=" + f.url, "refuses binddn and its password", "such password: ***"},
	}
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d: %q", len(got), len(want), got)
	}
	degraded := d.Degraded()
	if !strings.Contains(degraded, "bindpasswordfile: ") {
		t.Errorf("degraded is %q", degraded)
	}
	for i, parts := range want {
		for _, part := range parts {
			if !strings.Contains(got[i], part) {
				t.Errorf("%q is not in %s", part, got[i])
			}
		}
		if last := parts[len(parts)-1]; !strings.Contains(degraded, last) {
			t.Errorf("%q is not in %q", last, degraded)
		}
	}
	if all := strings.Join(got, "") + degraded; strings.Contains(all, secret) || strings.Contains(degraded, "\n") {
		t.Errorf("a secret, or more than a line: %q", all)
	}
}
