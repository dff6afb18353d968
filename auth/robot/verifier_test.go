package robot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"berth/auth"
)

// people is the backend of the users of a fixture. It takes every name for one
// of its own that it is asked about with the right password, as a directory with
// an odd user could.
type people struct {
	f     *fixture
	asked *[]auth.Credentials
}

func (p people) Authenticate(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	*p.asked = append(*p.asked, c)
	if c.Password == "secret" {
		return auth.Identity{Subject: auth.Subject{Provider: "corp", Name: c.User}}, nil
	}
	return auth.Identity{}, auth.ErrNoMatch
}

func (p people) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	p.f.mu.Lock()
	id, ok := p.f.users[s.Name]
	p.f.mu.Unlock()
	if !ok {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return p.f.resolve(ctx, id.Subject)
}

// TestBehindVerifier: as a part of the whole chain, where what is right is
// remembered.
func TestBehindVerifier(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	var v *auth.Verifier
	var asked []auth.Credentials
	f.owner = func(ctx context.Context, s auth.Subject) (auth.Identity, error) { return v.Resolve(ctx, s) }
	v = auth.NewVerifier([]auth.Authenticator{f.Robots, people{f, &asked}}, auth.Options{
		Hasher: auth.NewHasher(auth.HasherOptions{Cost: bcrypt.MinCost}), Now: f.now,
		Groups: map[string][]string{"ops": {"alice"}, "robots": {"robot:ci"}},
	})
	secret, token := f.add("ci", Settings{Owner: alice, Limits: pulls(), Expires: f.time.Add(day)}), f.token(alice, "laptop", time.Time{})
	verify := func(user string, secret auth.Secret) (auth.Identity, error) {
		return v.Verify(ctx, auth.Credentials{User: user, Password: secret})
	}
	for range 2 { // the second time it is remembered
		id, err := verify("ci", secret)
		if err != nil || id.Name != "robot:ci" || !slices.Equal(id.Groups, []string{"robots"}) || !slices.Equal(id.Owner.Groups, []string{"dev", "ops"}) || id.Limit == nil {
			t.Fatalf("%+v, %v", id, err)
		}
		if id, err = verify("alice", token); err != nil || id.Name != "alice" || !slices.Equal(id.Groups, []string{"dev", "ops"}) || id.Limit == nil || id.Owner != nil {
			t.Fatalf("%+v, %v", id, err)
		}
		if id, err = v.Resolve(ctx, id.Subject); err != nil || id.Limit == nil {
			t.Fatalf("%+v, %v", id, err)
		}
	}
	if s := v.Stats(); s.CacheHits != 2 {
		t.Errorf("remembered %d times", s.CacheHits)
	}
	// Who is here with his password is not narrowed.
	if id, err := v.Lookup(ctx, "alice"); err != nil || id.Limit != nil || id.Credential != "" {
		t.Errorf("%+v, %v", id, err)
	}
	if id, err := v.Lookup(ctx, "robot:ci"); err != nil || id.Limit == nil || id.Owner == nil {
		t.Errorf("%+v, %v", id, err)
	}

	// No directory may have a user of a robot's name, nor see a robot's secret.
	for user, password := range map[string]auth.Secret{"robot:ci": "secret", "robot:new": "secret", "alice": auth.TokenForm.New(), "ci": secret + "A"} {
		if id, err := verify(user, password); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", user, id, err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("another backend was shown %d credentials", len(asked))
	}

	f.setUser(alice, "disabled")
	if _, err := verify("ci", secret); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("remembered beyond its owner: %v", err)
	}
	f.setUser(alice, "a2")
	f.pass(day)
	if _, err := verify("ci", secret); err == nil || !strings.Contains(err.Error(), "expired on 2026-03-02") {
		t.Errorf("remembered beyond its end: %v", err)
	}
	if err := f.Tokens().Revoke(ctx, alice, f.store.tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := verify("alice", token); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("remembered beyond its revocation: %v", err)
	}
}
