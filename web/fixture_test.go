package web

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"berth/access"
	"berth/auth"
	"berth/auth/oidc"
	"berth/auth/session"
	"berth/meta"
	"berth/registry"
	"berth/server"
	"berth/test/issuer"
)

// users is a backend whose users have their name as their password.
type users struct {
	mu   sync.Mutex
	gone map[string]bool
}

func (u *users) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	id, err := u.Resolve(ctx, auth.Subject{Name: c.User})
	if err == nil && c.Password.Reveal() != c.User {
		err = auth.ErrBadCredentials
	}
	return id, err
}

func (u *users) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.gone[s.Name]:
		return auth.Identity{}, auth.ErrBadCredentials
	case s.Name == "token":
		return auth.Identity{Subject: auth.Subject{Provider: "test", Name: "token", Credential: "T1"}, Version: "1", Limit: narrow{}}, nil
	case s.Name == "ci/job":
		return auth.Identity{Subject: auth.Subject{Provider: "ci", Name: "ci/job", Credential: "R1"}}, nil
	case slices.Contains([]string{"bob", "carol", "<b>eve"}, s.Name):
		return auth.Identity{Subject: auth.Subject{Provider: "test", Name: s.Name}, Version: "1", Groups: []string{"<i>dev"}}, nil
	}
	return auth.Identity{}, auth.ErrNoMatch
}

// narrow is the limit of a token.
type narrow struct{}

func (narrow) String() string { return "narrow" }

func (u *users) remove(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.gone[name] = true
}

// tokens is a Tokens.
type tokens struct {
	mu   sync.Mutex
	made int
	list map[auth.Subject][]Token
}

func (s *tokens) List(_ context.Context, owner auth.Subject) ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list[owner]), nil
}

func (s *tokens) New(_ context.Context, owner auth.Subject, t NewToken) (auth.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Name == "" {
		return "", &InvalidError{"the name is empty"}
	}
	s.made++
	s.list[owner] = append(s.list[owner], Token{ID: fmt.Sprint(s.made), Name: t.Name, Repositories: t.Repositories, Actions: t.Actions, Expires: t.Expires})
	return auth.Secret(fmt.Sprint("bth_pt_", s.made)), nil
}

func (s *tokens) Revoke(_ context.Context, owner auth.Subject, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.list[owner])
	s.list[owner] = slices.DeleteFunc(s.list[owner], func(t Token) bool { return t.ID == id })
	if len(s.list[owner]) == before {
		return ErrNoToken
	}
	return nil
}

// A fixture is the pages behind a server, with all that they ask in the hands of
// the test.
type fixture struct {
	*httptest.Server
	t        *testing.T
	handler  *Handler
	issuer   *issuer.Issuer
	sso      *oidc.Provider
	users    *users
	tokens   *tokens
	attempts []auth.Attempt

	mu    sync.Mutex
	ahead time.Duration
}

// newFixture serves over plain HTTP on loopback, unless a scheme says https.
func newFixture(t *testing.T, scheme string, change ...func(*server.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, issuer: issuer.New(t), users: &users{gone: make(map[string]bool)}, tokens: &tokens{list: make(map[auth.Subject][]Token)}}
	db, err := meta.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "db"), meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	f.sso, err = oidc.New(t.Context(), db.SSO(), oidc.Options{
		Name: "sso", Issuer: f.issuer.URL, ClientID: issuer.ClientID, Log: quiet,
		Secret: func() (auth.Secret, error) { return issuer.ClientSecret, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.sso.Close() })
	hasher := auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost})
	verifier := auth.NewVerifier([]auth.Authenticator{f.sso, f.users}, auth.Options{Hasher: hasher})
	f.handler, err = New(Options{
		Verifier: verifier, Sessions: session.New(db.Sessions(), session.Options{Resolve: verifier.Resolve, Now: f.now}),
		Providers: func() []Provider { return []Provider{f.sso} }, Tokens: f.tokens, Devices: db.Devices(),
		Passwords: func() bool { return true }, Log: quiet, Now: f.now,
		Attempted: func(_ context.Context, a auth.Attempt) { f.attempts = append(f.attempts, a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	o := server.Options{
		View:  func(access.Caller) registry.Registry { return nil },
		Pages: f.handler, Verifier: verifier, Log: quiet,
	}
	for _, c := range change {
		c(&o)
	}
	f.Server = httptest.NewUnstartedServer(server.New(o))
	if scheme == "https" {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	f.issuer.Put(issuer.User{Subject: "1", Claims: map[string]any{"preferred_username": "alice", "groups": []string{"dev"}}})
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.ahead)
}

func (f *fixture) wait(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += d
}

// A browser keeps cookies, and follows redirects as far as it is told to.
type browser struct {
	*http.Client
	f *fixture
}

// A page is what a browser got.
type page struct {
	status int
	body   string
	path   string // where it ended, with the query
	header http.Header
}

func (f *fixture) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	transport := f.Client().Transport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &browser{&http.Client{Jar: jar, Transport: transport}, f}
}

func (b *browser) do(r *http.Request, follow bool) page {
	b.f.t.Helper()
	b.CheckRedirect = nil
	if !follow {
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	resp, err := b.Do(r)
	if err != nil {
		b.f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.f.t.Fatal(err)
	}
	return page{resp.StatusCode, string(body), resp.Request.URL.RequestURI(), resp.Header}
}

func (b *browser) request(method, path string, form url.Values) *http.Request {
	if !strings.Contains(path, "://") {
		path = b.f.URL + path
	}
	r, err := http.NewRequest(method, path, strings.NewReader(form.Encode()))
	if err != nil {
		b.f.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return r
}

func (b *browser) get(path string) page {
	b.f.t.Helper()
	return b.do(b.request("GET", path, nil), true)
}
func (b *browser) step(path string) page {
	b.f.t.Helper()
	return b.do(b.request("GET", path, nil), false)
}

// post sends a form of names and values in turn.
func (b *browser) post(path string, pairs ...string) page {
	b.f.t.Helper()
	form := make(url.Values)
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.do(b.request("POST", path, form), true)
}

// login logs in with a password.
func (b *browser) login(name string) {
	b.f.t.Helper()
	if p := b.post("/ui/login", "user", name, "password", name); p.status != http.StatusOK || p.path != "/ui/" {
		b.f.t.Fatalf("log in as %s: %d at %s", name, p.status, p.path)
	}
}

// halfway begins a sign-in and returns the address of its callback.
func (b *browser) halfway() string {
	b.f.t.Helper()
	to := b.step("/ui/login/sso").header.Get("Location")
	back := b.step(to).header.Get("Location")
	if !strings.HasPrefix(back, b.f.URL+"/ui/callback/sso?") {
		b.f.t.Fatalf("%q leads to %q", to, back)
	}
	return back
}

// has fails unless a page is of that status and holds all texts.
func (p page) has(t *testing.T, status int, texts ...string) {
	t.Helper()
	if p.status != status {
		t.Errorf("%s: %d, want %d: %s", p.path, p.status, status, p.body)
	}
	for _, text := range texts {
		if !strings.Contains(p.body, text) {
			t.Errorf("%s does not hold %q: %s", p.path, text, p.body)
		}
	}
}

// find returns the first group of a pattern in a page.
func (p page) find(t *testing.T, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("%s does not hold %s: %s", p.path, pattern, p.body)
	}
	return m[1]
}
