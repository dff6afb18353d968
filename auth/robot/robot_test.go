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
	// As Basic leaves it of the longer name, and as a form has it.
	for user, password := range map[string]auth.Secret{"robot:ci": secret, "robot": "ci:" + secret} {
		if !f.Recognizes(auth.Credentials{User: user, Password: password}) || f.in(user, password).Subject != id.Subject {
			t.Errorf("%s is not the robot", user)
		}
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

// TestOnlyHashes is RB4: whoever has the store, or a list, has no secret.
func TestOnlyHashes(t *testing.T) {
	f := newFixture(t)
	secret, token := f.add("ci", Settings{Limits: pulls()}), f.token(alice, "laptop", time.Time{})
	if len(f.store.robots[0].Secrets[0].Hash) != 32 || len(f.store.tokens[0].Hash) != 32 {
		t.Errorf("kept as %x and %x", f.store.robots[0].Secrets[0].Hash, f.store.tokens[0].Hash)
	}
	robot, err := f.Get("ci")
	if err != nil || robot.Secrets[0].Hash != nil || f.List()[0].Secrets[0].Hash != nil {
		t.Errorf("lists hold hashes, %v", err)
	}
	for what, s := range map[string]auth.Secret{
		"the hash":   auth.Secret(f.store.robots[0].Secrets[0].Hash),
		"the ID":     auth.Secret(robot.Secrets[0].ID),
		"its prefix": auth.Secret(auth.RobotForm) + auth.Secret(robot.Secrets[0].ID),
		"the token":  token,
		"cut":        secret[:len(secret)-1],
	} {
		if _, err := f.login("ci", s); err == nil {
			t.Errorf("%s is let in", what)
		}
	}
}

// TestNameSpaces is RB5: what is called like a robot is one or nobody, and no
// other backend is asked.
func TestNameSpaces(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	secret := f.add("ci", Settings{Limits: pulls()})
	for what, test := range map[string]struct {
		c          auth.Credentials
		recognized bool
		want       error
	}{
		"a password of the robot's name":    {auth.Credentials{User: "robot:ci", Password: "secret"}, false, auth.ErrBadCredentials},
		"a robot that is not there":         {auth.Credentials{User: "robot:x", Password: "secret"}, false, auth.ErrBadCredentials},
		"a user called ci":                  {auth.Credentials{User: "ci", Password: "secret"}, false, auth.ErrNoMatch},
		"a user called robot":               {auth.Credentials{User: "robot", Password: "ci:secret"}, false, auth.ErrNoMatch},
		"Harbor's spelling":                 {auth.Credentials{User: "robot$ci", Password: "secret"}, false, auth.ErrNoMatch},
		"a mistyped secret":                 {auth.Credentials{User: "ci", Password: secret + "A"}, true, auth.ErrBadCredentials},
		"an unknown secret":                 {auth.Credentials{User: "ci", Password: auth.RobotForm.New()}, true, auth.ErrBadCredentials},
		"an unknown token":                  {auth.Credentials{User: "alice", Password: auth.TokenForm.New()}, true, auth.ErrBadCredentials},
		"another robot's name":              {auth.Credentials{User: "cd", Password: secret}, true, auth.ErrBadCredentials},
		"another case":                      {auth.Credentials{User: "CI", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under a user's name":    {auth.Credentials{User: "alice", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under Harbor's":         {auth.Credentials{User: "robot$ci", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under two prefixes":     {auth.Credentials{User: "robot:robot:ci", Password: secret}, true, auth.ErrBadCredentials},
		"another name in front of it":       {auth.Credentials{User: "robot", Password: "cd:" + secret}, true, auth.ErrBadCredentials},
		"a refresh token is something else": {auth.Credentials{User: "ci", Password: auth.RefreshForm.New()}, false, auth.ErrNoMatch},
	} {
		if got := f.Recognizes(test.c); got != test.recognized {
			t.Errorf("%s: recognized: %v", what, got)
		}
		if _, err := f.Authenticate(ctx, test.c); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
	id := f.in("ci", secret)
	for what, test := range map[string]struct {
		s    auth.Subject
		want error
	}{
		"a user":                         {auth.Subject{Name: "alice"}, auth.ErrNoMatch},
		"a robot that is not there":      {auth.Subject{Name: "robot:x"}, auth.ErrBadCredentials},
		"a robot of another provider":    {auth.Subject{Provider: "corp", Name: "robot:ci"}, auth.ErrNoMatch},
		"a credential of another":        {auth.Subject{Provider: "robots", Name: "robot:cd", Credential: id.Credential}, auth.ErrNoMatch},
		"a credential under a user":      {auth.Subject{Provider: "accounts", Name: "alice", Credential: id.Credential}, auth.ErrNoMatch},
		"a credential that is not there": {auth.Subject{Provider: "robots", Name: "robot:ci", Credential: "x"}, auth.ErrNoMatch},
	} {
		if _, err := f.Resolve(ctx, test.s); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", what, err, test.want)
		}
	}
}

func TestAddress(t *testing.T) {
	f := newFixture(t)
	limits := pulls()
	limits.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	secret := f.add("ci", Settings{Limits: limits, Expires: f.time.Add(day)})
	from := func(addr string) error {
		a, _ := netip.ParseAddr(addr)
		_, err := f.Authenticate(t.Context(), auth.Credentials{User: "ci", Password: secret, Addr: a})
		return err
	}
	for _, addr := range []string{"10.1.2.3", "::ffff:10.1.2.3"} {
		if err := from(addr); err != nil {
			t.Errorf("from %s: %v", addr, err)
		}
	}
	f.pass(2 * day) // elsewhere nobody is told that the secret is a right one
	for _, addr := range []string{"192.0.2.1", ""} {
		var rejected *auth.RejectedError
		if err := from(addr); !errors.As(err, &rejected) || rejected.Told != "" || rejected.Reason == "" {
			t.Errorf("from %q: %v", addr, err)
		}
	}
}

// TestInvalid is RB1 and RB3 for what is made: no name like another thing's, no
// right that cannot be given.
func TestInvalid(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	good := Settings{Limits: pulls()}
	with := func(change func(*Settings)) Settings {
		s := good.clean()
		change(&s)
		return s
	}
	for _, name := range []string{"", "a/b", "a:b", "robot:ci", "CI", "a b", "-a", "robot$x", "scanner", "scanner-x", "system", "systemd", "proxy", "proxy-1",
		"anonymous", "*", "admin", "robot", "berth", strings.Repeat("a", 65), "é", "a\x00"} {
		if _, err := f.Add(ctx, name, good, ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("a robot called %q: %v", name, err)
		}
	}
	for what, s := range map[string]Settings{
		"nothing given":          {},
		"no actions":             with(func(s *Settings) { s.Actions = nil }),
		"no repositories":        with(func(s *Settings) { s.Repositories = nil }),
		"admin":                  with(func(s *Settings) { s.Actions = []string{"admin"} }),
		"an action that is none": with(func(s *Settings) { s.Actions = []string{"fly"} }),
		"a bad pattern":          with(func(s *Settings) { s.Repositories = []string{"Team/*"} }),
		"a user's pattern":       with(func(s *Settings) { s.Repositories = []string{"{user}/**"} }),
		"a bad network":          with(func(s *Settings) { s.From = []netip.Prefix{{}} }),
		"too many patterns":      with(func(s *Settings) { s.Repositories = slices.Repeat([]string{"a"}, 101) }),
		"a long comment":         with(func(s *Settings) { s.Comment = strings.Repeat("a", 257) }),
		"a comment of two lines": with(func(s *Settings) { s.Comment = "a\nb" }),
		"expired already":        with(func(s *Settings) { s.Expires = f.time }),
		"an owner unknown":       with(func(s *Settings) { s.Owner = auth.Subject{Provider: "accounts", Name: "eve"} }),
		"a robot as the owner":   with(func(s *Settings) { s.Owner = auth.Subject{Provider: "robots", Name: "robot:ci"} }),
		"a token as the owner":   with(func(s *Settings) { s.Owner = alice; s.Owner.Credential = "x" }),
	} {
		if _, err := f.Add(ctx, "ci", s, ""); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f.add("ci", good)
	if _, err := f.Add(ctx, "ci", good, ""); !errors.Is(err, ErrExists) {
		t.Errorf("added twice: %v", err)
	}
	if err := f.Set(ctx, "ci", func(s *Settings) { s.Actions = append(s.Actions, "admin") }); !errors.Is(err, ErrInvalid) {
		t.Errorf("set to admin: %v", err)
	}
	if err := f.Set(ctx, "ci", func(s *Settings) { s.Owner.Name = "eve" }); !errors.Is(err, ErrInvalid) {
		t.Errorf("set to an unknown owner: %v", err)
	}
	for what, err := range map[string]error{
		"set":    f.Set(ctx, "x", func(*Settings) {}),
		"revoke": f.RevokeSecret(ctx, "x", "y"),
		"secret": f.RevokeSecret(ctx, "ci", "y"),
		"remove": f.Remove(ctx, "x"),
	} {
		if !errors.Is(err, ErrNotExist) {
			t.Errorf("%s of what is not there: %v", what, err)
		}
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

// TestForget: who comes back under a name does not get what the one before had.
func TestForget(t *testing.T) {
	f := newFixture(t)
	robot, token, other := f.add("ci", Settings{Owner: alice, Limits: pulls()}), f.token(alice, "laptop", time.Time{}), f.token(bob, "laptop", time.Time{})
	robotID, tokenID := f.in("ci", robot), f.in("alice", token)
	f.Forget(alice)
	f.out("the robot", "ci", robot, robotID)
	f.out("the token", "alice", token, tokenID)
	f.in("bob", other)
	if list, _ := f.Tokens().List(t.Context(), auth.Subject{}); len(list) != 1 || list[0].Owner != bob {
		t.Errorf("tokens left: %+v", list)
	}
	if !f.List()[0].Disabled {
		t.Error("the robot is not shown as disabled")
	}
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

// TestUnreadableLimit: a limit from a program that knew more lets nobody in.
func TestUnreadableLimit(t *testing.T) {
	f := newFixture(t)
	secret, token := f.add("ci", Settings{Limits: pulls()}), f.token(alice, "laptop", time.Time{})
	f.store.robots[0].Actions = []string{"sign"}
	f.store.tokens[0].Actions = []string{"sign"}
	f.open()
	for user, s := range map[string]auth.Secret{"ci": secret, "alice": token} {
		if id, err := f.login(user, s); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", user, id, err)
		}
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

// TestRun: in a bubble, a day passes at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		var log strings.Builder
		f.Robots.now, f.Robots.log = time.Now, slog.New(slog.NewTextHandler(&log, nil))
		soonOver := f.add("ci", Settings{Limits: pulls(), Expires: time.Now().Add(10 * day)})
		f.add("later", Settings{Limits: pulls(), Expires: time.Now().Add(20 * day)})
		f.token(alice, "laptop", time.Now().Add(10*day))
		if n := f.Expiring(); n != 2 {
			t.Errorf("%d expire soon", n)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		f.in("ci", soonOver)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if f.store.robots[0].Secrets[0].LastUse.At.IsZero() {
			t.Error("the last use is not written")
		}
		if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "the robot ci expires soon") || !strings.Contains(got, "the token laptop of alice") {
			t.Errorf("logged: %s", got)
		}
		time.Sleep(41 * day)
		synctest.Wait()
		if len(f.store.tokens) != 0 || len(f.store.robots) != 2 {
			t.Errorf("left: %d tokens, %d robots", len(f.store.tokens), len(f.store.robots))
		}
		if n := f.Expiring(); n != 0 {
			t.Errorf("%d of what is over expire soon", n)
		}
		stop()
		<-done
	})
}

// TestRevokedWhileUsed: from the moment that the revocation returns, nothing is
// let in, however many are on their way.
func TestRevokedWhileUsed(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		secret := f.add("ci", Settings{Owner: alice, Limits: pulls()})
		id := f.in("ci", secret)
		var work sync.WaitGroup
		revoked := make(chan struct{})
		for range 4 {
			work.Go(func() {
				for {
					before := true
					select {
					case <-revoked:
						before = false
					default:
					}
					_, loginErr := f.login("ci", secret)
					_, resolveErr := f.Resolve(t.Context(), id.Subject)
					if before {
						continue
					}
					if loginErr == nil || resolveErr == nil {
						t.Error("let in after it was revoked")
					}
					return
				}
			})
		}
		work.Go(func() { f.flush(t.Context()) })
		if err := f.RevokeSecret(t.Context(), "ci", id.Credential); err != nil {
			t.Error(err)
		}
		close(revoked)
		work.Wait()
		if err := f.Remove(t.Context(), "ci"); err != nil {
			t.Fatal(err)
		}
	}
}
