package robot

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/auth"
)

// memory is a Store.
type memory struct {
	mu     sync.Mutex
	robots []Robot
	tokens []Token
	err    error // what every call returns, when set
}

func (m *memory) robot(name string) int {
	return slices.IndexFunc(m.robots, func(r Robot) bool { return r.Name == name })
}

func (m *memory) Robots(context.Context) ([]Robot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.robots), m.err
}

func (m *memory) CreateRobot(_ context.Context, r Robot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	if m.robot(r.Name) >= 0 {
		return ErrExists
	}
	m.robots = append(m.robots, r)
	return nil
}

func (m *memory) UpdateRobot(_ context.Context, name string, change func(*Robot) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.robot(name)
	if i < 0 {
		return ErrNotExist
	}
	r := m.robots[i]
	r.Secrets = slices.Clone(r.Secrets)
	if err := errors.Join(change(&r), m.err); err != nil {
		return err
	}
	m.robots[i] = r
	return nil
}

func (m *memory) DeleteRobot(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.robot(name)
	if i < 0 {
		return ErrNotExist
	}
	m.robots = slices.Delete(m.robots, i, i+1)
	return m.err
}

func (m *memory) Tokens(context.Context) ([]Token, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tokens), m.err
}

func (m *memory) CreateToken(_ context.Context, t Token) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tokens = append(m.tokens, t)
	return m.err
}

func (m *memory) DeleteToken(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	before := len(m.tokens)
	m.tokens = slices.DeleteFunc(m.tokens, func(t Token) bool { return t.ID == id })
	if len(m.tokens) == before {
		return ErrNotExist
	}
	return nil
}

func (m *memory) Identify(_ context.Context, ids map[Owned]auth.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for i, r := range m.robots {
		if id, ok := ids[Owned{Robot: r.Name, Owner: r.Owner}]; ok && r.OwnerID == "" {
			m.robots[i].OwnerID = id
		}
	}
	for i, t := range m.tokens {
		if id, ok := ids[Owned{Token: t.ID, Owner: t.Owner}]; ok && t.OwnerID == "" {
			m.tokens[i].OwnerID = id
		}
	}
	return nil
}

func (m *memory) Touch(_ context.Context, used map[string]Use) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for i := range m.robots {
		for j := range m.robots[i].Secrets {
			if u, ok := used[m.robots[i].Secrets[j].ID]; ok {
				m.robots[i].Secrets = slices.Clone(m.robots[i].Secrets)
				m.robots[i].Secrets[j].LastUse = u
			}
		}
	}
	for i := range m.tokens {
		if u, ok := used[m.tokens[i].ID]; ok {
			m.tokens[i].LastUse = u
		}
	}
	return nil
}

// A fixture is a set of robots whose clock and users a test sets.
type fixture struct {
	*Robots
	t     *testing.T
	store *memory

	mu    sync.Mutex
	time  time.Time
	users map[string]auth.Identity
	down  error // what every look-up of a user returns, when set
}

var (
	alice = auth.Subject{Provider: "accounts", Name: "alice"}
	bob   = auth.Subject{Provider: "corp", Name: "bob"}
)

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, store: new(memory), time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), users: map[string]auth.Identity{
		"alice": {Subject: alice, Groups: []string{"dev"}, Version: "a1"},
		"bob":   {Subject: bob, Version: "b1"},
	}}
	f.open()
	return f
}

// open reads the store, as at a start.
func (f *fixture) open() {
	f.t.Helper()
	r, err := New(f.t.Context(), f.store, Options{Owner: f.resolve, Now: f.now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.Robots = r
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(d)
}

// resolve is a Verifier.
func (f *fixture) resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, ok := f.users[s.Name]
	switch {
	case f.down != nil:
		return auth.Identity{}, f.down
	case !ok || id.Subject != s:
		return auth.Identity{}, auth.ErrNoMatch
	case id.Version == "disabled":
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return id, nil
}

// setUser replaces what is known of a user; nothing, with an empty version.
func (f *fixture) setUser(s auth.Subject, version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[s.Name] = auth.Identity{Subject: s, Version: version}
	if version == "" {
		delete(f.users, s.Name)
	}
}

// pulls are the limits of a robot that pulls from team.
func pulls() Limits { return Limits{Repositories: []string{"team/**"}, Actions: []string{"pull"}} }

// add makes a robot, and returns its secret.
func (f *fixture) add(name string, s Settings) auth.Secret {
	f.t.Helper()
	raw, err := f.Add(f.t.Context(), name, s, "root")
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

// token makes a personal token of owner.
func (f *fixture) token(owner auth.Subject, name string, expires time.Time) auth.Secret {
	f.t.Helper()
	raw, err := f.Tokens().New(f.t.Context(), owner, name, nil, nil, expires)
	if err != nil {
		f.t.Fatal(err)
	}
	return raw
}

func (f *fixture) login(user string, secret auth.Secret) (auth.Identity, error) {
	return f.Authenticate(f.t.Context(), auth.Credentials{User: user, Password: secret})
}

// in logs in, and fails unless that succeeds.
func (f *fixture) in(user string, secret auth.Secret) auth.Identity {
	f.t.Helper()
	id, err := f.login(user, secret)
	if err != nil {
		f.t.Fatalf("%s is not let in: %v", user, err)
	}
	return id
}

// out checks that neither a login as user nor what id was issued is of use, and
// returns what a login is told.
func (f *fixture) out(what, user string, secret auth.Secret, id auth.Identity) *auth.RejectedError {
	f.t.Helper()
	_, err := f.login(user, secret)
	if !errors.Is(err, auth.ErrBadCredentials) {
		f.t.Errorf("%s: a login: %v", what, err)
	}
	if now, err := f.Resolve(f.t.Context(), id.Subject); err == nil && now.Version == id.Version {
		f.t.Errorf("%s: what was issued is of use", what)
	}
	var rejected *auth.RejectedError
	if !errors.As(err, &rejected) {
		return &auth.RejectedError{}
	}
	return rejected
}
