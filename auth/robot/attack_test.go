package robot

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/auth"
)

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
		"a password of the robot's name": {auth.Credentials{User: "robot:ci", Password: "secret"}, false, auth.ErrBadCredentials},
		"a robot that is not there":      {auth.Credentials{User: "robot:x", Password: "secret"}, false, auth.ErrBadCredentials},
		"a user called ci":               {auth.Credentials{User: "ci", Password: "secret"}, false, auth.ErrNoMatch},
		"a user called robot":            {auth.Credentials{User: "robot", Password: "ci:secret"}, false, auth.ErrNoMatch},
		"Harbor's spelling":              {auth.Credentials{User: "robot$ci", Password: "secret"}, false, auth.ErrNoMatch},
		"a mistyped secret":              {auth.Credentials{User: "ci", Password: secret + "A"}, true, auth.ErrBadCredentials},
		"an unknown secret":              {auth.Credentials{User: "ci", Password: auth.RobotForm.New()}, true, auth.ErrBadCredentials},
		"an unknown token":               {auth.Credentials{User: "alice", Password: auth.TokenForm.New()}, true, auth.ErrBadCredentials},
		"another robot's name":           {auth.Credentials{User: "cd", Password: secret}, true, auth.ErrBadCredentials},
		"another case":                   {auth.Credentials{User: "CI", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under a user's name": {auth.Credentials{User: "alice", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under Harbor's":      {auth.Credentials{User: "robot$ci", Password: secret}, true, auth.ErrBadCredentials},
		"the secret under two prefixes":  {auth.Credentials{User: "robot:robot:ci", Password: secret}, true, auth.ErrBadCredentials},
		"another robot's longer name":    {auth.Credentials{User: "robot:cd", Password: secret}, true, auth.ErrBadCredentials},
		"a refresh token is no password": {auth.Credentials{User: "ci", Password: auth.RefreshForm.New()}, true, auth.ErrBadCredentials},
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
