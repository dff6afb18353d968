package web

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/server"
	"berth/test/issuer"
)

// TestSignIn goes the whole way of somebody who has no password here.
func TestSignIn(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	p := b.get("/ui/tokens")
	p.has(t, http.StatusOK, "Sign in with sso", `name="password"`)
	if p.path != "/ui/login?return_to=%2Fui%2Ftokens" {
		t.Errorf("sent to %s", p.path)
	}
	link := strings.ReplaceAll(p.find(t, `href="(/ui/login/sso[^"]*)"`), "&amp;", "&")
	p = b.get(link)
	p.has(t, http.StatusOK, "Personal tokens", "You have none yet", "Sign out")
	if p.path != "/ui/tokens" {
		t.Errorf("it ended at %s", p.path)
	}
	b.get("/ui/").has(t, http.StatusOK, "sso/alice", "sso/dev")
	if len(f.attempts) != 1 || f.attempts[0].Identity.Name != "sso/alice" || f.attempts[0].Addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("attempts: %+v", f.attempts)
	}

	cookies := b.Jar.Cookies(mustURL(f.URL))
	if p := b.post("/ui/logout"); p.path != "/ui/login" {
		t.Errorf("logged out at %s", p.path)
	}
	b.Jar.SetCookies(mustURL(f.URL), cookies)
	if p := b.step("/ui/tokens"); p.status != http.StatusSeeOther {
		t.Errorf("the cookie of before: %d", p.status)
	}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// TestCallback: only the browser that began a sign-in ends it, once, in time.
func TestCallback(t *testing.T) {
	f := newFixture(t, "http")
	refused := func(name string, p page) {
		t.Helper()
		if p.status != http.StatusBadRequest || strings.Contains(strings.Join(p.header["Set-Cookie"], " "), "berth=") {
			t.Errorf("%s: %d %v", name, p.status, p.header["Set-Cookie"])
		}
	}
	b := f.browser()
	back := b.halfway()
	refused("no browser at all", f.browser().step(back))
	other := f.browser()
	other.halfway()
	refused("another browser", other.step(back))
	refused("no state", b.step("/ui/callback/sso?code=x"))
	refused("two states", b.step(back+"&state=x"))
	refused("two codes", b.step(back+"&code=x"))
	refused("another state", b.step("/ui/callback/sso?code=x&state=y"))
	refused("another issuer", b.step(back+"&iss=https://evil.test"))
	cookies := b.Jar.Cookies(mustURL(f.URL))
	if p := b.step(back); p.status != http.StatusSeeOther || p.header.Get("Location") != "/ui/" {
		t.Fatalf("the right one: %d %s", p.status, p.header.Get("Location"))
	}
	refused("twice", b.step(back))
	again := f.browser()
	again.Jar.SetCookies(mustURL(f.URL), cookies)
	refused("twice, with the cookie of the first time", again.step(back))

	late := f.browser()
	back = late.halfway()
	f.wait(10 * time.Minute)
	refused("late", late.step(back))
	changed := f.browser()
	back = changed.halfway()
	changed.Jar.SetCookies(mustURL(f.URL), []*http.Cookie{{Name: signInCookie, Value: "AAAA" + changed.Jar.Cookies(mustURL(f.URL))[0].Value, Path: "/"}})
	refused("a changed cookie", changed.step(back))
	f.browser().get("/ui/callback/nobody?state=x").has(t, http.StatusNotFound)
	f.browser().get("/ui/login/nobody").has(t, http.StatusNotFound)
}

// TestCallbackWithIssuer: a provider that says who it is is believed when it is.
func TestCallbackWithIssuer(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	if p := b.step(b.halfway() + "&iss=" + url.QueryEscape(f.issuer.URL)); p.status != http.StatusSeeOther {
		t.Errorf("%d %s", p.status, p.body)
	}
}

// TestProviderSaysNo shows what the user is told.
func TestProviderSaysNo(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	state := mustURL(b.halfway()).Query().Get("state")
	b.get("/ui/callback/sso?error=access_denied&error_description=evil&state="+state).has(t, http.StatusUnauthorized, "access_denied", "(ref ")
	if n := len(f.attempts); n != 1 || !errors.Is(f.attempts[0].Err, auth.ErrBadCredentials) || f.attempts[0].User != "sso/" {
		t.Errorf("the audit is told of %+v", f.attempts)
	}
	state = mustURL(b.halfway()).Query().Get("state")
	if p := b.get("/ui/callback/sso?error=%3Cscript%3E&state=" + state); p.status != http.StatusUnauthorized || strings.Contains(p.body, "script") {
		t.Errorf("%d %s", p.status, p.body)
	}
	f.issuer.Put(issuer.User{Subject: "2", Claims: map[string]any{"preferred_username": "a/b"}})
	b.get("/ui/login/sso").has(t, http.StatusUnauthorized, "Your user name", "cannot be used here")
	f.issuer.Misbehave(issuer.Faults{IDToken: func(c map[string]any) { c["aud"] = "other" }})
	b.get("/ui/login/sso").has(t, http.StatusUnauthorized, "cannot be believed", "(ref ")
	if p := b.step("/ui/tokens"); p.status != http.StatusSeeOther {
		t.Errorf("logged in nevertheless: %d", p.status)
	}
}

// TestProviderDown: the other ways in still work.
func TestProviderDown(t *testing.T) {
	f := newFixture(t, "http")
	f.issuer.Misbehave(issuer.Faults{Down: true})
	b := f.browser()
	b.get("/ui/login/sso").has(t, http.StatusServiceUnavailable, "sso does not answer", "(ref ")
	b.login("bob")
}

func TestPasswordLogin(t *testing.T) {
	f := newFixture(t, "http")
	b := f.browser()
	b.post("/ui/login", "user", "bob", "password", "wrong").has(t, http.StatusUnauthorized, "The user name or the password is wrong", `value="bob"`)
	b.post("/ui/login", "user", "nobody", "password", "wrong").has(t, http.StatusUnauthorized, "The user name or the password is wrong")
	b.post("/ui/login", "user", "", "password", "").has(t, http.StatusUnauthorized)
	b.post("/ui/login", "user", "sso/alice", "password", "x").has(t, http.StatusUnauthorized, "Users of sso have no password here")
	b.post("/ui/login", "user", "token", "password", "token").has(t, http.StatusUnauthorized, "a token is not enough")
	b.post("/ui/login", "user", "ci/job", "password", "ci/job").has(t, http.StatusUnauthorized, "gives its signed token (JWT) as the password")
	if p := b.step("/ui/tokens"); p.status != http.StatusSeeOther {
		t.Errorf("logged in nevertheless: %d", p.status)
	}
	if p := b.post("/ui/login", "user", "bob", "password", "bob", "return_to", "/ui/device"); p.path != "/ui/device" {
		t.Errorf("ended at %s", p.path)
	}
	first := b.Jar.Cookies(mustURL(f.URL))
	b.login("carol") // in the place of bob
	other := f.browser()
	other.Jar.SetCookies(mustURL(f.URL), first)
	if p := other.step("/ui/tokens"); p.status != http.StatusSeeOther {
		t.Errorf("the session of before: %d", p.status)
	}
	for range 12 {
		b.post("/ui/login", "user", "bob", "password", "wrong")
	}
	p := b.post("/ui/login", "user", "bob", "password", "wrong")
	p.has(t, http.StatusTooManyRequests, "Too many attempts")
	if p.header.Get("Retry-After") == "" {
		t.Error("nobody says when")
	}
}

// TestSessionsEnd: whoever is shut out is out at once.
func TestSessionsEnd(t *testing.T) {
	f := newFixture(t, "http")
	bob, alice := f.browser(), f.browser()
	bob.login("bob")
	alice.get("/ui/login/sso").has(t, http.StatusOK, "sso/alice")
	f.users.remove("bob")
	if err := f.sso.SetDisabled(t.Context(), "sso/alice", true); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*browser{"bob": bob, "alice": alice} {
		if p := b.step("/ui/tokens"); p.status != http.StatusSeeOther {
			t.Errorf("%s: %d", name, p.status)
		}
		b.post("/ui/tokens", "name", "x", "days", "30").has(t, http.StatusUnauthorized, "not signed in any more")
	}
	if f.tokens.made > 0 {
		t.Error("a token was made")
	}
}

// TestCookies: over https nothing in the clear, and no other host, sets one.
func TestCookies(t *testing.T) {
	for scheme, prefix := range map[string]string{"http": "", "https": "__Host-"} {
		f := newFixture(t, scheme)
		b := f.browser()
		signIn := b.step("/ui/login/sso").header.Get("Set-Cookie")
		login := b.do(b.request("POST", "/ui/login", url.Values{"user": {"bob"}, "password": {"bob"}}), false).header.Get("Set-Cookie")
		for name, cookie := range map[string]string{"berth-login": signIn, "berth": login} {
			for _, want := range []string{"Path=/", "HttpOnly", "SameSite=Lax"} {
				if !strings.HasPrefix(cookie, prefix+name+"=") || !strings.Contains(cookie, want) || strings.Contains(cookie, "Domain") {
					t.Errorf("%s: %s", scheme, cookie)
				}
			}
			if strings.Contains(cookie, "Secure") != (scheme == "https") {
				t.Errorf("%s: %s", scheme, cookie)
			}
		}
		b.get("/ui/").has(t, http.StatusOK, "bob")
	}
}

// TestInTheClear: cookies and passwords do not travel in the clear, but for this
// machine.
func TestInTheClear(t *testing.T) {
	f := newFixture(t, "http", func(o *server.Options) { o.Host = mustURL("http://registry.test") })
	f.browser().get("/ui/login").has(t, http.StatusForbidden, "need https", "http.trustedproxies")
	f.browser().post("/ui/login", "user", "bob", "password", "bob").has(t, http.StatusForbidden)
	f = newFixture(t, "http", func(o *server.Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	r := f.browser().request("GET", "/ui/login/sso", nil)
	r.Header.Set("X-Forwarded-Proto", "https")
	r.Header.Set("X-Forwarded-Host", "registry.test")
	p := f.browser().do(r, false)
	if cookie := p.header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-") {
		t.Errorf("behind a proxy: %s", cookie)
	}
	if to := mustURL(p.header.Get("Location")).Query().Get("redirect_uri"); to != "https://registry.test/ui/callback/sso" {
		t.Errorf("behind a proxy: back to %s", to)
	}
}

// TestPrefix: everything is where http.prefix says.
func TestPrefix(t *testing.T) {
	f := newFixture(t, "http", func(o *server.Options) { o.Prefix = "/registry/" })
	b := f.browser()
	if p := b.get("/registry/ui/tokens"); p.path != "/registry/ui/login?return_to=%2Fui%2Ftokens" {
		t.Errorf("sent to %s", p.path)
	}
	if p := b.get("/registry/ui/login/sso?return_to=/ui/device"); p.path != "/registry/ui/device" {
		t.Errorf("ended at %s", p.path)
	}
	b.get("/registry/ui/style.css").has(t, http.StatusOK, "color-scheme")
	b.get("/ui/").has(t, http.StatusNotFound)
}
