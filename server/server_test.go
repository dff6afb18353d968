package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

func TestHealth(t *testing.T) {
	ready, degraded := true, []string(nil)
	f := newFixture(t, func(o *Options) {
		o.Health = func(context.Context) (bool, []string) { return ready, degraded }
	})
	check := func(status int, body string) {
		t.Helper()
		a := f.do(get, "/readyz", "")
		if a.StatusCode != status || strings.TrimSpace(a.body) != body {
			t.Errorf("%d %s, want %d %s", a.StatusCode, a.body, status, body)
		}
	}
	check(200, `{"status":"ok"}`)
	degraded = []string{"directory corp"}
	check(200, `{"status":"degraded","degraded":["directory corp"]}`)
	ready = false
	check(503, `{"status":"unavailable","degraded":["directory corp"]}`)
	for _, path := range []string{"/", "/livez"} {
		f.wantStatus(f.do(get, path, "", "Authorization: nonsense"), http.StatusOK)
	}
}

func TestDebug(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("counted")) })
	debug := httptest.NewServer(New(Options{Metrics: metrics, MetricsPath: "/numbers"}).Debug())
	defer debug.Close()
	f := &fixture{Server: debug, t: t}
	if a := f.do(get, "/numbers", ""); a.body != "counted" {
		t.Errorf("metrics: %d %s", a.StatusCode, a.body)
	}
	f.wantStatus(f.do(get, "/debug/health", ""), http.StatusOK)
	f.wantStatus(f.do(get, "/debug/pprof/cmdline", ""), http.StatusOK)
	f.wantStatus(f.do(get, "/v2/", ""), http.StatusNotFound)
}

// TestLocation: a path alone is right behind any proxy; the configured address
// goes before it.
func TestLocation(t *testing.T) {
	host := &url.URL{Scheme: "https", Host: "hub.test"}
	forged := []string{as("pusher"), "Host: evil.test", "X-Forwarded-Host: evil.test", "Forwarded: host=evil.test"}
	tests := []struct {
		change func(*Options)
		prefix string
		want   string
	}{
		{func(*Options) {}, "", "/v2/team/app/"},
		{func(o *Options) { o.Prefix = "/sub/" }, "/sub", "/sub/v2/team/app/"},
		{func(o *Options) { o.Host = host }, "", "https://hub.test/v2/team/app/"},
		{func(o *Options) { o.Host, o.RelativeURLs = host, true }, "", "/v2/team/app/"},
	}
	for _, test := range tests {
		f := newFixture(t, test.change)
		start := f.do(post, test.prefix+"/v2/team/app/blobs/uploads/", "", forged...)
		push := f.do(put, test.prefix+"/v2/team/app/manifests/v1", string(imageManifest("", "")), forged...)
		if got, want := start.Header.Get("Location"), test.want+"blobs/uploads/upload-1"; got != want {
			t.Errorf("upload at %s, want %s", got, want)
		}
		if got, want := push.Header.Get("Location"), test.want+"manifests/v1"; got != want {
			t.Errorf("manifest at %s, want %s", got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Headers = http.Header{"access-control-allow-origin": {"https://ui.test"}, "X-Content-Type-Options": {"sniff"}}
	})
	for _, path := range []string{"/", "/v2/", "/nowhere", "/v2/docs/manifests/v1"} {
		h := f.do(get, path, "").Header
		if got := h["Access-Control-Allow-Origin"]; !slices.Equal(got, []string{"https://ui.test"}) {
			t.Errorf("%s: %q", path, got)
		}
		if got := h["X-Content-Type-Options"]; !slices.Equal(got, []string{"nosniff"}) {
			t.Errorf("%s: %q", path, got)
		}
	}
	a := f.do(http.MethodOptions, "/v2/docs/manifests/v1", "", "Origin: https://ui.test")
	if a.StatusCode != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != "https://ui.test" {
		t.Errorf("OPTIONS: %d %v", a.StatusCode, a.Header)
	}
}

// meter keeps what it is told.
type meter struct {
	mu      sync.Mutex
	begun   []string
	samples []Sample
	end     chan struct{}
}

func (m *meter) Begin(handler string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = append(m.begun, handler)
}

func (m *meter) End(s Sample) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.samples = append(m.samples, s)
	m.end <- struct{}{}
}

func TestMeter(t *testing.T) {
	m := &meter{end: make(chan struct{}, 10)}
	f := newFixture(t, func(o *Options) { o.Meter = m })
	d := f.reg.addBlob("docs", []byte("blob"))
	f.do(get, "/v2/docs/blobs/"+string(d), "")
	f.do("BREW", "/v2/nowhere", "")
	f.do(put, "/v2/team/app/manifests/v1", "{}", as("puller"))
	for range 3 {
		<-m.end
	}
	want := []Sample{
		{Handler: "blob", Method: "get", Status: 200, Sent: 4},
		{Handler: "base", Method: "other", Status: 405},
		{Handler: "manifest", Method: "put", Status: 403, Received: 2, Refused: true},
	}
	m.samples[1].Sent, m.samples[2].Sent = 0, 0
	if diff := cmp.Diff(want, m.samples, cmpopts.IgnoreFields(Sample{}, "Duration")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"blob", "base", "manifest"}, m.begun); diff != "" {
		t.Error(diff)
	}
}

// TestPanic: a panic is an answer, a line in the log and a count, and the
// process lives.
func TestPanic(t *testing.T) {
	m := &meter{end: make(chan struct{}, 10)}
	f := newFixture(t, func(o *Options) {
		o.Meter = m
		o.View = func(access.Caller) registry.Registry { panic("a secret path") }
	})
	a := f.do(get, "/v2/docs/manifests/v1", "")
	f.wantStatus(a, http.StatusInternalServerError)
	ref := "(ref " + a.Header.Get("X-Request-Id") + ")"
	if strings.Contains(a.body, "secret") || !strings.Contains(a.body, ref) || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %s", a.Header.Get("Content-Type"), a.body)
	}
	if <-m.end; !m.samples[0].Panicked || m.samples[0].Status != 500 {
		t.Errorf("%+v", m.samples)
	}
	if !strings.Contains(f.log.String(), "a secret path") {
		t.Errorf("log: %s", f.log)
	}
	f.wantStatus(f.do(get, "/livez", ""), http.StatusOK)
}

func TestAccessLog(t *testing.T) {
	f := newFixture(t)
	f.seed("puller")
	f.do(get, "/v2/team/app/tags/list?n=1", "", as("puller"), "User-Agent: a\"b\tc", "Referer: http://x/")
	f.do(head, "/livez", "") // after which the line is there
	f.do(post, "/auth/token?grant_type=password&username=puller&password=secret-puller", "")
	deadline := time.Now().Add(5 * time.Second)
	for strings.Count(f.access.String(), "\n") < 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	line, next, _ := strings.Cut(f.access.String(), "\n")
	if !strings.Contains(next, `"HEAD /livez HTTP/1.1" 200 0 `) {
		t.Errorf("%s", next)
	}
	before, rest, _ := strings.Cut(line, " [")
	_, after, _ := strings.Cut(rest, "] ")
	want := `"GET /v2/team/app/tags/list?n=1 HTTP/1.1" 200 34 "http://x/" "a\"b\tc"`
	if before != "127.0.0.1 - puller" || after != want {
		t.Errorf("%s\nwant 127.0.0.1 - puller [...] %s", line, want)
	}
	if strings.Contains(next, "secret") || !strings.Contains(next, `"POST /auth/token HTTP/1.1" 400 `) {
		t.Errorf("a password in the address: %s", next)
	}
}

// TestHTTP2: deadlines and broken answers work there as well.
func TestHTTP2(t *testing.T) {
	f := newFixture(t)
	tls := httptest.NewUnstartedServer(nil)
	tls.Config = NewHTTPServer(f.Config.Handler, slog.New(slog.DiscardHandler))
	tls.EnableHTTP2 = true
	tls.StartTLS()
	defer tls.Close()
	send := func(method, path, body string) (int, string, error) {
		r, err := http.NewRequest(method, tls.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("root", "secret-root")
		resp, err := tls.Client().Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		if resp.ProtoMajor != 2 {
			t.Fatalf("HTTP/%d", resp.ProtoMajor)
		}
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data), err
	}
	d := oci.DigestOf(oci.SHA256, []byte(body))
	if status, answer, err := send(post, "/v2/docs/blobs/uploads/?digest="+string(d), body); status != 201 || err != nil {
		t.Fatalf("push: %d %s %v", status, answer, err)
	}
	if status, got, err := send(get, "/v2/docs/blobs/"+string(d), ""); status != 200 || got != body || err != nil {
		t.Errorf("pull: %d, %d bytes, %v", status, len(got), err)
	}
	f.reg.broken = errors.New("these are not the bytes of the digest")
	if _, got, err := send(get, "/v2/docs/blobs/"+string(d), ""); err == nil {
		t.Errorf("a complete answer of %d bytes", len(got))
	}
}

// TestTable: every code that can be told has a status, and the routes are whole.
func TestTable(t *testing.T) {
	for k := kindRoot; k <= kindReferrers; k++ {
		if len(routes[k].ops) == 0 || routes[k].label == "" {
			t.Errorf("kind %d has no route", k)
		}
	}
	for code, status := range statuses {
		if status < 400 || status > 599 {
			t.Errorf("%s: %d", code, status)
		}
	}
}
