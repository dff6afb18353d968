package ldap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/auth"
	"berth/test/directory"
)

// TestTLS is every way to speak to a server that is not safe, and those that
// are.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	other := directory.StartOpenLDAP(t)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // part of the error
	}{
		{"ldaps", nil, ""},
		{"StartTLS", func(o *Options) { o.URLs, o.StartTLS = []string{s.URL}, true }, ""},
		{"by another name of the certificate", func(o *Options) { o.ServerName = "localhost" }, ""},
		{"clear text", func(o *Options) { o.URLs = []string{s.URL} }, ""},
		{"the second of two", func(o *Options) { o.URLs = []string{other.TLSURL, s.TLSURL} }, ""},
		{"another authority", func(o *Options) { o.CAFile = other.CAFile }, "signed by unknown authority"},
		{"another authority, StartTLS", func(o *Options) { o.CAFile, o.URLs, o.StartTLS = other.CAFile, []string{s.URL}, true }, "signed by unknown authority"},
		{"another name", func(o *Options) { o.ServerName = "dc1.corp.test" }, "not dc1.corp.test"},
		{"another name, StartTLS", func(o *Options) {
			o.ServerName, o.URLs, o.StartTLS = "dc1.corp.test", []string{s.URL}, true
		}, "not dc1.corp.test"},
		{"the authorities of the system", func(o *Options) { o.CAFile = "" }, "signed by unknown authority"},
		{"no TLS at that port", func(o *Options) { o.URLs = []string{strings.Replace(s.URL, "ldap:", "ldaps:", 1)} }, "TLS"},
	} {
		d := open(t, s, tt.change)
		binds := strings.Count(s.Log(), "BIND")
		_, err := login(d, "alice", "alice-secret")
		var down *DownError
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want == "":
		case !errors.As(err, &down), !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		case strings.Count(s.Log(), "BIND") != binds:
			t.Errorf("%s: there was a bind", tt.name)
		case !strings.Contains(d.Degraded(), tt.want):
			t.Errorf("%s: degraded is %q", tt.name, d.Degraded())
		}
	}
	if s.Binds(alice) == 0 {
		t.Error("nobody was verified at all")
	}
}

// TestServiceAccount is a password of the service account that is wrong, and
// then right again.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong-password\n")
	d := open(t, s, func(o *Options) { o.BindPassword, o.BindPasswordFile = "", file })
	d.limits.down = 10 * time.Millisecond
	_, err := login(d, "alice", "alice-secret")
	if err == nil || errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrNoMatch) || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("with a wrong password of binddn: %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	if n := s.Binds(s.BindDN); n != 1 {
		t.Errorf("the service account was tried %d times", n)
	}
	write(s.Password + "\n")
	eventually(t, time.Second, func() bool { _, err := login(d, "alice", "alice-secret"); return err == nil })
	if got := d.Degraded(); got != "" {
		t.Error(got)
	}
	write("")
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Errorf("with an empty file: %v", err)
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, most time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v", most)
		}
	}
}

// TestStopped is a directory that hangs under 200 logins, and then goes on.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	for i := range 20 {
		s.AddUser(fmt.Sprintf("user%d", i), "user-secret")
	}
	d := open(t, s, func(o *Options) { o.Interval = time.Millisecond })
	if _, err := login(d, "user0", "user-secret"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	began := time.Now()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, err := login(d, fmt.Sprintf("user%d", i%20), "user-secret")
			if !errors.As(err, new(*DownError)) {
				t.Errorf("while it hangs: %v", err)
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("an answer after %v", took)
			}
		})
	}
	all.Wait()
	began = time.Now()
	if id, err := resolve(t, d, "user0"); err != nil || id.Name != "user0" {
		t.Errorf("who is known: %v", err)
	}
	if _, err := resolve(t, d, "user1"); !errors.As(err, new(*DownError)) {
		t.Errorf("who is not known: %v", err)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("what is marked down answered after %v", took)
	}
	if d.Degraded() == "" {
		t.Error("it is not degraded")
	}
	s.Cont()
	eventually(t, 5*time.Second, func() bool { _, err := login(d, "user1", "user-secret"); return err == nil })
}

// TestStale is how long a user goes on while the directory is gone.
func TestStale(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	never := open(t, s, func(o *Options) { o.Now, o.Stale = c.now, -1 })
	for _, d := range []*Directory{d, never} {
		if _, err := resolve(t, d, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill()
	c.add(DefaultInterval + time.Second)
	if _, err := resolve(t, never, "alice"); !errors.As(err, new(*DownError)) {
		t.Errorf("never stale: %v", err)
	}
	if id, err := resolve(t, d, "alice"); err != nil || id.Name != "alice" {
		t.Errorf("stale: %v", err)
	}
	if _, err := login(d, "alice", "alice-secret"); !errors.As(err, new(*DownError)) {
		t.Errorf("a login: %v", err)
	}
	c.add(DefaultStale)
	if _, err := resolve(t, d, "alice"); !errors.As(err, new(*DownError)) {
		t.Errorf("after the time of that: %v", err)
	}
	s.Start()
	eventually(t, 5*time.Second, func() bool { _, err := resolve(t, d, "alice"); return err == nil })
}

// TestFailOver is a directory of which the first server is lost.
func TestFailOver(t *testing.T) {
	t.Parallel()
	first, second := directory.StartOpenLDAP(t), directory.StartOpenLDAP(t)
	for _, s := range []*directory.OpenLDAP{first, second} {
		s.AddUser("alice", "alice-secret")
	}
	d := open(t, first, func(o *Options) {
		o.URLs, o.StartTLS, o.CAFile = []string{first.URL, second.URL}, false, ""
		o.Interval = time.Millisecond
	})
	d.limits.down = 100 * time.Millisecond
	if _, err := login(d, "alice", "alice-secret"); err != nil || len(second.Log()) > 0 && strings.Contains(second.Log(), "uid=alice)") {
		t.Fatalf("%v, %s", err, second.Log())
	}
	first.Kill() // with connections in the pool
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Errorf("the second is not asked: %v", err)
	}
	if got := d.Degraded(); !strings.Contains(got, first.URL) {
		t.Errorf("degraded is %q", got)
	}
	first.Start()
	eventually(t, 2*time.Second, func() bool { return d.Degraded() == "" })
	// A server that is started again ends its connections, which is no reason to
	// take it for lost.
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	first.Start()
	if _, err := login(d, "alice", "alice-secret"); err != nil || d.Degraded() != "" {
		t.Errorf("after a restart: %v, %q", err, d.Degraded())
	}
}

// TestOneSearch has a thousand requests of one user at once.
func TestOneSearch(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	d := open(t, s, nil)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if _, err := resolve(t, d, "alice"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(s.Log(), `filter="(uid=alice)"`); n != 1 {
		t.Errorf("%d searches", n)
	}
	if _, err := d.Resolve(t.Context(), auth.Subject{Provider: "other", Name: "alice"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("of another provider: %v", err)
	}
	if _, err := d.Resolve(t.Context(), auth.Subject{Name: "alice", Credential: "ci"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("by a credential: %v", err)
	}
	if id, err := d.Resolve(t.Context(), auth.Subject{Name: "ALICE"}); err != nil || id.Name != "alice" {
		t.Errorf("whoever owns ALICE: %+v, %v", id, err)
	}
	if _, err := resolve(t, d, "ALICE"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("a subject that is not the directory's: %v", err)
	}
}
