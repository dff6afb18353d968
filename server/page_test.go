package server

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// TestPages: they see the request as if there were no prefix, and learn the
// rest from the Origin.
func TestPages(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Prefix = "/p"
		o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	ask := func(method, path, body string, header ...string) (int, string, http.Header) {
		t.Helper()
		r, err := http.NewRequest(method, f.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(text)), resp.Header
	}
	host := strings.TrimPrefix(f.URL, "http://")
	if _, got, _ := ask(get, "/p/ui/tokens", ""); got != "GET /ui/tokens  127.0.0.1 http://"+host+"/p /p true" {
		t.Error(got)
	}
	_, got, _ := ask(post, "/p/auth/device", "client_name=laptop", "X-Forwarded-For", "10.0.0.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "registry.test")
	if got != "POST /auth/device laptop 10.0.0.1 https://registry.test/p /p true" {
		t.Error(got)
	}
	if status, _, _ := ask(post, "/p/auth/device", strings.Repeat("x", 2*maxForm)); status != http.StatusOK {
		t.Errorf("a large body: %d", status) // and the page sees no more than it may
	}
	for _, tt := range []struct{ method, path, cookie string }{
		{put, "/p/ui/tokens", ""}, {http.MethodTrace, "/p/ui/", ""}, {get, "/ui/", ""}, {get, "/p/ui/?" + strings.Repeat("a&", 200), ""},
		{get, "/p/ui/", strings.Repeat("a=b;", 200)},
	} {
		if status, text, _ := ask(tt.method, tt.path, "", "Cookie", tt.cookie); status < 400 || status >= 500 {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, status, text)
		}
	}
	if status, _, h := ask(get, "/", "", "Accept", "text/html,*/*"); status != http.StatusFound || h.Get("Location") != "/p/ui/" {
		t.Errorf("a browser: %d %s", status, h.Get("Location"))
	}
	if status, text, _ := ask(get, "/", ""); status != http.StatusOK || !strings.HasPrefix(text, "berth") {
		t.Errorf("a probe: %d %s", status, text)
	}
	ask(get, "/p/ui/callback/sso?code=canary", "", "Referer", f.URL+"/p/ui/callback/sso?code=canary")
	if log := f.access.String(); strings.Contains(log, "canary") || !strings.Contains(log, "GET /p/ui/callback/sso HTTP") {
		t.Errorf("a code in the log: %s", log)
	}
	f = newFixture(t, func(o *Options) { o.Pages = nil })
	if status, _, _ := ask(get, "/ui/", ""); status != http.StatusNotFound {
		t.Errorf("without pages: %d", status)
	}
	if status, _, _ := ask(get, "/", "", "Accept", "text/html"); status != http.StatusOK {
		t.Errorf("a browser, without pages: %d", status)
	}
}
