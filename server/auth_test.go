package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/auth/token"
	"berth/oci"
)

func TestChallenge(t *testing.T) {
	f := newFixture(t)
	f.seed("pusher")
	tests := []struct {
		name, method, path, header string
		status                     int
		want                       string // behind realm and service
	}{
		{"the base path", get, "/v2/", "", 401, ""},
		{"nobody, in so many words", get, "/v2/", "Authorization: Basic Og==", 401, ""},
		{"the catalog", get, "/v2/_catalog", "", 401, `,scope="registry:catalog:*"`},
		{"a pull", get, "/v2/team/app/manifests/v1", "", 401, `,scope="repository:team/app:pull"`},
		{"a push", post, "/v2/team/app/blobs/uploads/", "", 401, `,scope="repository:team/app:pull,push"`},
		{"a delete", remove, "/v2/team/app/manifests/v1", "", 401, `,scope="repository:team/app:delete"`},
		{"a mount", post, "/v2/team/app/blobs/uploads/?mount=" + someDigest + "&from=docs", "", 401, `,scope="repository:team/app:pull,push repository:docs:pull"`},
		{"a wrong password", get, "/v2/docs/manifests/v1", "Authorization: Basic cm9vdDp3cm9uZw==", 401, `,scope="repository:docs:pull"`},
		{"a token too small", put, "/v2/team/app/manifests/new", f.bearer("pusher", "repository:team/app:pull"), 401,
			`,scope="repository:team/app:pull,push",error="insufficient_scope",error_description="user pusher may not push to team/app:new (ref `},
		{"a token of another repository", get, "/v2/team/app2/manifests/v1", f.bearer("puller", "repository:team/app:*"), 401,
			`,scope="repository:team/app2:pull",error="insufficient_scope",error_description="user puller may not pull from team/app2:v1 (ref `},
		{"a token without scopes is enough to be known", get, "/v2/", f.bearer("puller"), 200, ""},
		{"a token for nobody", get, "/v2/", f.bearer(""), 200, ""},
		{"a token for nobody, which is enough", get, "/v2/docs/manifests/v1", f.bearer("", "repository:docs:pull"), 200, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			a := f.do(test.method, test.path, string(imageManifest("", "new")), cmp.Or(test.header, "X-None: "))
			f.wantStatus(a, test.status)
			prefix := `Bearer realm="` + f.URL + `/auth/token",service="registry.test"`
			got, ok := strings.CutPrefix(a.Header.Get("WWW-Authenticate"), prefix)
			if test.status == 401 && (!ok || !strings.HasPrefix(got, test.want) || test.want == "" && got != "") {
				t.Errorf("%s, want %s%s", a.Header.Get("WWW-Authenticate"), prefix, test.want)
			}
		})
	}
}

// TestRealm: the realm is the configured address, else that of the request, as
// far as trusted proxies tell it.
func TestRealm(t *testing.T) {
	realm := func(f *fixture, headers ...string) string {
		_, rest, _ := strings.Cut(f.do(get, "/v2/", "", headers...).Header.Get("WWW-Authenticate"), `realm="`)
		realm, _, _ := strings.Cut(rest, `"`)
		return realm
	}
	forged := []string{"Host: evil.test", "X-Forwarded-Host: evil.test", "X-Forwarded-Proto: https", "Forwarded: host=evil.test;proto=https"}
	host := func(o *Options) { o.Host = &url.URL{Scheme: "https", Host: "hub.test"} }
	trust := func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
	prefix := func(o *Options) { o.Prefix = "/sub/" }

	if got := realm(newFixture(t, host), forged...); got != "https://hub.test/auth/token" {
		t.Errorf("configured: %s", got)
	}
	if got := realm(newFixture(t), append(forged, "Host: real.test:5000")...); got != "http://real.test:5000/auth/token" {
		t.Errorf("from the request: %s", got)
	}
	if got := realm(newFixture(t, trust), "X-Forwarded-Host: hub.test", "X-Forwarded-Proto: https"); got != "https://hub.test/auth/token" {
		t.Errorf("from a trusted proxy: %s", got)
	}
	if got := realm(newFixture(t), "Host: a;b"); got != "/auth/token" {
		t.Errorf("from a host that is none: %s", got)
	}
	f := newFixture(t, prefix)
	f.wantStatus(f.do(get, "/v2/", ""), http.StatusNotFound)
	a := f.do(get, "/sub/v2/", "")
	f.wantStatus(a, http.StatusUnauthorized)
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, f.URL+`/sub/auth/token"`) {
		t.Errorf("with a prefix: %s", got)
	}
}

// TestBasicChallenge is Distribution's password file: no token server.
func TestBasicChallenge(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Tokens, o.Realm = nil, `basic"realm`
	})
	a := f.do(get, "/v2/", "")
	f.wantStatus(a, http.StatusUnauthorized)
	if got := a.Header["Www-Authenticate"]; !slices.Equal(got, []string{`Basic realm="basic'realm"`}) {
		t.Errorf("challenge %q", got)
	}
	f.wantStatus(f.do(get, "/v2/", "", as("puller")), http.StatusOK)
	f.wantStatus(f.do(get, "/v2/", "", "Authorization: Bearer x.y.z"), http.StatusUnauthorized)
	f.wantStatus(f.do(get, "/auth/token", ""), http.StatusNotFound)
	f.wantStatus(f.do(get, "/auth/jwks", ""), http.StatusNotFound)
}

func TestWithoutAuthentication(t *testing.T) {
	f := newFixture(t, open)
	f.reg.addManifest("team/app", "v1")
	f.wantStatus(f.do(get, "/v2/", ""), http.StatusOK)
	f.wantStatus(f.do(get, "/v2/_catalog", "", "Authorization: Basic cm9vdDp3cm9uZw=="), http.StatusOK)
	f.wantStatus(f.do(get, "/v2/team/app/manifests/v1", ""), http.StatusOK)
	f.wantStatus(f.do(get, "/metrics", ""), http.StatusNotFound)
}

// TestHolder: a token is worth what its holder is today.
func TestHolder(t *testing.T) {
	f := newFixture(t)
	f.seed("puller")
	header := f.bearer("puller", "repository:team/app:pull")
	path := "/v2/team/app/manifests/v1"
	f.wantStatus(f.do(get, path, "", header), http.StatusOK)
	for _, version := range []string{"2", ""} { // another password, and no more
		f.users.set("puller", version)
		a := f.do(get, path, "", header)
		f.wantStatus(a, http.StatusUnauthorized)
		if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
			t.Errorf("challenge %s", got)
		}
	}
	f.users.set("puller", "1")
	f.users.err = errors.New("the directory does not answer: secret details")
	for _, header := range []string{header, as("puller")} {
		a := f.do(get, path, "", header)
		f.wantStatus(a, http.StatusServiceUnavailable)
		if a.Header.Get("Retry-After") == "" || strings.Contains(a.body, "secret") {
			t.Errorf("Retry-After %q, body %s", a.Header.Get("Retry-After"), a.body)
		}
		if ref := a.Header.Get("X-Request-Id"); !strings.Contains(f.log.String(), ref) {
			t.Errorf("the log does not say more about %s", ref)
		}
	}
}

// TestExpired: a token that has run out still serves the upload of its holder,
// and nothing else.
func TestExpired(t *testing.T) {
	f := newFixture(t)
	f.seed("pusher")
	header := f.bearer("pusher", "repository:team/app:pull,push")
	f.now = f.now.Add(30 * time.Minute)
	f.wantStatus(f.do(patch, "/v2/team/app/blobs/uploads/up", " more", header), http.StatusAccepted)
	d := string(oci.DigestOf(oci.SHA256, []byte("some more")))
	for _, s := range samples() {
		if routes[s.kind].open || s.kind == kindUpload || s.kind == kindMetrics {
			continue
		}
		a := f.do(s.method, s.path, s.body, header)
		f.wantStatus(a, http.StatusUnauthorized)
		if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
			t.Errorf("%s %s: challenge %s", s.method, s.path, got)
		}
	}
	f.wantStatus(f.do(put, "/v2/team/app/manifests/new", "not one", header), http.StatusUnauthorized) // before it is read
	f.wantStatus(f.do(put, "/v2/team/app/blobs/uploads/up?digest="+d, "", header), http.StatusCreated)
}

// TestRefused: the operator hears of what was refused, under the reference that
// the client was told.
func TestRefused(t *testing.T) {
	f := newFixture(t)
	f.seed("puller")
	f.do(get, "/v2/", "")
	a := f.do(put, "/v2/team/app/manifests/new?x=1", string(imageManifest("", "")), as("puller"), "X-Request-Id: AAAAAAAAAA")
	f.wantStatus(a, http.StatusForbidden)
	if len(f.refused) != 1 {
		t.Fatalf("%d refusals, want 1: %+v", len(f.refused), f.refused)
	}
	r := f.refused[0]
	got := fmt.Sprintln(r.Ref == a.Header.Get("X-Request-Id"), r.Ref == r.Caller.RequestID, r.Caller.Name, r.Caller.Addr, r.Scope, r.Tags, r.Reason, r.Status)
	want := "true true puller 127.0.0.1 repository:team/app:pull,push [new] user puller may not push to team/app:new 403\n"
	if got != want {
		t.Errorf("refusal %s, want %s", got, want)
	}
	if r.Ref == "AAAAAAAAAA" {
		t.Error("the client chose the reference")
	}

	f = newFixture(t, func(o *Options) { o.Refused = nil })
	a = f.do(get, "/v2/team/app/manifests/new", "", as("nobody"))
	if log, ref := f.log.String(), a.Header.Get("X-Request-Id"); !strings.Contains(log, "ref="+ref+" user=nobody addr=127.0.0.1 scope=repository:team/app:pull") {
		t.Errorf("log: %s", log)
	}
}

func TestThrottled(t *testing.T) {
	f := newFixture(t)
	f.users.err = fmt.Errorf("wrapped: %w", &auth.ThrottledError{RetryAfter: 1500 * time.Millisecond})
	for _, path := range []string{"/v2/", "/auth/token"} {
		a := f.do(get, path, "", as("puller"))
		f.wantStatus(a, http.StatusTooManyRequests)
		if got := a.Header.Get("Retry-After"); got != "2" || a.code() != oci.TooManyRequests {
			t.Errorf("%s: Retry-After %s, %s", path, got, a.body)
		}
	}
}

// tokenOf asks for a token by GET and returns what is in the answer.
func (f *fixture) tokenOf(query string, headers ...string) tokenAnswer {
	f.t.Helper()
	return f.parseToken(f.do(get, "/auth/token?"+query, "", headers...))
}

func (f *fixture) parseToken(a *answerOf) (t tokenAnswer) {
	f.t.Helper()
	f.wantStatus(a, http.StatusOK)
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		f.t.Errorf("Cache-Control %q", got)
	}
	if err := json.Unmarshal([]byte(a.body), &t); err != nil {
		f.t.Fatal(err)
	}
	return t
}

// form posts a form to the token server.
func (f *fixture) form(pairs ...string) *answerOf {
	f.t.Helper()
	values := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return f.do(post, "/auth/token", values.Encode(), "Content-Type: application/x-www-form-urlencoded")
}

func TestTokenScopes(t *testing.T) {
	f := newFixture(t)
	tests := []struct{ name, query, user, want string }{
		{"what is asked and held", "scope=repository:team/app:pull,push", "pusher", "repository:team/app:pull,push"},
		{"less than is asked", "scope=repository:team/app:pull,push,delete", "puller", "repository:team/app:pull"},
		{"nothing", "scope=repository:team/app:pull", "nobody", ""},
		{"no scope is a login", "service=registry.test&account=puller", "puller", ""},
		{"an account that Basic has cut at its colon", "account=puller:x", "puller", ""},
		{"nobody", "scope=repository:docs:pull,push", "", "repository:docs:pull"},
		{"several in one value", "scope=repository:docs:pull+repository:team/app:pull", "puller", "repository:docs:pull repository:team/app:pull"},
		{"several values", "scope=repository:team/app:pull&scope=repository:team/app:pull,push", "pusher", "repository:team/app:pull,push"},
		{"oddities", "scope=*&scope=:::&scope=repository:A/../b:pull&scope=%00&scope=repository(plugin):docs:pull", "puller", "repository:docs:pull"},
		{"the catalog", "scope=registry:catalog:*", "puller", "registry:catalog:*"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			header := "X-None: "
			if test.user != "" {
				header = as(test.user)
			}
			got := f.tokenOf(test.query, header)
			if got.Scope != test.want || got.Token == "" || got.Token != got.AccessToken || got.ExpiresIn < 60 || got.RefreshToken != "" {
				t.Errorf("%+v, want scope %q", got, test.want)
			}
			claims, err := f.issuer.Verify(t.Context(), got.Token)
			if err != nil || joinScopes(claims.Scopes) != test.want || claims.Subject.Name != test.user {
				t.Errorf("claims %+v, %v", claims, err)
			}
			if at, err := time.Parse("2006-01-02T15:04:05Z", got.IssuedAt); err != nil || f.now.Sub(at) > time.Second {
				t.Errorf("issued_at %q", got.IssuedAt)
			}
		})
	}
}

func TestTokenRefuses(t *testing.T) {
	f := newFixture(t)
	hundred := strings.Repeat("repository:docs:pull ", 100)
	f.wantStatus(f.do(get, "/auth/token?scope="+url.QueryEscape(hundred), ""), http.StatusOK)
	tests := []struct {
		name   string
		answer *answerOf
		status int
	}{
		{"101 scopes", f.do(get, "/auth/token?scope="+url.QueryEscape(hundred+"a:b:c"), ""), 400},
		{"another service", f.do(get, "/auth/token?service=other", "", as("puller")), 400},
		{"two services", f.do(get, "/auth/token?service=registry.test&service=other", "", as("puller")), 400},
		{"another account", f.do(get, "/auth/token?account=root", "", as("puller")), 400},
		{"an account that begins alike", f.do(get, "/auth/token?account=pullers:x", "", as("puller")), 400},
		{"a wrong password, though nobody would do", f.do(get, "/auth/token?scope=repository:docs:pull", "", "Authorization: Basic cm9vdDp3cm9uZw=="), 401},
		{"a token as a password", f.do(get, "/auth/token", "", f.bearer("puller")), 401},
		{"two headers", f.do(get, "/auth/token", "", as("puller"), as("puller")), 401},
		{"no grant", f.form("service", "registry.test"), 400},
		{"another grant", f.form("grant_type", "client_credentials"), 400},
		{"a wrong password, posted", f.form("grant_type", "password", "username", "root", "password", "wrong"), 401},
		{"no refresh token", f.form("grant_type", "refresh_token"), 401},
		{"an access token as a refresh token", f.form("grant_type", "refresh_token", "refresh_token", f.bearer("puller")), 401},
		{"no form", f.do(post, "/auth/token?grant_type=password&username=puller&password=secret-puller", "{}", "Content-Type: application/json"), 400},
		{"a form without end", f.do(post, "/auth/token", "a="+strings.Repeat("x", maxForm), "Content-Type: application/x-www-form-urlencoded"), 413},
	}
	for _, test := range tests {
		if test.answer.StatusCode != test.status || test.answer.code() == "" || test.answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s, want %d", test.name, test.answer.StatusCode, test.answer.body, test.status)
		}
	}
}

// TestRefreshTokens: one is given where a password login asks for it, stays as
// it is, and dies with the password.
func TestRefreshTokens(t *testing.T) {
	f := newFixture(t)
	byGet := f.tokenOf("offline_token=true&client_id=docker&service=registry.test", as("pusher")).RefreshToken
	byPost := f.parseToken(f.form("grant_type", "password", "username", "pusher", "password", "secret-pusher", "access_type", "offline")).RefreshToken
	if byGet == "" || byPost == "" || byGet == byPost {
		t.Fatalf("refresh tokens %q and %q", byGet, byPost)
	}
	if got := f.tokenOf("offline_token=true"); got.RefreshToken != "" {
		t.Error("nobody has a refresh token")
	}
	for range 2 {
		got := f.parseToken(f.form("grant_type", "refresh_token", "refresh_token", byGet, "service", "registry.test", "scope", "repository:team/app:push repository:docs:pull"))
		if got.RefreshToken != byGet || got.Scope != "repository:team/app:push repository:docs:pull" {
			t.Errorf("%+v", got)
		}
	}
	f.wantStatus(f.do(get, "/v2/", "", "Authorization: Bearer "+byGet), http.StatusUnauthorized)
	f.users.set("pusher", "2")
	f.wantStatus(f.form("grant_type", "refresh_token", "refresh_token", byPost), http.StatusUnauthorized)
	if strings.Contains(f.log.String()+f.access.String(), byGet) || strings.Contains(f.log.String()+f.access.String(), "secret-") {
		t.Error("a secret is in a log")
	}
}

func TestKeys(t *testing.T) {
	f := newFixture(t)
	a := f.do(get, "/auth/jwks", "")
	f.wantStatus(a, http.StatusOK)
	if a.body != string(f.issuer.JWKS()) {
		t.Errorf("keys %s", a.body)
	}
}

// TestTokenForOthers: other registries are served by the same rules, and their
// tokens open nothing here.
func TestTokenForOthers(t *testing.T) {
	const other = "service=registry.example.org"
	f := newFixture(t, func(o *Options) {
		o.Services = []string{"registry.example.org"}
		issuer, err := token.NewIssuer(t.Context(), new(tokenStore), token.Options{
			Service: o.Service, Issuer: "berth", Services: o.Services, Resolve: o.Verifier.Resolve,
		})
		if err != nil {
			t.Fatal(err)
		}
		o.Tokens = issuer
	})
	f.seed("puller")
	for _, test := range []struct{ query, user, want string }{
		{"&scope=repository:team/app:pull,push", "pusher", "repository:team/app:pull,push"},
		{"&scope=repository:team/app:pull,push", "puller", "repository:team/app:pull"},
		{"&scope=repository:docs:pull,push", "", "repository:docs:pull"},
		{"&scope=registry:catalog:*", "puller", ""},
		{"&scope=registry:catalog:*", "root", "registry:catalog:*"},
	} {
		header := "X-None: "
		if test.user != "" {
			header = as(test.user)
		}
		got := f.tokenOf(other+test.query, header)
		if got.Scope != test.want {
			t.Errorf("%s as %q: scope %q, want %q", test.query, test.user, got.Scope, test.want)
		}
		for _, path := range []string{"/v2/", "/v2/team/app/manifests/v1", "/v2/docs/manifests/v1"} {
			a := f.do(get, path, "", "Authorization: Bearer "+got.Token)
			f.wantStatus(a, http.StatusUnauthorized)
			if challenge := a.Header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
				t.Errorf("challenge %s", challenge)
			}
		}
	}
	refresh := f.tokenOf(other+"&offline_token=true", as("pusher")).RefreshToken
	redeem := func(service string) *answerOf {
		return f.form("grant_type", "refresh_token", "refresh_token", refresh, "service", service, "scope", "repository:team/app:push")
	}
	if got := f.parseToken(redeem("registry.example.org")); got.Scope != "repository:team/app:push" || got.RefreshToken != refresh {
		t.Errorf("%+v", got)
	}
	f.wantStatus(redeem("registry.test"), http.StatusUnauthorized)
	f.wantStatus(f.do(get, "/auth/token?service=registry.example.com", "", as("pusher")), http.StatusBadRequest)
}
