package ldap

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/auth/robot"
	"berth/meta"
	"berth/test/directory"
)

// keysOf returns the robots and tokens of users of d, and a way to see what of
// them is ended.
func keysOf(t *testing.T, d *Directory) (*robot.Robots, func() int) {
	t.Helper()
	db, err := meta.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "berth.db"), meta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	verifier := auth.NewVerifier([]auth.Authenticator{d}, auth.Options{})
	ended := make(chan string, 10)
	keys, err := robot.New(t.Context(), db.Robots(), robot.Options{
		Owner: verifier.Resolve, Log: d.o.Log,
		Ended: func(_ robot.Owned, reason string) { ended <- reason },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() { keys.Run(ctx); close(done) }()
	t.Cleanup(func() {
		stop()
		<-done
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return keys, func() int { return len(ended) }
}

// TestOwner: the token and the robot of a user serve him and nobody else who is
// called like him, be he new or renamed; and who is away comes back to them.
func TestOwner(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	dn := s.AddUser("alice", "alice-secret")
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	keys, ended := keysOf(t, d)
	subject := auth.Subject{Provider: "corp", Name: "alice"}
	token, err := keys.Tokens().New(t.Context(), subject, "laptop", nil, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.Add(t.Context(), "ci", robot.Settings{Owner: subject}, "root")
	if err != nil {
		t.Fatal(err)
	}
	use := func(user string, s auth.Secret) string {
		_, err := keys.Authenticate(t.Context(), auth.Credentials{User: user, Password: s})
		var rejected *auth.RejectedError
		switch {
		case err == nil:
			return "in"
		case errors.As(err, &rejected):
			return rejected.Reason
		}
		return err.Error()
	}
	want := func(what, part string) {
		t.Helper()
		c.add(DefaultInterval)
		for user, s := range map[string]auth.Secret{"alice": token, "ci": secret} {
			if got := use(user, s); !strings.Contains(got, part) {
				t.Errorf("%s: %s of %s: %s, want %s", what, user, subject, got, part)
			}
		}
	}
	want("alice", "in")
	moved := s.Rename(dn, "alicia")
	want("under another name", "no more")
	if got := use("alicia", token); got != auth.ErrBadCredentials.Error() {
		t.Errorf("the token under the new name: %s", got)
	}
	dn = s.Rename(moved, "alice")
	want("back under her name", "in")
	if n := ended(); n != 0 {
		t.Errorf("%d ended while the same alice came and went", n)
	}

	s.Remove(dn)
	want("removed", "no more")
	s.AddUser("alice", "alice-secret") // another, be it with the same password
	c.add(rememberAbsent)
	if id, err := login(d, "alice", "alice-secret"); err != nil || id.Name != "alice" {
		t.Errorf("the next alice: %+v, %v", id, err)
	}
	c.add(DefaultInterval)
	if got := use("alice", token); !strings.Contains(got, "another alice") {
		t.Errorf("the token for the next alice: %s", got)
	}
	if got := use("ci", secret); !strings.Contains(got, "another alice") {
		t.Errorf("the robot for the next alice: %s", got)
	}
	eventually(t, 5*time.Second, func() bool { return ended() == 2 })
	if list, _ := keys.Tokens().List(t.Context(), subject); len(list) != 0 || !keys.List()[0].Disabled {
		t.Errorf("left: %+v, %+v", list, keys.List())
	}
	if own, err := keys.Tokens().New(t.Context(), subject, "laptop", nil, nil, time.Time{}); err != nil || use("alice", own) != "in" {
		t.Errorf("a token of the next alice: %v", err)
	}
}
