package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/access"
	"berth/oci"
)

// TestNarrowToken: a token to pull opens nothing that writes, be its holder who
// he may.
func TestNarrowToken(t *testing.T) {
	f := newFixture(t)
	narrow := f.bearer("root", "repository:team/app:pull", "registry:catalog:*")
	for _, s := range samples() {
		op := routes[s.kind].find(s.method)
		if op.action&(access.Push|access.Delete|access.Admin) == 0 {
			continue
		}
		f.seed("root")
		before := f.state()
		a := f.do(s.method, s.path, s.body, narrow)
		if a.StatusCode != http.StatusUnauthorized && s.kind != kindMetrics || a.StatusCode < 400 || f.state() != before {
			t.Errorf("%s %s: status %d, and %s", s.method, s.path, a.StatusCode, f.state())
		}
		if got := a.Header.Get("WWW-Authenticate"); s.kind != kindMetrics && !strings.Contains(got, `error="insufficient_scope"`) {
			t.Errorf("%s %s: challenge %q", s.method, s.path, got)
		}
	}
}

// TestSecretsStayInside sends secrets in every way in which a client may, and
// looks for them wherever something is written down.
func TestSecretsStayInside(t *testing.T) {
	var all lockedBuffer
	f := newFixture(t, func(o *Options) {
		o.Log = slog.New(slog.NewTextHandler(&all, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.AccessLog = &all
	})
	const canary = "canary-4e1f"
	basic := func(user, password string) string {
		r := http.Request{Header: make(http.Header)}
		r.SetBasicAuth(user, password)
		return "Authorization: " + r.Header.Get("Authorization")
	}
	tokens := f.tokenOf("offline_token=true&scope=repository:team/app:push", as("pusher"))
	secrets := []string{
		canary, "secret-pusher", strings.TrimPrefix(basic("pusher", canary), "Authorization: Basic "),
		strings.TrimPrefix(as("pusher"), "Authorization: Basic "), tokens.Token, tokens.RefreshToken,
	}
	form := "Content-Type: application/x-www-form-urlencoded"
	for _, r := range []struct{ method, path, body, header string }{
		{get, "/v2/", "", as("pusher")},
		{get, "/v2/team/app/manifests/v1", "", basic("pusher", canary)},
		{get, "/v2/", "", basic(canary, canary)},
		{get, "/v2/", "", "Authorization: Bearer " + canary},
		{get, "/v2/", "", "Authorization: " + canary + " " + canary},
		{get, "/v2/", "", "Authorization: Bearer " + tokens.Token},
		{get, "/v2/", "", "Authorization: Bearer " + tokens.RefreshToken},
		{put, "/v2/team/app/manifests/v1", canary, "Authorization: Bearer " + tokens.Token},
		{get, "/auth/token", "", basic("pusher", canary)},
		{post, "/auth/token", "grant_type=password&username=pusher&password=" + canary, form},
		{post, "/auth/token", "grant_type=refresh_token&refresh_token=" + canary, form},
		{post, "/auth/token", "grant_type=" + canary, form},
		{post, "/auth/token", "grant_type=password;password=" + canary + "%zz", form},
		{post, "/auth/token", canary, "Content-Type: " + canary},
		{get, "/v2/", "", "Cookie: session=" + canary},
		{get, "/v2/", "", "Proxy-Authorization: Basic " + canary},
	} {
		a := f.do(r.method, r.path, r.body, r.header)
		said := a.body + fmt.Sprint(a.Header)
		for _, secret := range secrets {
			if strings.Contains(said, secret) {
				t.Errorf("%s %s with %.40s: the answer holds %s: %s", r.method, r.path, r.header, secret, said)
			}
		}
	}
	for _, secret := range secrets {
		if log := all.String() + fmt.Sprintf("%+v", f.refused); strings.Contains(log, secret) {
			t.Errorf("written down: %s in\n%s", secret, log)
		}
	}
}

// TestFormsInBodies: a form in a body is content. What is checked is what is in
// the query, and nothing else is used.
func TestFormsInBodies(t *testing.T) {
	f := newFixture(t)
	hidden := string(f.reg.addBlob("secret", []byte("hidden")))
	public := string(f.reg.addBlob("docs", []byte("public")))
	form := "Content-Type: application/x-www-form-urlencoded"
	for _, r := range []struct{ query, body string }{
		{"", "mount=" + public + "&from=docs"},
		{"", "mount=" + hidden + "&from=secret"},
		{"mount=" + hidden + "&from=secret", "mount=" + public + "&from=docs"},
		{"mount=" + hidden, "from=docs"},
	} {
		a := f.do(post, "/v2/team/app/blobs/uploads/?"+r.query, r.body, as("pusher"), form)
		f.wantStatus(a, http.StatusAccepted)
	}
	for _, from := range []string{"evil.test:5000/x", "http://evil.test/x", "a%00b", "a%0d%0ab", "TEAM/app", strings.Repeat("a", 256)} {
		f.wantStatus(f.do(post, "/v2/team/app/blobs/uploads/?mount="+hidden+"&from="+from, "", as("pusher")), http.StatusBadRequest)
	}
	for _, d := range []string{hidden, public} {
		f.wantStatus(f.do(get, "/v2/team/app/blobs/"+d, "", as("puller")), http.StatusNotFound)
	}
}

// TestHostOfStrangers: nobody who is not trusted says under which address the
// registry is reached, also by the form of a request that names a whole URL.
func TestHostOfStrangers(t *testing.T) {
	forged := "X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Prefix: /evil\r\nX-Original-URL: /evil\r\nForwarded: host=evil.test\r\n"
	f := newFixture(t, func(o *Options) {
		o.Host = &url.URL{Scheme: "https", Host: "hub.test"}
		o.MaxTags = 1
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	for _, tag := range []oci.Tag{"v1", "v2"} {
		f.reg.addManifest("docs", tag)
	}
	for _, line := range []string{
		"GET http://evil.test/v2/ HTTP/1.1\r\nHost: evil.test\r\n",
		"GET http://evil.test/v2/docs/tags/list?n=1 HTTP/1.1\r\nHost: r.test\r\n",
		"POST http://evil.test/v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 0\r\n" + as("pusher") + "\r\n",
		"GET http://user:x@evil.test/v2/ HTTP/1.1\r\nHost: evil.test\r\n",
	} {
		resp, err := http.ReadResponse(bufio.NewReader(f.dial(line+forged+"\r\n")), nil)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		if said := fmt.Sprint(resp.Header) + string(data); err != nil || resp.StatusCode >= 500 || strings.Contains(said, "evil") {
			t.Errorf("%q is answered with %d %s, %v", line, resp.StatusCode, said, err)
		}
	}
}

// TestSmuggling: of a request that two servers may read differently nothing is
// done that a second reading would have asked for.
func TestSmuggling(t *testing.T) {
	f := newFixture(t)
	f.seed("root")
	before := f.state()
	second := "DELETE /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: a\r\n" + as("root") + "\r\n\r\n"
	for name, head := range map[string]string{
		"both lengths":       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"two lengths":        "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"signed length":      "Content-Length: +0\r\n\r\n",
		"bare LF in a chunk": "Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
		"two codings":        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"space before colon": "Content-Length : 0\r\n\r\n",
	} {
		conn := f.dial("POST /v2/secret/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n" + head + second)
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode < 400 || resp.StatusCode >= 500 && resp.StatusCode != 501 {
			t.Errorf("%s: status %d, %v", name, resp.StatusCode, err)
		}
		if more, err := http.ReadResponse(r, nil); err == nil && more.StatusCode < 400 {
			t.Errorf("%s: a second answer, %s", name, more.Status)
		}
		if f.state() != before {
			t.Fatalf("%s: the registry changed to %s", name, f.state())
		}
	}
}

// TestHiddenDoors: what an operator may look at is nowhere on the main address
// for anybody else.
func TestHiddenDoors(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "berth_secret 1") })
		o.MetricsPath = "/metrics"
	})
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/health", "/debug/vars", "/api/v1/users", "/config", "/v2/_gc", "/.env", "/ui/../metrics", "//metrics", "/metrics/", "/METRICS"} {
		for _, header := range []string{"X-None: ", as("puller"), f.bearer("puller", "registry:catalog:*"), f.bearer("root", "repository:team/app:*", "registry:catalog:*")} {
			if a := f.do(get, path, "", header); a.StatusCode < 400 || a.StatusCode >= 500 || strings.Contains(a.body, "berth_secret") {
				t.Errorf("%s with %.30s: %d %s", path, header, a.StatusCode, a.body)
			}
		}
	}
}

// TestErrorsTellNothing: an answer to a bad request is one of the
// specification, without a word about the program.
func TestErrorsTellNothing(t *testing.T) {
	f := newFixture(t)
	f.seed("root")
	long := strings.Repeat("a", 60_000)
	for _, s := range []sample{
		{method: get, path: "/v2/docs/referrers/bad"}, {method: get, path: "/v2/docs/referrers/" + someDigest + "?last=x"},
		{method: get, path: "/v2/_catalog?last=%00"}, {method: get, path: "/v2/_catalog?last=%ff"}, {method: get, path: "/v2/_catalog?n=-1"},
		{method: get, path: "/v2/_catalog?last=" + long}, {method: get, path: "/v2/docs/tags/list?last=" + long},
		{method: get, path: "/v2/docs/tags/list?n=%27%20OR%201=1"}, {method: get, path: "/v2/" + long + "/tags/list"},
		{method: get, path: "/v2/docs/blobs/uploads/" + long}, {method: get, path: "/v2/docs/manifests/%F0%9F%98%80"},
		{method: put, path: "/v2/team/app/manifests/v1", body: `{"schemaVersion":"2"}`}, {method: put, path: "/v2/team/app/manifests/v1", body: `{"schemaVersion":2,"layers":5}`},
		{method: put, path: "/v2/team/app/manifests/v1", body: `{"schemaVersion":1e400}`}, {method: put, path: "/v2/team/app/manifests/v1", body: "\xff\xfe"},
		{method: post, path: "/v2/team/app/blobs/uploads/?digest=sha256:x"}, {method: post, path: "/v2/team/app/blobs/uploads/?mount=x"},
		{method: patch, path: "/v2/team/app/blobs/uploads/00000000-0000-0000-0000-000000000000", body: "x"},
		{method: put, path: "/v2/team/app/blobs/uploads/up?digest=" + someDigest, body: "x"},
		{method: remove, path: "/v2/team/app/blobs/" + someDigest},
	} {
		a := f.do(s.method, s.path, s.body, as("root"))
		var e errorBody
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.StatusCode < 400 || a.StatusCode >= 500 || len(e.Errors) != 1 || e.Errors[0].Message == "" {
			t.Errorf("%s %.60s: %d %.200s", s.method, s.path, a.StatusCode, a.body)
		}
		for _, word := range []string{"goroutine", "panic", "json:", "Go ", "sql", "SQL", ".go", "server.", "oci.", "strconv", "/var/", "/tmp/", "0x"} {
			if strings.Contains(a.body, word) {
				t.Errorf("%s %.60s: %s", s.method, s.path, a.body)
			}
		}
	}
}

// TestManifestPace: a manifest has a minute, whether its client sends little or
// nothing.
func TestManifestPace(t *testing.T) {
	for name, d := range map[string]deadlines{
		"1 B/s":   {every: time.Second, size: 1, left: 3600},
		"nothing": {every: 24 * time.Hour, left: 1},
		"enough":  {every: time.Second, size: 100_000, left: 40},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Options{})
			d.ResponseWriter = httptest.NewRecorder()
			r := httptest.NewRequest(put, "/v2/a/manifests/v1", &d)
			x := &exchange{w: newResponse(&d, r, s.buffers), r: r}
			began := time.Now()
			data, release, err := s.readManifest(x)
			if name == "enough" {
				if err != nil || len(data) == 0 {
					t.Fatalf("%s: %d bytes, %v", name, len(data), err)
				}
				release()
			} else {
				var cut *bodyError
				if !errors.As(err, &cut) || cut.told() == nil || cut.told().status != http.StatusRequestTimeout || time.Since(began) != manifestTime {
					t.Errorf("%s: %v after %v", name, err, time.Since(began))
				}
			}
			if !s.memory.TryAcquire(manifestMemory) {
				t.Errorf("%s: memory is still taken", name)
			}
		})
	}
}

// TestNamesInHeaders: nobody is somebody because a header says so, not even when
// a trusted proxy passes it on.
func TestNamesInHeaders(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	f.seed("root")
	for _, name := range []string{
		"X-Webauth-User", "X-Remote-User", "Remote-User", "X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Auth-Request-User",
		"X-Authenticated-User", "X-User", "From", "Proxy-Authorization", "X-Registry-Auth", "X-Registry-Config", "X-Client-Cert", "Cookie",
	} {
		for _, value := range []string{"root", strings.TrimPrefix(as("root"), "Authorization: ")} {
			f.wantStatus(f.do(get, "/v2/", "", name+": "+value), http.StatusUnauthorized)
			f.wantStatus(f.do(remove, "/v2/team/app/manifests/v1", "", name+": "+value), http.StatusUnauthorized)
		}
	}
}

// TestLinesOfTheLog: a request is one line in the access log, which a terminal
// shows as it is, whatever the client wrote.
func TestLinesOfTheLog(t *testing.T) {
	f := newFixture(t)
	lines := 0
	for _, odd := range []string{"%0d%0aGET", "%1b[31m", "\xc2\x9b31m", "\xe2\x80\xae", "\xff", "\"", "\\", "%22%20200%205"} {
		conn := f.dial("GET /v2/docs/manifests/" + odd + "?n=" + odd + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" +
			"User-Agent: a\xc2\x9b31m\" 200 5 \"b\r\nReferer: " + strings.Trim(odd, "\r\n") + "\r\n\r\n")
		data, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(data), "HTTP/1.1 40") {
			t.Errorf("%q is answered with %.60q", odd, data)
		}
		lines++
	}
	f.Close() // which waits for the lines
	log := f.access.String()
	if n := strings.Count(log, "\n"); n != lines {
		t.Errorf("%d lines of %d requests:\n%s", n, lines, log)
	}
	for i, c := range log {
		if !strconv.IsPrint(c) && c != '\n' {
			t.Fatalf("%q at byte %d of the log", c, i)
		}
	}
}
