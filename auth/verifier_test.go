package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A backend is an Authenticator over a table that counts how often it is asked
// for a proof.
type backend struct {
	provider string

	mu    sync.Mutex
	users map[string]backendUser
	down  error
	block chan struct{} // a proof waits for it

	asked atomic.Int64
}

type backendUser struct {
	password Secret
	groups   []string
	disabled bool
}

func newBackend(provider string, users map[string]backendUser) *backend {
	return &backend{provider: provider, users: users}
}

func (b *backend) set(name string, u backendUser) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users[name] = u
}

func (b *backend) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
}

func (b *backend) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	b.asked.Add(1)
	if b.block != nil {
		select {
		case <-b.block:
		case <-ctx.Done():
			return Identity{}, ctx.Err()
		}
	}
	id, err := b.Resolve(ctx, Subject{Name: c.User})
	if err != nil {
		return id, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users[c.User].password != c.Password {
		return Identity{}, ErrBadCredentials
	}
	return id, nil
}

func (b *backend) Resolve(_ context.Context, s Subject) (Identity, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, ok := b.users[s.Name]
	switch {
	case b.down != nil:
		return Identity{}, b.down
	case !ok, s.Provider != "" && s.Provider != b.provider:
		return Identity{}, ErrNoMatch
	case u.disabled:
		return Identity{}, ErrBadCredentials
	}
	return Identity{Subject: Subject{Provider: b.provider, Name: s.Name}, Groups: u.groups, Version: string(u.password)}, nil
}

func login(user string, password Secret) Credentials {
	return Credentials{User: user, Password: password, Addr: netip.MustParseAddr("192.0.2.1")}
}

// expect verifies c and compares who it is, "" for nobody.
func expect(t *testing.T, v *Verifier, c Credentials, provider string, want error) {
	t.Helper()
	id, err := v.Verify(context.Background(), c)
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", c.User, err, want)
	}
	if err == nil && id.Subject != (Subject{Provider: provider, Name: c.User}) {
		t.Errorf("%s is %+v, want one of %q", c.User, id.Subject, provider)
	}
}

func TestVerifyChain(t *testing.T) {
	first := newBackend("first", map[string]backendUser{
		"alice": {password: "a1"}, "off": {password: "o", disabled: true},
	})
	second := newBackend("second", map[string]backendUser{
		"alice": {password: "a2"}, "bob": {password: "b"}, "off": {password: "o"},
	})
	hasher := quick()
	dummies := 0
	hasher.compare = func(_, _ []byte) error { dummies++; return nil }
	v := NewVerifier([]Authenticator{first, second}, Options{Hasher: hasher})
	expect(t, v, login("alice", "a1"), "first", nil)
	expect(t, v, login("alice", "a2"), "", ErrBadCredentials)
	expect(t, v, login("bob", "b"), "second", nil)
	expect(t, v, login("off", "o"), "", ErrBadCredentials)
	expect(t, v, login("nobody", "x"), "", ErrBadCredentials)
	if dummies != 1 {
		t.Errorf("for the one unknown name %d hashes were computed", dummies)
	}

	for s, want := range map[Subject]error{
		{Provider: "first", Name: "alice"}:   nil,
		{Provider: "second", Name: "alice"}:  ErrNoMatch,
		{Provider: "second", Name: "bob"}:    nil,
		{Provider: "", Name: "bob"}:          ErrNoMatch,
		{Provider: "second", Name: "nobody"}: ErrNoMatch,
		{Provider: "first", Name: "off"}:     ErrBadCredentials,
		{}:                                   nil,
	} {
		id, err := v.Resolve(context.Background(), s)
		if !errors.Is(err, want) || err == nil && id.Subject != s {
			t.Errorf("Resolve(%+v) = %+v, %v; want error %v", s, id, err, want)
		}
	}

	first.set("both", backendUser{password: "same"})
	second.set("both", backendUser{password: "same"})
	expect(t, v, login("both", "same"), "first", nil)
	asked := second.asked.Load()
	v.SetBackends([]Authenticator{second, first})
	expect(t, v, login("both", "same"), "second", nil)
	if second.asked.Load() == asked {
		t.Error("what one backend verified was believed of another's user")
	}
	expect(t, v, login("alice", "a1"), "", ErrBadCredentials) // remembered as right a moment ago
	expect(t, v, login("alice", "a2"), "second", nil)         // and this as wrong
}

func TestVerifyImplausible(t *testing.T) {
	b := newBackend("b", map[string]backendUser{
		"": {password: "p"}, "*": {password: "p"}, "anonymous": {password: "p"}, "alice": {},
	})
	v := NewVerifier([]Authenticator{b}, Options{Hasher: quick()})
	id, err := v.Verify(context.Background(), Credentials{})
	if err != nil || !id.Anonymous() {
		t.Errorf("neither a user nor a password: %+v, %v", id, err)
	}
	for name, c := range map[string]Credentials{
		"no user":        login("", "p"),
		"no password":    login("alice", ""),
		"everybody":      login("*", "p"),
		"anonymous":      login("anonymous", "p"),
		"NUL in user":    login("ali\x00ce", "p"),
		"NUL in secret":  login("alice", "p\x00"),
		"user not UTF-8": login("al\xffice", "p"),
		"not UTF-8":      login("alice", "\xff"),
		"control":        login("alice\n", "p"),
		"long user":      login(strings.Repeat("a", 256), "p"),
		"long password":  login("alice", Secret(strings.Repeat("p", maxCredential+1))),
	} {
		if _, err := v.Verify(context.Background(), c); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := b.asked.Load(); n != 0 {
		t.Errorf("the backend was asked %d times", n)
	}
}

func TestVerifyRemembersRight(t *testing.T) {
	clk := newClock()
	b := newBackend("b", map[string]backendUser{"alice": {password: "a"}})
	v := NewVerifier([]Authenticator{b}, Options{Hasher: quick(), Now: clk.now})
	steps := []struct {
		what   string
		before func()
		err    error
		asked  int64 // in all
	}{
		{"first", func() {}, nil, 1},
		{"again", func() {}, nil, 1},
		{"after a while", func() { clk.pass(4 * time.Minute) }, nil, 1},
		{"after longer", func() { clk.pass(time.Minute) }, nil, 2},
		{"backend down", func() { b.fail(errors.New("down")) }, nil, 2},
		{"backend back", func() { b.fail(nil) }, nil, 2},
		{"disabled", func() { b.set("alice", backendUser{password: "a", disabled: true}) }, ErrBadCredentials, 3},
		{"enabled", func() { b.set("alice", backendUser{password: "a"}) }, nil, 3},
		{"other password", func() { b.set("alice", backendUser{password: "new"}) }, ErrBadCredentials, 4},
		{"removed", func() { delete(b.users, "alice") }, ErrBadCredentials, 5},
	}
	for _, step := range steps {
		step.before()
		_, err := v.Verify(context.Background(), login("alice", "a"))
		if !errors.Is(err, step.err) {
			t.Errorf("%s: got %v, want %v", step.what, err, step.err)
		}
		if n := b.asked.Load(); n != step.asked {
			t.Errorf("%s: asked %d times, want %d", step.what, n, step.asked)
		}
	}
	want := Stats{Attempts: 10, Failures: 3, CacheHits: 5}
	if diff := cmp.Diff(want, v.Stats()); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyRemembersWrong(t *testing.T) {
	clk := newClock()
	b := newBackend("b", map[string]backendUser{"alice": {password: "a"}})
	v := NewVerifier([]Authenticator{b}, Options{Hasher: quick(), Now: clk.now})
	try := func(user string, want error, asked int64) {
		t.Helper()
		expect(t, v, login(user, "new"), "b", want)
		if n := b.asked.Load(); n != asked {
			t.Errorf("%s: asked %d times, want %d", user, n, asked)
		}
	}
	try("alice", ErrBadCredentials, 1)
	try("alice", ErrBadCredentials, 1)
	try("bob", ErrBadCredentials, 2)
	try("bob", ErrBadCredentials, 2)
	clk.pass(5 * time.Second)
	try("alice", ErrBadCredentials, 3)
	b.set("alice", backendUser{password: "new"})
	try("alice", nil, 4) // the next request sees the change
	b.set("bob", backendUser{password: "new"})
	try("bob", nil, 5)
}

func TestVerifyThrottle(t *testing.T) {
	clk := newClock()
	b := newBackend("b", map[string]backendUser{"alice": {password: "a"}})
	v := NewVerifier([]Authenticator{b}, Options{Hasher: quick(), Now: clk.now})
	elsewhere := login("alice", "a")
	elsewhere.Addr = netip.MustParseAddr("192.0.2.2")

	for i := range 10 {
		// The same wrong password counts as much as others do.
		expect(t, v, login("alice", []Secret{"w", "x"}[i%2]), "", ErrBadCredentials)
	}
	var throttled *ThrottledError
	for _, p := range []Secret{"w", "y", "a"} {
		_, err := v.Verify(context.Background(), login("alice", p))
		if !errors.As(err, &throttled) || throttled.RetryAfter != time.Minute {
			t.Errorf("password %s: %v", p.Reveal(), err)
		}
	}
	if n := b.asked.Load(); n != 2 {
		t.Errorf("the backend was asked %d times", n)
	}
	expect(t, v, elsewhere, "b", nil)
	expect(t, v, login("alice", "a"), "b", nil) // right, and remembered now
	if _, err := v.Verify(context.Background(), Credentials{Addr: elsewhere.Addr}); err != nil {
		t.Errorf("anonymous: %v", err)
	}
	if s := v.Stats(); s.Throttled != 3 || s.Failures != 10 {
		t.Errorf("counted %+v", s)
	}
}

func TestVerifyBackendDown(t *testing.T) {
	clk := newClock()
	down := errors.New("directory does not answer")
	first := newBackend("first", map[string]backendUser{"alice": {password: "a"}})
	second := newBackend("second", map[string]backendUser{"bob": {password: "b"}})
	v := NewVerifier([]Authenticator{first, second}, Options{Hasher: quick(), Now: clk.now})

	first.fail(down)
	expect(t, v, login("bob", "b"), "", down) // whose name it is cannot be told
	expect(t, v, login("alice", "a"), "", down)
	expect(t, v, login("nobody", "x"), "", down)
	first.fail(nil)
	expect(t, v, login("bob", "b"), "second", nil)
	first.fail(down)
	clk.pass(10 * time.Minute)                     // the password is forgotten,
	expect(t, v, login("bob", "b"), "second", nil) // but not who owns the name
	expect(t, v, login("bob", "x"), "", down)      // who says that it is wrong?
	clk.pass(time.Hour)
	expect(t, v, login("bob", "b"), "", down)
	if s := v.Stats(); s.Failures != 0 {
		t.Errorf("an unanswered question was counted as a wrong password: %+v", s)
	}
}

// TestVerifyReplacedBackend: what a backend said is forgotten with it, what the
// others said is not.
func TestVerifyReplacedBackend(t *testing.T) {
	down := errors.New("directory does not answer")
	users := func() map[string]backendUser {
		return map[string]backendUser{"alice": {password: "a", groups: []string{"old"}}}
	}
	first, corp := newBackend("first", nil), newBackend("corp", users())
	last := newBackend("last", map[string]backendUser{"bob": {password: "b"}})
	robots := secrets{newBackend("robots", map[string]backendUser{"k1": {}})}
	v := NewVerifier([]Authenticator{robots, first, corp, last}, Options{Hasher: quick()})
	verifyAll := func() {
		t.Helper()
		expect(t, v, login("alice", "a"), "corp", nil)
		expect(t, v, login("bob", "b"), "last", nil)
		if _, err := v.Verify(t.Context(), login("ci", "secret-k1")); err != nil {
			t.Error(err)
		}
	}
	silence := func(err error) {
		for _, b := range []*backend{corp, robots.backend} {
			b.fail(err)
		}
	}
	verifyAll()
	v.SetBackends([]Authenticator{robots, first, corp, last}) // the same ones
	silence(down)
	verifyAll()
	silence(nil)

	next := newBackend("corp", users())
	v.SetBackends([]Authenticator{robots, first, next, last})
	asked := last.asked.Load()
	expect(t, v, login("alice", "a"), "corp", nil)
	if next.asked.Load() != 1 {
		t.Error("what the backend before verified was believed of this one's user")
	}
	expect(t, v, login("bob", "b"), "last", nil)
	if last.asked.Load() != asked {
		t.Error("what a backend that stays verified was forgotten")
	}
	next = newBackend("corp", users())
	next.fail(down)
	robots.fail(down)
	v.SetBackends([]Authenticator{robots, first, next, last})
	expect(t, v, login("alice", "a"), "", down)
	expect(t, v, login("bob", "b"), "", down) // who may be its own now
	if _, err := v.Verify(t.Context(), login("ci", "secret-k1")); !errors.Is(err, down) {
		t.Errorf("a robot, whose owner may be its own: %v", err)
	}
	v.SetBackends([]Authenticator{first, last})
	expect(t, v, login("alice", "a"), "", ErrBadCredentials)
	expect(t, v, login("bob", "b"), "last", nil)
}

func TestVerifyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend("b", map[string]backendUser{"alice": {password: "a"}})
		b.block = make(chan struct{})
		v := NewVerifier([]Authenticator{b}, Options{Hasher: quick()})
		leaving, leave := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() { _, err := v.Verify(leaving, login("alice", "a")); first <- err }()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { expect(t, v, login("alice", "a"), "b", nil) })
		}
		synctest.Wait()
		leave()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the one who left: %v", err)
		}
		close(b.block)
		wg.Wait()
		if n := b.asked.Load(); n != 1 {
			t.Errorf("the backend was asked %d times", n)
		}
	})
}

func TestVerifySlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend("b", map[string]backendUser{"alice": {password: "a"}})
		b.block = make(chan struct{})
		v := NewVerifier([]Authenticator{b}, Options{Hasher: quick()})
		start := time.Now()
		_, err := v.Verify(t.Context(), login("alice", "a"))
		if !errors.Is(err, errTooSlow) || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != longestVerify {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestGroups(t *testing.T) {
	b := newBackend("b", map[string]backendUser{"alice": {password: "a", groups: []string{"ops", "web"}}, "bob": {password: "b"}})
	v := NewVerifier([]Authenticator{b}, Options{
		Hasher: quick(),
		Groups: map[string][]string{"dev": {"alice", "bob", "alice"}, "web": {"alice"}},
	})
	check := func(user string, password Secret, want ...string) {
		t.Helper()
		verified, err := v.Verify(context.Background(), login(user, password))
		if err != nil {
			t.Fatal(err)
		}
		resolved, err := v.Resolve(context.Background(), verified.Subject)
		if err != nil {
			t.Fatal(err)
		}
		found, err := v.Lookup(context.Background(), user)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []Identity{verified, resolved, found} {
			if diff := cmp.Diff(want, id.Groups); diff != "" {
				t.Errorf("%s: %s", user, diff)
			}
		}
	}
	check("alice", "a", "dev", "ops", "web")
	check("bob", "b", "dev")
	v.SetGroups(map[string][]string{"qa": {"bob"}})
	check("alice", "a", "ops", "web")
	check("bob", "b", "qa")
}

func BenchmarkVerifyCached(b *testing.B) {
	v := NewVerifier([]Authenticator{newBackend("b", map[string]backendUser{"alice": {password: "a"}})}, Options{
		Hasher: quick(),
		Groups: map[string][]string{"dev": {"alice"}},
	})
	c := login("alice", "a")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), c); err != nil {
			b.Fatal(err)
		}
	}
}
