package oidc

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/auth"
	"berth/test/issuer"
)

func TestSignIn(t *testing.T) {
	f := newFixture(t)
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("before: %v", err)
	}
	alice := f.mustSignIn()
	want := auth.Identity{Subject: auth.Subject{Provider: "sso", Name: "sso/alice"}, Groups: []string{"sso/dev"}, Version: alice.Version}
	if alice.Version == "" || alice.String() != want.String() || !slices.Equal(alice.Groups, want.Groups) {
		t.Errorf("%+v", alice)
	}
	f.restart()
	for _, s := range []auth.Subject{{Name: "sso/alice"}, alice.Subject} {
		if id, err := f.Resolve(t.Context(), s); err != nil || id.Version != alice.Version {
			t.Errorf("%+v: %+v, %v", s, id, err)
		}
	}
	for _, s := range []auth.Subject{{Name: "alice"}, {Name: "sso/bob"}, {Provider: "corp", Name: "sso/alice"}} {
		if id, err := f.Resolve(t.Context(), s); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%+v: %+v, %v", s, id, err)
		}
	}
	if stored := f.store.list[0]; strings.Contains(string(stored.Refresh), "TOKEN") || len(stored.Refresh) < 40 || f.List()[0].Refresh != nil {
		t.Error("the refresh token is not sealed")
	}
}

// TestPasswords: whether there is such a user makes no difference to what is
// said of a password.
func TestPasswords(t *testing.T) {
	f := newFixture(t)
	f.mustSignIn()
	const want = "users of sso have no password here: make a personal token at https://registry.test/ui/tokens, or run: berth login registry.test"
	for _, user := range []string{"sso/alice", "sso/nobody"} {
		_, err := f.Authenticate(t.Context(), auth.Credentials{User: user, Password: "secret"})
		if !errors.Is(err, auth.ErrBadCredentials) || told(err) != want {
			t.Errorf("%s: %v", user, err)
		}
	}
	for _, user := range []string{"alice", "sso", "corp/alice"} {
		if _, err := f.Authenticate(t.Context(), auth.Credentials{User: user, Password: "secret"}); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%s: %v", user, err)
		}
	}
}

// TestPlain: a plain name that another backend has is not taken over, and not
// given away while that backend cannot say.
func TestPlain(t *testing.T) {
	var owner string
	var down error
	f := newFixture(t, func(o *Options) {
		o.Plain = true
		o.Taken = func(context.Context, string) (string, error) { return owner, down }
	})
	owner = "corp"
	if _, err := f.signIn(); !strings.Contains(told(err), "alice belongs to a user that another backend of this registry keeps (corp)") {
		t.Errorf("taken: %v", err)
	}
	owner, down = "", errors.New("down")
	if _, err := f.signIn(); !errors.Is(err, down) || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("down: %v", err)
	}
	down = nil
	if alice := f.mustSignIn(); alice.Name != "alice" || !slices.Equal(alice.Groups, []string{"dev"}) {
		t.Errorf("%+v", alice)
	}
	if _, err := f.Authenticate(t.Context(), auth.Credentials{User: "alice", Password: "x"}); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("her password: %v", err)
	}
	if _, err := f.Authenticate(t.Context(), auth.Credentials{User: "bob", Password: "x"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("another's password: %v", err)
	}
}

// TestNamesAreNotTakenOver: whoever is called as somebody else was is not him.
func TestNamesAreNotTakenOver(t *testing.T) {
	f := newFixture(t)
	alice := f.mustSignIn()
	f.put("2", "alice", "admins")
	if _, err := f.signIn(); !strings.Contains(told(err), "berth user remove sso/alice") {
		t.Fatalf("another alice: %v", err)
	}
	if id, err := f.resolve("sso/alice"); err != nil || !slices.Equal(id.Groups, []string{"sso/dev"}) {
		t.Errorf("alice herself: %+v, %v", id, err)
	}
	f.put("1", "alicia")
	if id := f.mustSignIn(); id.Name != "sso/alice" {
		t.Errorf("a new name is taken: %s", id.Name)
	}
	f.put("3", "alicia")
	if id := f.mustSignIn(); id.Name != "sso/alicia" {
		t.Errorf("the free name: %s", id.Name)
	}
	var removed []string
	d := &Directory{Providers: func() []*Provider { return []*Provider{f.Provider} }, Store: f.store, Removed: func(s auth.Subject) { removed = append(removed, s.Provider+" "+s.Name) }}
	if err := d.Remove(t.Context(), "sso/alice"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("removed: %v", err)
	}
	f.put("2", "alice")
	if id := f.mustSignIn(); id.Name != "sso/alice" || id.Version == alice.Version || id.ID == alice.ID {
		t.Errorf("after she was removed: %+v", id)
	}

	// Another issuer under the same name has no claim to these users.
	f.o.Issuer = issuer.New(t).URL
	f.restart()
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("with another issuer: %v", err)
	}
	if err := errors.Join(d.Remove(t.Context(), "sso/alice"), d.Remove(t.Context(), "sso/alicia")); err != nil || len(f.store.list) != 0 {
		t.Errorf("remove those of the issuer before: %v", err)
	}
	for _, err := range []error{d.SetDisabled(t.Context(), "x", true), d.Remove(t.Context(), "x")} {
		if !errors.Is(err, ErrNotExist) {
			t.Errorf("nobody: %v", err)
		}
	}
	if want := []string{"sso sso/alice", "sso sso/alice", "sso sso/alicia"}; !slices.Equal(removed, want) {
		t.Errorf("removed: %q", removed)
	}
}

// TestChecks: groups are those of today, and who is not vouched for is out.
func TestChecks(t *testing.T) {
	f := newFixture(t)
	alice := f.mustSignIn()
	groups := func() []string {
		id, err := f.resolve("sso/alice")
		if err != nil {
			t.Fatal(err)
		}
		return id.Groups
	}
	f.put("1", "alice", "ops", "dev")
	if got := groups(); !slices.Equal(got, []string{"sso/dev"}) {
		t.Errorf("at once: %v", got)
	}
	f.wait(4 * time.Minute) // not due, but soon: the next request begins a check and does not wait
	f.issuer.Misbehave(issuer.Faults{BareRefresh: true})
	if got := groups(); !slices.Equal(got, []string{"sso/dev", "sso/ops"}) {
		t.Errorf("before it is due: %v", got)
	}
	f.issuer.Misbehave(issuer.Faults{})
	f.put("1", "alice")
	f.wait(5 * time.Minute)
	if id, err := f.Resolve(t.Context(), alice.Subject); err != nil || len(id.Groups) != 0 {
		t.Errorf("when it is due: %+v, %v", id, err)
	}

	f.issuer.Put(issuer.User{Subject: "1", Disabled: true})
	f.wait(5 * time.Minute)
	if _, err := f.Resolve(t.Context(), alice.Subject); !errors.Is(err, auth.ErrBadCredentials) {
		t.Fatalf("disabled at the provider: %v", err)
	}
	f.restart()
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after a restart: %v", err)
	}
	f.put("1", "alice", "dev")
	if again := f.mustSignIn(); again.Version == alice.Version || again.ID != alice.ID || again.ID == "" {
		t.Error("what was issued before comes back to life, or is another's")
	}
}

// TestDisabled: a sign-in does not undo what an administrator did.
func TestDisabled(t *testing.T) {
	f := newFixture(t)
	alice := f.mustSignIn()
	if err := f.SetDisabled(t.Context(), "sso/alice", true); err != nil {
		t.Fatal(err)
	}
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("disabled: %v", err)
	}
	if _, err := f.signIn(); told(err) != "an administrator has disabled sso/alice" {
		t.Errorf("sign-in: %v", err)
	}
	if err := f.SetDisabled(t.Context(), "sso/alice", false); err != nil {
		t.Fatal(err)
	}
	if id, err := f.resolve("sso/alice"); err != nil || id.Version == alice.Version {
		t.Errorf("enabled: %+v, %v", id, err)
	}
	if err := f.SetDisabled(t.Context(), "sso/bob", true); !errors.Is(err, ErrNotExist) {
		t.Errorf("nobody: %v", err)
	}
}

// TestSecretMissing: nobody can sign in, and who looks at the health is told before
// somebody tries.
func TestSecretMissing(t *testing.T) {
	f := newFixture(t)
	missing := true
	f.o.Secret = func() (auth.Secret, error) {
		if missing {
			return "", errors.New("no such file")
		}
		return issuer.ClientSecret, nil
	}
	f.SetOptions(f.o)
	if got := f.Degraded(); got != "read the client secret: no such file" {
		t.Errorf("degraded: %q", got)
	}
	missing = false
	f.mustSignIn()
	if f.Degraded() != "" {
		t.Error("still degraded:", f.Degraded())
	}
}

// TestProviderDown: what it said last holds for a time.
func TestProviderDown(t *testing.T) {
	f := newFixture(t)
	f.issuer.Misbehave(issuer.Faults{Down: true})
	if _, err := f.signIn(); err == nil || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("down at the start: %v", err)
	}
	if f.Degraded() == "" || !strings.Contains(f.log.String(), "provider=sso") {
		t.Errorf("nobody is told: %q, %s", f.Degraded(), f.log)
	}
	f.issuer.Misbehave(issuer.Faults{})
	f.wait(metadataRetry)
	alice := f.mustSignIn()
	if f.Degraded() != "" {
		t.Error("still degraded:", f.Degraded())
	}
	for name, fault := range map[string]issuer.Faults{"down": {Down: true}, "failing": {RefreshError: "server_error"}, "misconfigured": {RefreshError: "invalid_client"}} {
		f.issuer.Misbehave(fault)
		f.wait(59 * time.Minute)
		if id, err := f.resolve("sso/alice"); err != nil || id.Version != alice.Version {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
		asked := f.issuer.Requests("/token")
		if _, err := f.resolve("sso/alice"); err != nil || f.issuer.Requests("/token") != asked {
			t.Errorf("%s: it is asked again at once (%v)", name, err)
		}
		f.wait(time.Minute)
		if _, err := f.resolve("sso/alice"); err == nil || errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%s, after an hour: %v", name, err)
		}
		f.issuer.Misbehave(issuer.Faults{})
		f.wait(retryAfter)
		if id, err := f.resolve("sso/alice"); err != nil || id.Version != alice.Version {
			t.Errorf("%s, and up again: %+v, %v", name, id, err)
		}
	}
}

// TestOneCheck: many requests of one user are one question.
func TestOneCheck(t *testing.T) {
	f := newFixture(t)
	alice := f.mustSignIn()
	before := f.issuer.Requests("/token")
	f.wait(10 * time.Minute)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := f.Resolve(t.Context(), alice.Subject); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := f.issuer.Requests("/token") - before; n != 1 {
		t.Errorf("%d questions", n)
	}
}

// TestWithoutRefreshToken: a sign-in alone is good for its lifetime.
func TestWithoutRefreshToken(t *testing.T) {
	f := newFixture(t)
	f.issuer.Misbehave(issuer.Faults{NoRefresh: true})
	f.mustSignIn()
	f.wait(30*24*time.Hour - time.Minute)
	if _, err := f.resolve("sso/alice"); err != nil {
		t.Error(err)
	}
	f.wait(time.Minute)
	if _, err := f.resolve("sso/alice"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after 30 days: %v", err)
	}
}

func TestStoreFails(t *testing.T) {
	f := newFixture(t)
	f.store.err = errors.New("disk full")
	if _, err := f.signIn(); err == nil || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("sign-in: %v", err)
	}
}

// TestOwnCA: who vouches for the provider's host is configured.
func TestOwnCA(t *testing.T) {
	f := newFixture(t)
	f.issuer = issuer.NewTLS(t)
	f.o.Issuer = f.issuer.URL
	f.put("1", "alice")
	f.restart()
	if _, _, err := f.Begin(t.Context(), callback); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate: %v", err)
	}
	f.o.CAs = x509.NewCertPool()
	f.o.CAs.AppendCertsFromPEM(f.issuer.CA)
	f.restart()
	if _, to, err := f.Begin(t.Context(), callback); err != nil || !strings.HasPrefix(to, f.issuer.URL) {
		t.Errorf("%s, %v", to, err)
	}
}

// TestSetOptions: other options count at once, users stay, and what the provider
// said by others is asked again.
func TestSetOptions(t *testing.T) {
	f := newFixture(t)
	alice := f.mustSignIn()
	asked := f.issuer.Requests("/token")
	f.o.Interval = time.Minute
	f.SetOptions(f.o)
	if id, err := f.resolve("sso/alice"); err != nil || id.Version != alice.Version || f.issuer.Requests("/token") != asked {
		t.Errorf("another interval: %+v, %v", id, err)
	}
	f.wait(time.Minute)
	if _, err := f.resolve("sso/alice"); err != nil || f.issuer.Requests("/token") != asked+1 {
		t.Errorf("after a minute: %v", err)
	}
	f.o.Plain = true
	f.SetOptions(f.o)
	if id, err := f.Resolve(t.Context(), alice.Subject); err != nil || !slices.Equal(id.Groups, []string{"dev"}) {
		t.Errorf("groups that are plain now: %+v, %v", id, err)
	}
	f.put("2", "bob")
	f.o.Secret = func() (auth.Secret, error) { return "another", nil }
	f.SetOptions(f.o)
	if _, err := f.signIn(); err == nil {
		t.Error("the secret of before is in use")
	}
	f.o.CAs = x509.NewCertPool()
	f.SetOptions(f.o)
	asked = f.issuer.Requests("/.well-known/openid-configuration")
	if _, _, err := f.Begin(t.Context(), callback); err != nil || f.issuer.Requests("/.well-known/openid-configuration") != asked+1 {
		t.Errorf("other authorities: %v, %d", err, f.issuer.Requests("/.well-known/openid-configuration"))
	}
}
