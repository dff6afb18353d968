package meta

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/auth/oidc"
	"berth/auth/robot"
	"berth/auth/session"
)

func TestSSO(t *testing.T) { onEach(t, testSSO) }

func testSSO(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.SSO()
	alice := oidc.User{
		Issuer: "https://sso.test", Subject: "1", Provider: "sso", Name: "sso/alice", Groups: []string{"sso/dev"}, Refresh: []byte{1, 2},
		Created: day, LastLogin: day, Checked: day, Changed: day,
	}
	bob := oidc.User{Issuer: "https://sso.test", Subject: "2", Provider: "sso", Name: "sso/bob", Created: day, LastLogin: day, Checked: day, Changed: day, Disabled: true}
	other := oidc.User{Issuer: "https://other.test", Subject: "1", Provider: "other", Name: "other/alice", Created: day, LastLogin: day, Checked: day, Changed: day}
	for _, u := range []oidc.User{bob, alice, other} {
		if err := store.CreateUser(ctx, u); err != nil {
			t.Fatal(err)
		}
	}
	taken := alice
	taken.Issuer, taken.Subject = "https://evil.test", "1"
	if err := store.CreateUser(ctx, taken); !errors.Is(err, oidc.ErrNameTaken) {
		t.Errorf("a name twice: %v", err)
	}
	alice.Groups, alice.Refresh, alice.Suspended = nil, nil, true
	alice.LastLogin, alice.Checked, alice.Changed = day.Add(1e6), day.Add(2e6), day.Add(3e6)
	err := store.UpdateUser(ctx, alice.Issuer, alice.Subject, func(u *oidc.User) error {
		*u = alice
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	if err := store.UpdateUser(ctx, bob.Issuer, bob.Subject, func(u *oidc.User) error { u.Disabled = false; return refused }); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	got, err := store.Users(ctx, "sso")
	if diff := cmp.Diff([]oidc.User{alice, bob}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	_, err = store.DeleteUser(ctx, "sso/nobody")
	for _, err := range []error{err, store.UpdateUser(ctx, "x", "1", nil)} {
		if !errors.Is(err, oidc.ErrNotExist) {
			t.Errorf("no such user: %v", err)
		}
	}
	secret, err := store.Secret(ctx)
	again, err2 := store.Secret(ctx)
	if err != nil || err2 != nil || len(secret) != 32 || !bytes.Equal(secret, again) {
		t.Errorf("secret of %d bytes, again the same: %v; %v, %v", len(secret), bytes.Equal(secret, again), err, err2)
	}
}

// TestDeletedUserTakesHisSessions: and nobody else's.
func TestDeletedUserTakesHisSessions(t *testing.T) { onEach(t, testDeletedUserTakesHisSessions) }

func testDeletedUserTakesHisSessions(t *testing.T, db *DB) {
	ctx := t.Context()
	if err := db.SSO().CreateUser(ctx, oidc.User{Issuer: "i", Subject: "1", Provider: "sso", Name: "alice"}); err != nil {
		t.Fatal(err)
	}
	for i, s := range []auth.Subject{{Provider: "sso", Name: "alice"}, {Provider: "accounts", Name: "alice"}, {Provider: "sso", Name: "bob"}} {
		if err := db.Sessions().AddSession(ctx, session.Session{Hash: []byte{byte(i)}, Subject: s}); err != nil {
			t.Fatal(err)
		}
	}
	for _, owner := range []string{"alice", "bob"} {
		token := robot.Token{Secret: robot.Secret{ID: owner, Hash: []byte(owner)}, Owner: auth.Subject{Provider: "sso", Name: owner}, Name: "laptop"}
		if err := db.Robots().CreateToken(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	if provider, err := db.SSO().DeleteUser(ctx, "alice"); err != nil || provider != "sso" {
		t.Fatal(provider, err)
	}
	if tokens, err := db.Robots().Tokens(ctx); err != nil || len(tokens) != 1 || tokens[0].Owner.Name != "bob" {
		t.Errorf("tokens: %+v, %v", tokens, err)
	}
	for i, want := range []error{session.ErrNotExist, nil, nil} {
		if _, err := db.Sessions().Session(ctx, []byte{byte(i)}); !errors.Is(err, want) {
			t.Errorf("session %d: %v, want %v", i, err, want)
		}
	}
}

func TestSessions(t *testing.T) { onEach(t, testSessions) }

func testSessions(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Sessions()
	s := session.Session{Hash: []byte("h"), Subject: auth.Subject{Provider: "p", Name: "alice"}, Version: "v", Created: day, LastUsed: day}
	if err := store.AddSession(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := store.TouchSessions(ctx, map[string]time.Time{"h": day.Add(time.Hour), "none": day}); err != nil {
		t.Fatal(err)
	}
	s.LastUsed = day.Add(time.Hour)
	got, err := store.Session(ctx, s.Hash)
	if diff := cmp.Diff(s, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, err := range []error{store.DeleteSession(ctx, []byte("none")), store.DeleteOldSessions(ctx, day.Add(time.Hour), day)} {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := store.Session(ctx, s.Hash); err != nil {
		t.Errorf("not old: %v", err)
	}
	if err := store.DeleteOldSessions(ctx, day, day.Add(1e3)); err != nil {
		t.Error(err)
	}
	if _, err := store.Session(ctx, s.Hash); !errors.Is(err, session.ErrNotExist) {
		t.Errorf("made too long ago: %v", err)
	}
}

// TestManySessions: a new one ends the oldest of too many.
func TestManySessions(t *testing.T) { onEach(t, testManySessions) }

func testManySessions(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Sessions()
	for i := range session.MaxPerUser + 2 {
		s := session.Session{Hash: []byte{byte(i)}, Subject: auth.Subject{Name: "alice"}, Created: day.Add(time.Duration(i) * time.Second)}
		if err := store.AddSession(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.AddSession(ctx, session.Session{Hash: []byte("bob"), Subject: auth.Subject{Name: "bob"}, Created: day}); err != nil {
		t.Fatal(err)
	}
	var left []int
	for i := range session.MaxPerUser + 2 {
		if _, err := store.Session(ctx, []byte{byte(i)}); err == nil {
			left = append(left, i)
		}
	}
	if len(left) != session.MaxPerUser || slices.Contains(left, 0) || slices.Contains(left, 1) {
		t.Errorf("left are %v", left)
	}
}
