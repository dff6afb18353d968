package robot

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const day = 24 * time.Hour

func TestRobotLogsIn(t *testing.T) {
	f := newFixture(t)
	secret := f.add("ci", Settings{Limits: pulls(), Comment: "the build"})
	id := f.in("ci", secret)
	if id.Provider != "robots" || id.Name != "robot:ci" || id.Credential == "" || id.Version == "" || len(id.Groups) != 0 || id.Owner != nil {
		t.Errorf("%+v", id)
	}
	if id.Limit.String() != "pull on team/**" {
		t.Errorf("limit %s", id.Limit)
	}
	resolved, err := f.Resolve(t.Context(), id.Subject)
	if err != nil || resolved.Version != id.Version || resolved.Subject != id.Subject || resolved.Limit == nil {
		t.Errorf("resolved: %+v, %v", resolved, err)
	}
	if f.in("robot:ci", secret).Subject != id.Subject {
		t.Error("the longer name is not the robot's")
	}
	f.open() // what is kept is enough
	if again := f.in("ci", secret); again.Version != id.Version {
		t.Error("another version after a restart")
	}
	named, err := f.Resolve(t.Context(), auth.Subject{Name: "robot:ci"})
	if err != nil || named.Name != "robot:ci" || named.Credential != "" || named.Limit == nil {
		t.Errorf("by its name: %+v, %v", named, err)
	}
}

func TestRobotOfAnOwner(t *testing.T) {
	f := newFixture(t)
	secret := f.add("ci", Settings{Owner: alice, Limits: pulls()})
	id := f.in("ci", secret)
	if id.Owner == nil || id.Owner.Subject != alice || !slices.Equal(id.Owner.Groups, []string{"dev"}) || len(id.Groups) != 0 {
		t.Errorf("%+v of %+v", id, id.Owner)
	}
	f.setUser(alice, "a2")
	if now := f.in("ci", secret); now.Version == id.Version {
		t.Error("the version outlives a change of the owner")
	}
	f.setUser(alice, "disabled")
	if r := f.out("owner disabled", "ci", secret, id); !strings.Contains(r.Reason, "disabled") || r.Told != "" {
		t.Errorf("%+v", r)
	}
	f.setUser(alice, "")
	if r := f.out("owner removed", "ci", secret, id); !strings.Contains(r.Reason, "no more") || r.Told != "" {
		t.Errorf("%+v", r)
	}
	f.setUser(auth.Subject{Provider: "corp", Name: "alice"}, "a1")
	f.out("another alice", "ci", secret, id)
	f.down = errors.New("the directory does not answer")
	if _, err := f.login("ci", secret); !errors.Is(err, f.down) || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("directory down: %v", err)
	}
}

func TestPersonalToken(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret := f.token(alice, "laptop", time.Time{})
	id := f.in("alice", secret)
	if id.Provider != "accounts" || id.Name != "alice" || id.Credential == "" || !slices.Equal(id.Groups, []string{"dev"}) || id.Limit == nil || id.Owner != nil {
		t.Errorf("%+v", id)
	}
	if _, err := f.login("bob", secret); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("as somebody else: %v", err)
	}
	list, err := f.Tokens().List(ctx, alice)
	if err != nil || len(list) != 1 || list[0].Name != "laptop" || list[0].Hash != nil || !list[0].Expires.Equal(f.time.Add(90*day)) || list[0].LastUse.At.IsZero() {
		t.Errorf("%+v, %v", list, err)
	}
	if err := f.Tokens().Revoke(ctx, bob, list[0].ID); !errors.Is(err, ErrNotExist) {
		t.Errorf("revoked by somebody else: %v", err)
	}
	f.setUser(alice, "a2") // another password
	f.in("alice", secret)
	f.setUser(alice, "disabled")
	f.out("disabled", "alice", secret, id)
	f.setUser(alice, "a3")
	f.in("alice", secret)
	if err := f.Tokens().Revoke(ctx, alice, list[0].ID); err != nil {
		t.Fatal(err)
	}
	f.out("revoked", "alice", secret, id)
	if err := f.Tokens().Revoke(ctx, alice, list[0].ID); !errors.Is(err, ErrNotExist) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestInvalidTokens(t *testing.T) {
	f := newFixture(t)
	for what, token := range map[string]Token{
		"no name":         {Owner: alice},
		"a long name":     {Owner: alice, Name: strings.Repeat("a", 65)},
		"a name with ESC": {Owner: alice, Name: "a\x1b"},
		"no owner":        {Name: "a"},
		"a robot's":       {Owner: auth.Subject{Provider: "robots", Name: "robot:ci"}, Name: "a"},
		"a token's":       {Owner: auth.Subject{Provider: "accounts", Name: "alice", Credential: "x"}, Name: "a"},
		"an unknown user": {Owner: auth.Subject{Provider: "corp", Name: "alice"}, Name: "a"},
		"admin":           {Owner: alice, Name: "a", Limits: Limits{Actions: []string{"admin"}}},
		"expired":         {Owner: alice, Name: "a", Secret: Secret{Expires: f.time}},
		"too long":        {Owner: alice, Name: "a", Secret: Secret{Expires: f.time.Add(366*day + time.Second)}},
	} {
		if _, err := f.Tokens().Add(t.Context(), token); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range maxTokens {
		f.token(alice, "a", f.time.Add(366*day))
	}
	if _, err := f.Tokens().New(t.Context(), alice, "a", nil, nil, time.Time{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one too many: %v", err)
	}
	f.token(bob, "a", time.Time{})
}

// TestTokenless asks for personal tokens of who cannot use any.
func TestTokenless(t *testing.T) {
	f := newFixture(t)
	f.less = func(name string) string {
		if name == bob.Name {
			return "he shows a certificate"
		}
		return ""
	}
	workload := auth.Subject{Provider: "github", Name: "github/ci:org/app"}
	f.setUser(workload, "w1")
	for owner, want := range map[auth.Subject]string{
		workload: "not possible: github/ci:org/app can have no personal token: no client can give a name with a colon",
		bob:      "not possible: bob can have no personal token: he shows a certificate",
	} {
		_, err := f.Tokens().New(t.Context(), owner, "a", nil, nil, time.Time{})
		if !errors.Is(err, ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", owner, err)
		}
	}
	f.token(alice, "a", time.Time{})
	f.add("ci", Settings{Owner: workload, Limits: pulls()}) // which has a name of its own
}

// TestRotation is the story of a robot's secrets over a month.
func TestRotation(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	first := f.add("ci", Settings{Limits: pulls(), Expires: f.time.Add(20 * day)})
	before := f.in("ci", first)
	second, err := f.Rotate(ctx, "ci", Grace)
	if err != nil {
		t.Fatal(err)
	}
	if f.in("ci", second).Credential == f.in("ci", first).Credential {
		t.Error("two secrets are one")
	}
	if _, err := f.Rotate(ctx, "ci", Grace); !errors.Is(err, ErrInvalid) {
		t.Errorf("a third secret: %v", err)
	}
	if f.in("ci", first).Version != before.Version {
		t.Error("rotation ends what the first secret was issued")
	}
	f.pass(Grace)
	if r := f.out("a day later", "ci", first, before); r.Told != "the robot ci was given another secret, and this one ended on 2026-03-02: use the new one" {
		t.Errorf("told %q", r.Told)
	}
	third, err := f.Rotate(ctx, "ci", 0)
	if err != nil {
		t.Fatal(err)
	}
	f.out("no grace", "ci", second, before)
	id := f.in("ci", third)
	fourth, err := f.Rotate(ctx, "ci", 30*day)
	if err != nil {
		t.Fatal(err)
	}
	robot, _ := f.Get("ci")
	if len(robot.Secrets) != 2 || robot.Secrets[0].ID != id.Credential {
		t.Errorf("secrets: %+v", robot.Secrets)
	}
	if err := f.RevokeSecret(ctx, "ci", id.Credential); err != nil {
		t.Fatal(err)
	}
	f.out("revoked", "ci", third, id)
	id = f.in("ci", fourth)
	f.pass(19 * day)
	if r := f.out("the robot's end", "ci", fourth, id); r.Told != "the robot ci expired on 2026-03-21: ask an administrator to renew it" {
		t.Errorf("told %q", r.Told)
	}
	if err := f.Set(ctx, "ci", func(s *Settings) { s.Expires = f.time.Add(90 * day) }); err != nil {
		t.Fatal(err)
	}
	if f.in("ci", fourth).Version == id.Version {
		t.Error("what was issued before comes back to life")
	}
	for _, grace := range []time.Duration{-1, 30*day + 1} {
		if _, err := f.Rotate(ctx, "ci", grace); !errors.Is(err, ErrInvalid) {
			t.Errorf("a grace of %v: %v", grace, err)
		}
	}
}

func TestDisabled(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret := f.add("ci", Settings{Limits: pulls()})
	id := f.in("ci", secret)
	disable := func(disabled bool) {
		if err := f.Set(ctx, "ci", func(s *Settings) { s.Disabled = disabled }); err != nil {
			t.Fatal(err)
		}
	}
	disable(true)
	if r := f.out("disabled", "ci", secret, id); r.Told != "" || !strings.Contains(r.Reason, "disabled") {
		t.Errorf("%+v", r)
	}
	robot, _ := f.Get("ci")
	if err := f.Usable(ctx, robot); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("usable: %v", err)
	}
	disable(false)
	if f.in("ci", secret).Version == id.Version {
		t.Error("what was issued before it was disabled is of use again")
	}
	if err := f.Remove(ctx, "ci"); err != nil {
		t.Fatal(err)
	}
	f.out("removed", "ci", secret, id)
	f.add("ci", Settings{Limits: pulls()})
	f.out("made again", "ci", secret, id)
}

func TestTokenExpires(t *testing.T) {
	f := newFixture(t)
	secret := f.token(alice, "laptop", f.time.Add(day))
	id := f.in("alice", secret)
	f.pass(day)
	if r := f.out("expired", "alice", secret, id); r.Told != "the token laptop of alice expired on 2026-03-02: make a new one" {
		t.Errorf("told %q", r.Told)
	}
	if r := f.out("expired, said by another", "bob", secret, id); r.Told != "" {
		t.Errorf("another is told %q", r.Told)
	}
}

// A store that fails leaves everything as it was.
func TestStoreFails(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret := f.add("ci", Settings{Limits: pulls()})
	f.store.err = errors.New("disk on fire")
	_, addErr := f.Add(ctx, "cd", Settings{Limits: pulls()}, "")
	_, rotateErr := f.Rotate(ctx, "ci", Grace)
	_, tokenErr := f.Tokens().New(ctx, alice, "a", nil, nil, time.Time{})
	for what, err := range map[string]error{
		"add": addErr, "rotate": rotateErr, "token": tokenErr, "reload": f.Reload(ctx),
		"set": f.Set(ctx, "ci", func(s *Settings) { s.Disabled = true }),
	} {
		if !errors.Is(err, f.store.err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if f.in("ci", secret); len(f.List()) != 1 || len(f.List()[0].Secrets) != 1 {
		t.Errorf("left: %+v", f.List())
	}
}

func TestLastUse(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret := f.add("ci", Settings{Limits: pulls()})
	c := auth.Credentials{User: "ci", Password: secret, Addr: netip.MustParseAddr("::ffff:192.0.2.1")}
	id, err := f.Authenticate(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	last := func() Use { robot, _ := f.Get("ci"); return robot.Secrets[0].LastUse }
	if diff := cmp.Diff(Use{f.time, "192.0.2.1"}, last()); diff != "" {
		t.Error(diff)
	}
	if got := f.store.robots[0].Secrets[0].LastUse; got != (Use{}) {
		t.Errorf("written on the way: %+v", got)
	}
	f.pass(time.Hour)
	if _, err := f.Resolve(ctx, id.Subject); err != nil {
		t.Fatal(err)
	}
	f.store.err = errors.New("busy")
	if err := f.flush(ctx); !errors.Is(err, f.store.err) {
		t.Errorf("flushed: %v", err)
	}
	f.store.err = nil
	if err := errors.Join(f.Set(ctx, "ci", func(s *Settings) { s.Comment = "x" }), f.Reload(ctx), f.flush(ctx)); err != nil {
		t.Fatal(err)
	}
	want := Use{f.time, "192.0.2.1"}
	if diff := cmp.Diff(want, f.store.robots[0].Secrets[0].LastUse); diff != "" || last() != want {
		t.Errorf("%s, shown %+v", diff, last())
	}
	f.open()
	if diff := cmp.Diff(want, last()); diff != "" {
		t.Errorf("after a restart: %s", diff)
	}
}

// An output gathers what is logged.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// TestRun: in a bubble, a day passes at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var log output
		f.Robots.now, f.Robots.log = time.Now, slog.New(slog.NewTextHandler(&log, nil))
		kept := func() ([]Robot, []Token) {
			robots, _ := f.store.Robots(t.Context())
			tokens, _ := f.store.Tokens(t.Context())
			return robots, tokens
		}
		soonOver := f.add("ci", Settings{Limits: pulls(), Expires: time.Now().Add(10 * day)})
		f.add("later", Settings{Limits: pulls(), Expires: time.Now().Add(20 * day)})
		f.token(alice, "laptop", time.Now().Add(10*day))
		f.token(alice, "laptop", time.Now().Add(11*day))
		if n := f.Expiring(); n != 3 {
			t.Errorf("%d expire soon", n)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		f.in("ci", soonOver)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if robots, _ := kept(); robots[0].Secrets[0].LastUse.At.IsZero() {
			t.Error("the last use is not written")
		}
		if got := log.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "the robot ci expires soon") || !strings.Contains(got, "the token laptop of alice") {
			t.Errorf("logged: %s", got)
		}
		time.Sleep(42 * day)
		synctest.Wait()
		if robots, tokens := kept(); len(tokens) != 0 || len(robots) != 2 {
			t.Errorf("left: %d tokens, %d robots", len(tokens), len(robots))
		}
		if n := f.Expiring(); n != 0 {
			t.Errorf("%d of what is over expire soon", n)
		}
		stop()
		<-done
	})
}
