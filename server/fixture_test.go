package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/access"
	"berth/auth"
	"berth/auth/token"
	"berth/guard"
	"berth/oci"
	"berth/registry"
)

// A fixture is a running server with everything around it in the test's hands.
type fixture struct {
	*httptest.Server
	t       testing.TB
	reg     *memory
	users   *users
	issuer  *token.Issuer
	log     *lockedBuffer
	access  *lockedBuffer
	refused []Refusal
	mu      sync.Mutex
	now     time.Time
}

// rules are those of most tests: docs may be read by everybody, team/app by
// who holds the right in his name.
func rules() []access.Rule {
	repo := func(who string, actions ...string) access.Rule {
		return access.Rule{Names: []string{who}, Type: access.TypeRepository, Repositories: []string{"team/**"}, Actions: actions}
	}
	return []access.Rule{
		{Names: []string{"anonymous"}, Type: access.TypeRepository, Repositories: []string{"docs"}, Actions: []string{"pull"}},
		repo("puller", "pull"),
		repo("pusher", "pull", "push"),
		repo("creator", "pull", "create"),
		repo("deleter", "pull", "delete"),
		{Names: []string{"root"}, Type: access.TypeRegistry, Actions: []string{"*"}},
	}
}

// newFixture starts a server with authentication and the rules. The options
// may be changed before.
func newFixture(t testing.TB, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{
		t: t, reg: newMemory(), users: newUsers("puller", "pusher", "creator", "deleter", "root", "nobody"),
		log: new(lockedBuffer), access: new(lockedBuffer), now: time.Now(),
	}
	policy, err := access.Compile(rules())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Verifier:      f.users,
		Service:       "registry.test",
		Policy:        func() *access.Policy { return policy },
		DeleteEnabled: true,
		Refused: func(_ context.Context, r Refusal) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.refused = append(f.refused, r)
		},
		Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			o := OriginOf(r.Context())
			fmt.Fprintln(w, r.Method, r.URL.Path, r.PostFormValue("client_name"), o.Addr, o.Base, o.Prefix, o.RequestID == w.Header().Get("X-Request-Id"))
		}),
		Log:       slog.New(slog.NewTextHandler(f.log, nil)),
		AccessLog: f.access,
	}
	f.issuer, err = token.NewIssuer(t.Context(), new(tokenStore), token.Options{
		Service: o.Service, Issuer: "berth", Resolve: f.users.Resolve, Now: func() time.Time { return f.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	o.Tokens = f.issuer
	o.View = func(c access.Caller) registry.Registry { return guard.New(f.reg, c, o.Policy()) }
	for _, c := range change {
		c(&o)
	}
	f.Server = httptest.NewUnstartedServer(nil)
	f.Config = NewHTTPServer(New(o), o.Log)
	f.Start()
	t.Cleanup(f.Close)
	return f
}

// open makes a server without authentication.
func open(o *Options) {
	everybody := access.Open()
	o.Verifier, o.Tokens, o.Policy = nil, nil, func() *access.Policy { return everybody }
}

// An answerOf is what came back: the body has been read.
type answerOf struct {
	*http.Response
	body string
}

// code returns the first error code in the body.
func (a *answerOf) code() oci.Code {
	var e errorBody
	if json.Unmarshal([]byte(a.body), &e) != nil || len(e.Errors) == 0 {
		return ""
	}
	return e.Errors[0].Code
}

// do sends a request. Options are header lines, "Name: value".
func (f *fixture) do(method, path, body string, headers ...string) *answerOf {
	f.t.Helper()
	a, err := f.try(method, path, body, headers...)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *fixture) try(method, path, body string, headers ...string) (*answerOf, error) {
	r, err := http.NewRequest(method, f.URL+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Add(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return &answerOf{resp, string(data)}, err
}

// as returns the header that makes a request one of that user.
func as(user string) string {
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth(user, "secret-"+user)
	return "Authorization: " + r.Header.Get("Authorization")
}

// bearer returns the header with a token of that user for the scopes; an empty
// user is nobody.
func (f *fixture) bearer(user string, scopes ...string) string {
	f.t.Helper()
	id, err := f.users.Resolve(context.Background(), auth.Subject{Provider: "test", Name: user})
	if user == "" {
		id, err = auth.Identity{}, nil
	}
	if err != nil {
		f.t.Fatal(err)
	}
	t, err := f.issuer.Issue(id, auth.ParseScopes(scopes))
	if err != nil {
		f.t.Fatal(err)
	}
	return "Authorization: Bearer " + t.Value
}

// wantStatus fails the test unless a has the status.
func (f *fixture) wantStatus(a *answerOf, status int) {
	f.t.Helper()
	if a.StatusCode != status {
		f.t.Fatalf("%s %s: status %d, want %d: %s", a.Request.Method, a.Request.URL.Path, a.StatusCode, status, a.body)
	}
}

// users are a Verifier: the password of each is "secret-" and the name.
type users struct {
	mu      sync.Mutex
	version map[string]string
	err     error // what every call returns, when set
}

func newUsers(names ...string) *users {
	u := &users{version: make(map[string]string)}
	for _, name := range names {
		u.version[name] = "1"
	}
	return u
}

func (u *users) set(name, version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.version[name] = version
}

func (u *users) Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	if c.User == "" && c.Password == "" {
		return auth.Identity{}, nil
	}
	id, err := u.Resolve(ctx, auth.Subject{Provider: "test", Name: c.User})
	if errors.Is(err, auth.ErrNoMatch) || err == nil && c.Password.Reveal() != "secret-"+c.User {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return id, err
}

func (u *users) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil || s.Anonymous() {
		return auth.Identity{}, u.err
	}
	version := u.version[s.Name]
	if version == "" {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return auth.Identity{Subject: s, Version: version}, nil
}

// tokenStore keeps what a token.Issuer needs, in memory.
type tokenStore struct {
	token.Store
	mu     sync.Mutex
	keys   []token.Key
	tokens []token.RefreshToken
}

func (s *tokenStore) Keys(context.Context) ([]token.Key, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, nil
}

func (s *tokenStore) AddKey(_ context.Context, k token.Key, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, k)
	return nil
}

func (s *tokenStore) AddRefreshToken(_ context.Context, t token.RefreshToken) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens = append(s.tokens, t)
	return nil
}

func (s *tokenStore) RefreshToken(_ context.Context, hash []byte) (token.RefreshToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		if bytes.Equal(t.Hash, hash) {
			return t, nil
		}
	}
	return token.RefreshToken{}, token.ErrNotExist
}

func (s *tokenStore) DeleteRefreshToken(context.Context, string) error { return nil }

// A lockedBuffer is a buffer that a server may write to while a test reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
