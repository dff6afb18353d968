package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// posts are all that changes anything.
var posts = map[string]url.Values{
	"/ui/login":         {"user": {"bob"}, "password": {"bob"}},
	"/ui/logout":        {},
	"/ui/tokens":        {"name": {"evil"}, "days": {"30"}},
	"/ui/tokens/revoke": {"id": {"1"}},
	"/ui/device":        {"code": {"BCDF-GHJK"}, "decision": {"allow"}},
}

// TestCrossSite: another site changes nothing, whatever it can make a browser
// send.
func TestCrossSite(t *testing.T) {
	f := newFixture(t, "https")
	b := f.browser()
	b.login("bob")
	b.post("/ui/tokens", "name", "mine", "days", "30")
	for path, form := range posts {
		for name, header := range map[string]http.Header{
			"another site":      {"Sec-Fetch-Site": {"cross-site"}},
			"another host":      {"Sec-Fetch-Site": {"same-site"}},
			"an old browser":    {"Origin": {"https://evil.test"}},
			"a hidden origin":   {"Origin": {"null"}},
			"another scheme":    {"Origin": {strings.Replace(f.URL, "https://", "http://", 1) + "0"}},
			"text that is one":  {"Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"text/plain"}},
			"a frame elsewhere": {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Dest": {"iframe"}},
		} {
			r := b.request("POST", path, form)
			r.Header.Del("Sec-Fetch-Site")
			for k, v := range header {
				r.Header[k] = v
			}
			if p := b.do(r, false); p.status != http.StatusForbidden {
				t.Errorf("%s from %s: %d", path, name, p.status)
			}
		}
	}
	if b.get("/ui/tokens").has(t, http.StatusOK, "mine", "bob"); f.tokens.made != 1 {
		t.Errorf("%d tokens were made", f.tokens.made)
	}
}

// TestGetChangesNothing: no address does anything by being visited.
func TestGetChangesNothing(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	b.login("bob")
	b.post("/ui/tokens", "name", "mine", "days", "30")
	for path, form := range posts {
		b.step(path + "?" + form.Encode())
	}
	if b.get("/ui/tokens").has(t, http.StatusOK, "mine"); f.tokens.made != 1 {
		t.Errorf("%d tokens were made", f.tokens.made)
	}
}

// TestHeaders: no page is kept, framed, or runs what is not its own.
func TestHeaders(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	b.login("bob")
	for _, path := range []string{"/ui/", "/ui", "/ui/login", "/ui/tokens", "/ui/device", "/ui/nothing", "/ui/callback/sso", "/auth/device"} {
		p := b.step(path)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Content-Security-Policy": "frame-ancestors 'none'",
		} {
			if got := p.header.Get(name); !strings.Contains(got, want) {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if csp := p.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script") {
			t.Errorf("%s: %s", path, csp)
		}
	}
}

// TestMarkup: what users, groups, tokens and clients are called is text.
func TestMarkup(t *testing.T) {
	const evil = `<script>alert(1)</script>"'>`
	f := newFixture(t, "http")
	b := f.browser()
	b.login("<b>eve")
	p := b.post("/ui/tokens", "name", evil, "days", "30", "repositories", evil, "action", evil)
	pages := []page{p, b.get("/ui/"), b.get("/ui/tokens"), b.post("/ui/login", "user", evil, "password", "x"), b.get("/ui/login?return_to=" + url.QueryEscape("/ui/"+evil))}
	d := begin(t, f, evil)
	pages = append(pages, b.post("/ui/device", "code", d.UserCode))
	for _, p := range pages {
		for _, bad := range []string{"<script", "<b>", "<i>", `"'>`} {
			if strings.Contains(p.body, bad) {
				t.Errorf("%s holds %s: %s", p.path, bad, p.body)
			}
		}
	}
}

// TestReturnTo: after a login one is here, whatever the address said.
func TestReturnTo(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "/ui/",
		"/ui/tokens":                       "/ui/tokens",
		"/ui/tokens?a=b":                   "/ui/tokens?a=b",
		"//evil":                           "/ui/",
		"///evil":                          "/ui/",
		`/\evil`:                           "/ui/",
		`/ui/\evil`:                        "/ui/",
		"/ui//evil":                        "/ui/",
		"/ui/../../evil":                   "/ui/",
		"https:evil":                       "/ui/",
		"https://evil/ui/":                 "/ui/",
		"javascript:alert(1)":              "/ui/",
		"/ui/%0d%0aSet-Cookie:x":           "/ui/",
		"/ui/\r\nSet-Cookie: x":            "/ui/",
		"/%09/evil":                        "/ui/",
		"/\t/evil":                         "/ui/",
		"/v2/":                             "/ui/",
		"/ui/tokens#x":                     "/ui/",
		"ui/tokens":                        "/ui/",
		"/ui/tokens\x00":                   "/ui/",
		"/ui/" + strings.Repeat("a", 1000): "/ui/",
	} {
		if got := localPath(in); got != want {
			t.Errorf("%q leads to %q", in, got)
		}
	}
}

// FuzzReturnTo: a browser that resolves the answer stays at the host, under /ui/.
func FuzzReturnTo(f *testing.F) {
	base := mustURL("https://registry.test/ui/callback/sso")
	f.Fuzz(func(t *testing.T, s string) {
		got := localPath(s)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != "https" || u.User != nil || !strings.HasPrefix(u.Path, "/ui/") {
			t.Errorf("%q leads to %q: %v, %v", s, got, u, err)
		}
		if strings.ContainsAny(got, "\r\n\t\x00\\") {
			t.Errorf("%q leads to %q", s, got)
		}
	})
}

// TestLargeForm: what no form holds is refused.
func TestLargeForm(t *testing.T) {
	f := newFixture(t, "http")
	f.browser().post("/ui/login", "user", strings.Repeat("x", 1<<20)).has(t, http.StatusRequestEntityTooLarge)
}
