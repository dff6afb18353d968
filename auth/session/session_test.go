package session

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/auth"
)

// memory is a Store.
type memory struct{ byHash map[string]Session }

func (m *memory) AddSession(_ context.Context, s Session) error {
	m.byHash[string(s.Hash)] = s
	return nil
}

func (m *memory) Session(_ context.Context, hash []byte) (Session, error) {
	s, ok := m.byHash[string(hash)]
	if !ok {
		return s, ErrNotExist
	}
	return s, nil
}

func (m *memory) DeleteSession(_ context.Context, hash []byte) error {
	delete(m.byHash, string(hash))
	return nil
}

func (m *memory) TouchSessions(_ context.Context, used map[string]time.Time) error {
	for hash, at := range used {
		if s, ok := m.byHash[hash]; ok {
			s.LastUsed = at
			m.byHash[hash] = s
		}
	}
	return nil
}

func (m *memory) DeleteOldSessions(_ context.Context, used, created time.Time) error {
	for hash, s := range m.byHash {
		if s.LastUsed.Before(used) || s.Created.Before(created) {
			delete(m.byHash, hash)
		}
	}
	return nil
}

// A fixture is Sessions with one user and a clock.
type fixture struct {
	*Sessions
	store *memory
	now   time.Time
	user  auth.Identity
	err   error // what is known of the user instead
}

func newFixture() *fixture {
	f := &fixture{store: &memory{make(map[string]Session)}, now: time.Unix(1e9, 0)}
	f.user = auth.Identity{Subject: auth.Subject{Provider: "accounts", Name: "alice"}, Version: "1"}
	f.Sessions = New(f.store, Options{
		Resolve: func(context.Context, auth.Subject) (auth.Identity, error) { return f.user, f.err },
		Now:     func() time.Time { return f.now },
	})
	return f
}

func (f *fixture) begin(t *testing.T) auth.Secret {
	t.Helper()
	secret, err := f.Begin(t.Context(), f.user)
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestSession(t *testing.T) {
	f := newFixture()
	secret := f.begin(t)
	if other := f.begin(t); other == secret {
		t.Error("two sessions of one secret")
	}
	if id, err := f.Find(t.Context(), secret); err != nil || id.Name != "alice" {
		t.Errorf("%+v, %v", id, err)
	}
	for _, wrong := range []auth.Secret{"", "x", secret + "x", secret[:51] + "!"} {
		if _, err := f.Find(t.Context(), wrong); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%d characters: %v", len(wrong), err)
		}
	}
	for hash := range f.store.byHash {
		if hash == secret.Reveal() {
			t.Error("the secret itself is stored")
		}
	}
	if err := errors.Join(f.End(t.Context(), secret), f.End(t.Context(), secret), f.End(t.Context(), "")); err != nil {
		t.Error(err)
	}
	if _, err := f.Find(t.Context(), secret); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("ended: %v", err)
	}
}

// TestVoid: what ends a session, for good.
func TestVoid(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"idle":                   func(f *fixture) { f.now = f.now.Add(8*time.Hour + 1) },
		"another password":       func(f *fixture) { f.user.Version = "2" },
		"removed":                func(f *fixture) { f.err = auth.ErrNoMatch },
		"disabled":               func(f *fixture) { f.err = auth.ErrBadCredentials },
		"the name is another's":  func(f *fixture) { f.user.Provider = "corp" },
		"a reason for the audit": func(f *fixture) { f.err = &auth.RejectedError{Reason: "locked"} },
		"a week has passed":      func(f *fixture) { f.now = f.now.Add(8 * 24 * time.Hour) },
	} {
		f := newFixture()
		secret, before := f.begin(t), *f
		change(f)
		if _, err := f.Find(t.Context(), secret); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
		f.now, f.user, f.err = before.now, before.user, nil
		if _, err := f.Find(t.Context(), secret); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s, and back again: %v", name, err)
		}
	}
}

// TestDown: a backend that does not answer ends nothing.
func TestDown(t *testing.T) {
	f := newFixture()
	secret := f.begin(t)
	f.err = errors.New("down")
	if _, err := f.Find(t.Context(), secret); !errors.Is(err, f.err) {
		t.Errorf("%v", err)
	}
	f.err = nil
	if _, err := f.Find(t.Context(), secret); err != nil {
		t.Error(err)
	}
}

// TestLife: use keeps a session alive, but not for ever.
func TestLife(t *testing.T) {
	f := newFixture()
	secret, began := f.begin(t), f.now
	for f.now.Sub(began) <= 7*24*time.Hour {
		if _, err := f.Find(t.Context(), secret); err != nil {
			t.Fatalf("after %v: %v", f.now.Sub(began), err)
		}
		if err := f.tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(7 * time.Hour)
	}
	if len(f.used) > 0 {
		t.Error("uses are written again and again")
	}
	if _, err := f.Find(t.Context(), secret); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after %v: %v", f.now.Sub(began), err)
	}
	f.begin(t)
	f.now = f.now.Add(9 * time.Hour)
	if err := f.tidy(t.Context()); err != nil || len(f.store.byHash) > 0 {
		t.Errorf("%d sessions are left, %v", len(f.store.byHash), err)
	}
}

// TestNoPerson: a session is more than a robot or a token may ever have.
func TestNoPerson(t *testing.T) {
	f := newFixture()
	for name, change := range map[string]func(*auth.Identity){
		"nobody":           func(id *auth.Identity) { id.Subject = auth.Subject{} },
		"a personal token": func(id *auth.Identity) { id.Credential = "T1" },
		"a robot":          func(id *auth.Identity) { id.Owner = &f.user },
		"a limit":          func(id *auth.Identity) { id.Limit = limit{} },
	} {
		id := f.user
		change(&id)
		if _, err := f.Begin(t.Context(), id); !errors.Is(err, ErrNoPerson) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type limit struct{}

func (limit) String() string { return "nothing" }
