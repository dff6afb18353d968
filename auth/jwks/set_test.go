package jwks

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A publisher publishes keys, well or badly.
type publisher struct {
	*httptest.Server
	asked atomic.Int32
	mu    sync.Mutex
	serve http.HandlerFunc
}

func publish(t *testing.T, start func(*httptest.Server)) *publisher {
	t.Helper()
	p := new(publisher)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		p.mu.Lock()
		serve := p.serve
		p.mu.Unlock()
		serve(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(p.Server)
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) answer(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve = h
}

func body(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(data) }
}

func down(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }

// wantKeys fails unless the Set has that many keys of an ID.
func wantKeys(t *testing.T, s *Set, id string, n int) {
	t.Helper()
	keys, err := s.Lookup(t.Context(), id)
	if err != nil || len(keys) != n {
		t.Errorf("%d keys of %q, %v, want %d", len(keys), id, err, n)
	}
}

func TestCheck(t *testing.T) {
	keys := string(named(t, "p256", "a"))
	for _, test := range []struct {
		source Source
		want   string
	}{
		{Source{JSON: []byte(keys)}, ""},
		{Source{File: "f"}, ""},
		{Source{Certificates: "f"}, ""},
		{Source{URL: "https://issuer.test/keys?x=1", CAFile: "ca"}, ""},
		{Source{Issuer: "https://issuer.test/realm"}, ""},
		{Source{URL: "http://127.0.0.1:8080/keys"}, ""},
		{Source{URL: "http://[::1]:8080/keys"}, ""},
		{Source{URL: "http://localhost/keys"}, ""},
		{Source{}, "no keys are given"},
		{Source{CAFile: "ca"}, "no keys are given"},
		{Source{File: "f", URL: "https://issuer.test"}, "in more than one way"},
		{Source{File: "f", CAFile: "ca"}, "a CA file is only for keys that are fetched"},
		{Source{JSON: []byte("{}")}, "no keys"},
		{Source{URL: "http://issuer.test/keys"}, "it must begin with https://"},
		{Source{URL: "http://127.0.0.1.evil.test/keys"}, "it must begin with https://"},
		{Source{URL: "file:///etc/passwd"}, "it must be a URL"},
		{Source{URL: "https:keys"}, "it must be a URL"},
		{Source{URL: "keys"}, "it must be a URL"},
		{Source{URL: "https://a:b@issuer.test"}, "no user name and no password"},
		{Source{Issuer: "https://issuer.test#x"}, "no fragment"},
	} {
		err := test.source.Check()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.source, err, test.want)
		}
	}
}

// TestRotation: an unknown ID makes a Set look, but not at every one, and not
// twice at a time.
func TestRotation(t *testing.T) {
	p := publish(t, (*httptest.Server).Start)
	p.answer(body(named(t, "p256", "first")))
	c := newClock()
	s := open(t, Source{URL: p.URL}, c)
	var asking sync.WaitGroup
	for range 20 {
		asking.Go(func() { wantKeys(t, s, "first", 1) })
	}
	asking.Wait()
	if n := p.asked.Load(); n != 1 {
		t.Errorf("asked %d times at the start, want 1", n)
	}
	p.answer(body(set(t, jwk(t, "p384", map[string]any{"kid": "second"}), jwk(t, "rsa", map[string]any{"kid": "third"}))))
	for i := range 50 {
		wantKeys(t, s, fmt.Sprintf("../../%d", i), 0)
	}
	wantKeys(t, s, "first", 1)
	c.pass(askAgain)
	wantKeys(t, s, "second", 1)
	wantKeys(t, s, "first", 0)
	wantKeys(t, s, "", 2)
	if n := p.asked.Load(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

// TestDown: the keys that are known serve while their source does not, and
// without any it is an error, which is no judgement of a token.
func TestDown(t *testing.T) {
	good := named(t, "p256", "a")
	slow := func(w http.ResponseWriter, r *http.Request) {
		for _, b := range good {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-r.Context().Done():
				return
			}
			w.Write([]byte{b})
			w.(http.Flusher).Flush()
		}
	}
	elsewhere := publish(t, (*httptest.Server).Start)
	elsewhere.answer(body(named(t, "rsa", "evil")))
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"an error":           {down, "502"},
		"a byte at a time":   {slow, "deadline exceeded"},
		"ten megabytes":      {body([]byte(`{"keys":[` + strings.Repeat(" ", 10<<20) + `]}`)), "larger than 1048576 bytes"},
		"no keys":            {body(set(t)), "no keys"},
		"words":              {body([]byte("<html>")), "not a JSON Web Key Set"},
		"a redirect":         {http.RedirectHandler(elsewhere.URL, http.StatusFound).ServeHTTP, "redirects elsewhere"},
		"redirects for ever": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) }, "redirects elsewhere"},
		"a torn connection":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := publish(t, (*httptest.Server).Start)
			p.answer(test.answer)
			c := newClock()
			s := open(t, Source{URL: p.URL + "/keys"}, c)
			s.timeout = 200 * time.Millisecond
			for range 2 { // asked, and not asked again
				if keys, err := s.Lookup(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("%d keys, %v, want an error with %q", len(keys), err, test.want)
				}
			}
			p.answer(body(good))
			c.pass(askAgain)
			s.timeout = fetchTime
			wantKeys(t, s, "a", 1)
			if s.Degraded() != "" {
				t.Errorf("still degraded: %s", s.Degraded())
			}
			p.answer(test.answer)
			s.timeout = 200 * time.Millisecond
			c.pass(renewAfter)
			s.Tend(t.Context())
			wantKeys(t, s, "a", 1)
			if !strings.Contains(s.Degraded(), test.want) {
				t.Errorf("degraded %q, want %q", s.Degraded(), test.want)
			}
			if keys, err := s.Lookup(t.Context(), "new"); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%d keys, %v, for one that could be there now", len(keys), err)
			}
		})
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("another host was asked %d times", n)
	}
}

// TestTend: fetched keys are renewed each hour, and each minute while that goes
// wrong.
func TestTend(t *testing.T) {
	p := publish(t, (*httptest.Server).Start)
	p.answer(body(named(t, "p256", "a")))
	c := newClock()
	s := open(t, Source{URL: p.URL}, c)
	want := func(n int32) {
		t.Helper()
		s.Tend(t.Context())
		if got := p.asked.Load(); got != n {
			t.Errorf("asked %d times, want %d", got, n)
		}
	}
	want(1)
	want(1)
	c.pass(renewAfter)
	p.answer(down)
	want(2)
	c.pass(askAgain)
	want(2)
	c.pass(retryAfter)
	want(3)
	p.answer(body(named(t, "p256", "b")))
	c.pass(retryAfter)
	want(4)
	wantKeys(t, s, "b", 1)
}

// TestLeaving: who asks may leave, and the fetch goes on for the others; Close
// ends it.
func TestLeaving(t *testing.T) {
	p := publish(t, (*httptest.Server).Start)
	begun, end := make(chan struct{}, 1), make(chan struct{})
	p.answer(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-end:
			w.Write(named(t, "p256", "a"))
		case <-r.Context().Done():
		}
	})
	s := open(t, Source{URL: p.URL}, newClock())
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() { _, err := s.Lookup(ctx, "a"); left <- err }()
	<-begun
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("who left got %v", err)
	}
	stayed := make(chan error)
	go func() { _, err := s.Lookup(t.Context(), "a"); stayed <- err }()
	close(end)
	if err := <-stayed; err != nil {
		t.Errorf("who stayed got %v", err)
	}
	wantKeys(t, s, "a", 1)

	silent := publish(t, (*httptest.Server).Start)
	silent.answer(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	})
	other := open(t, Source{URL: silent.URL}, newClock())
	go func() { _, err := other.Lookup(t.Context(), "a"); left <- err }()
	<-begun
	other.Close()
	if err := <-left; err == nil {
		t.Error("a closed Set has keys")
	}
}

func TestDiscovery(t *testing.T) {
	p := publish(t, (*httptest.Server).StartTLS)
	other := publish(t, (*httptest.Server).Start) // a second host may hold the keys
	other.answer(body(named(t, "p256", "a")))
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer := p.URL + "/realm"
	document := func(issuer, keys string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/realm/.well-known/openid-configuration" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Write(encode(t, map[string]any{"issuer": issuer, "jwks_uri": keys, "more": []int{1}}))
		}
	}
	for _, test := range []struct {
		name   string
		source Source
		answer http.HandlerFunc
		want   string
	}{
		{"as it should be", Source{Issuer: issuer, CAFile: ca}, document(issuer, other.URL), ""},
		{"without the CA", Source{Issuer: issuer}, document(issuer, other.URL), "certificate"},
		{"a CA file that is not there", Source{Issuer: issuer, CAFile: ca + "x"}, document(issuer, other.URL), "read the CA file"},
		{"another issuer", Source{Issuer: issuer, CAFile: ca}, document(issuer+"/", other.URL), "of another issuer"},
		{"keys without TLS", Source{Issuer: issuer, CAFile: ca}, document(issuer, "http://keys.test"), "jwks_uri"},
		{"no keys", Source{Issuer: issuer, CAFile: ca}, document(issuer, ""), "jwks_uri"},
		{"words", Source{Issuer: issuer, CAFile: ca}, body([]byte("<html>")), "not JSON"},
	} {
		p.answer(test.answer)
		s := open(t, test.source, newClock())
		keys, err := s.Lookup(t.Context(), "a")
		if test.want == "" && (err != nil || len(keys) != 1) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %d keys, %v, want %q", test.name, len(keys), err, test.want)
		}
	}
}

// TestFile: an edit counts once it has stood still, and one that cannot be used
// changes nothing.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	write := func(data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := NewSet(Source{File: path}, Options{Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatalf("a file that is not there: %+v", s)
	}
	write(named(t, "p256", "a"))
	s := open(t, Source{File: path}, newClock())
	wantKeys(t, s, "a", 1)
	write(named(t, "p256", "b"))
	s.Tend(t.Context())
	wantKeys(t, s, "b", 0)
	s.Tend(t.Context())
	wantKeys(t, s, "b", 1)
	for name, bad := range map[string]func(){
		"broken":   func() { write([]byte("{")) },
		"empty":    func() { write(nil) },
		"no more":  func() { os.Remove(path) },
		"too much": func() { write(make([]byte, maxBody+1)) },
	} {
		bad()
		s.Tend(t.Context())
		s.Tend(t.Context())
		wantKeys(t, s, "b", 1)
		if s.Degraded() == "" || s.Reload() == nil {
			t.Errorf("%s: all is well", name)
		}
		write(named(t, "p256", "b"))
		s.Tend(t.Context())
		s.Tend(t.Context())
		if s.Degraded() != "" {
			t.Errorf("after %s: still %s", name, s.Degraded())
		}
	}
	write(named(t, "p256", "c"))
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	wantKeys(t, s, "c", 1)
}
