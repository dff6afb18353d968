package oidc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"berth/auth"
	"berth/test/issuer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const callback = "http://127.0.0.1:1/ui/callback/sso"

// memory is a Store.
type memory struct {
	mu   sync.Mutex
	list []User
	err  error // what every change returns, when set
}

func (m *memory) Users(_ context.Context, provider string) ([]User, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.list), func(u User) bool { return u.Provider != provider }), nil
}

func (m *memory) CreateUser(_ context.Context, u User) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.ContainsFunc(m.list, func(o User) bool { return o.Name == u.Name }) {
		return ErrNameTaken
	}
	m.list = append(m.list, u)
	return m.err
}

func (m *memory) UpdateUser(_ context.Context, issuer, subject string, change func(*User) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.list, func(u User) bool { return u.Issuer == issuer && u.Subject == subject })
	if i < 0 {
		return ErrNotExist
	}
	u := m.list[i]
	if err := errors.Join(change(&u), m.err); err != nil {
		return err
	}
	m.list[i] = u
	return nil
}

func (m *memory) DeleteUser(_ context.Context, name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.list, func(u User) bool { return u.Name == name })
	if i < 0 {
		return "", ErrNotExist
	}
	provider := m.list[i].Provider
	m.list = slices.Delete(m.list, i, i+1)
	return provider, m.err
}

func (m *memory) Secret(context.Context) ([]byte, error) {
	return []byte("sixteen random bytes, or more"), nil
}

// A fixture is a Provider, its issuer, and a clock that both have.
type fixture struct {
	*Provider
	t      *testing.T
	issuer *issuer.Issuer
	store  *memory
	o      Options
	log    *strings.Builder
	mu     sync.Mutex
	ahead  time.Duration
}

func newFixture(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, issuer: issuer.New(t), store: new(memory), log: new(strings.Builder)}
	f.o = Options{
		Name: "sso", Issuer: f.issuer.URL, ClientID: issuer.ClientID,
		Secret:  func() (auth.Secret, error) { return issuer.ClientSecret, nil },
		Address: "https://registry.test", Now: f.now, Log: slog.New(slog.NewTextHandler(f.log, nil)),
	}
	for _, c := range change {
		c(&f.o)
	}
	f.restart()
	f.put("1", "alice", "dev")
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Add(f.ahead)
}

// wait lets time pass.
func (f *fixture) wait(d time.Duration) {
	f.mu.Lock()
	f.ahead += d
	f.mu.Unlock()
	f.issuer.Advance(d)
}

// restart opens the store anew.
func (f *fixture) restart() {
	f.t.Helper()
	if f.Provider != nil {
		f.Close()
	}
	p, err := New(f.t.Context(), f.store, f.o)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { p.Close() })
	f.Provider = p
}

// put makes somebody the user of the issuer.
func (f *fixture) put(subject, name string, groups ...string) {
	f.issuer.Put(issuer.User{Subject: subject, Claims: map[string]any{"preferred_username": name, "groups": groups}})
}

// signIn goes to the issuer and back.
func (f *fixture) signIn() (auth.Identity, error) {
	f.t.Helper()
	login, code, err := f.halfway()
	if err != nil {
		return auth.Identity{}, err
	}
	return f.Finish(f.t.Context(), callback, login, code)
}

func (f *fixture) halfway() (Login, string, error) {
	f.t.Helper()
	login, to, err := f.Begin(f.t.Context(), callback)
	if err != nil {
		return login, "", err
	}
	browser := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true},
	}
	resp, err := browser.Get(to)
	if err != nil {
		f.t.Fatal(err)
	}
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || back.Query().Get("state") != login.State {
		f.t.Fatalf("%s leads to %s", to, back)
	}
	return login, back.Query().Get("code"), nil
}

func (f *fixture) mustSignIn() auth.Identity {
	f.t.Helper()
	id, err := f.signIn()
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// resolve asks who has that name today, and again once what that began in the
// background is over.
func (f *fixture) resolve(name string) (auth.Identity, error) {
	_, _ = f.Resolve(f.t.Context(), auth.Subject{Name: name})
	f.work.Wait()
	return f.Resolve(f.t.Context(), auth.Subject{Name: name})
}

// told returns what the user is told of a refusal, "" when err is none.
func told(err error) string {
	var rejected *auth.RejectedError
	if errors.As(err, &rejected) {
		return rejected.Told
	}
	return ""
}
