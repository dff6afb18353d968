package robot

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
)

// setID makes who has the name of s the one of that ID.
func (f *fixture) setID(s auth.Subject, id auth.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[s.Name] = auth.Identity{Subject: s, Version: "v " + string(id), ID: id}
}

// settled writes what was found out, and returns the reasons of what was ended.
func (f *fixture) settled() map[string]string {
	f.t.Helper()
	reasons := make(map[string]string)
	f.ended = func(o Owned, reason string) { reasons[o.String()] = reason }
	if err := f.settle(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return reasons
}

func (f *fixture) tokenIDs() (ids []string) {
	for _, t := range f.store.tokens {
		ids = append(ids, t.ID)
	}
	return ids
}

// TestAnotherOfTheName: what was made for a user does not serve the next of his
// name, and not the first one again after that.
func TestAnotherOfTheName(t *testing.T) {
	f := newFixture(t)
	f.setID(bob, "uuid:1")
	robot, token := f.add("ci", Settings{Owner: bob, Limits: pulls()}), f.token(bob, "laptop", time.Time{})
	first := f.store.tokens[0].ID
	f.open() // the ID is kept
	robotID, tokenID := f.in("ci", robot), f.in("bob", token)
	if robotID.ID != "" || tokenID.ID != "uuid:1" {
		t.Errorf("the robot is %q, the token's owner %q", robotID.ID, tokenID.ID)
	}

	f.setID(bob, "uuid:2")
	own := f.token(bob, "laptop", time.Time{})
	for what, s := range map[string]struct {
		user   string
		secret auth.Secret
		id     auth.Identity
	}{"the robot": {"ci", robot, robotID}, "the token": {"bob", token, tokenID}} {
		r := f.out(what, s.user, s.secret, s.id)
		if r.Told != "" || !strings.Contains(r.Reason, "made for another bob") {
			t.Errorf("%s: %+v", what, r)
		}
	}
	f.setID(bob, "uuid:1") // before anything is written
	f.out("the robot, back", "ci", robot, robotID)
	f.out("the token, back", "bob", token, tokenID)
	want := map[string]string{
		"the robot ci":       "its owner is another bob than it was made for",
		"the token " + first: "its owner is another bob than it was made for",
	}
	if diff := cmp.Diff(want, f.settled()); diff != "" {
		t.Error(diff)
	}
	if len(f.settled()) != 0 {
		t.Error("ended twice")
	}
	f.open()
	f.out("the robot, at the next start", "ci", robot, robotID)
	f.out("the token, at the next start", "bob", token, tokenID)
	if !f.store.robots[0].Disabled || slices.Contains(f.tokenIDs(), first) || len(f.store.tokens) != 1 {
		t.Errorf("left: %+v, %+v", f.store.robots, f.store.tokens)
	}
	f.setID(bob, "uuid:2")
	f.in("bob", own)

	// His robot is the next one's when an administrator says so.
	enable := func(s *Settings) { s.Disabled = false }
	if err := f.Set(t.Context(), "ci", enable); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "name its owner again") {
		t.Errorf("enabled for another: %v", err)
	}
	if err := f.Set(t.Context(), "ci", func(s *Settings) { s.Disabled, s.OwnerID = false, "" }); err != nil {
		t.Fatal(err)
	}
	f.in("ci", robot)
}

// TestRenamed: a user takes nothing along to another name, and what was made
// under the old one is not another's.
func TestRenamed(t *testing.T) {
	f := newFixture(t)
	f.setID(bob, "uuid:1")
	token := f.token(bob, "laptop", time.Time{})
	id := f.in("bob", token)
	f.setUser(bob, "")
	f.setID(auth.Subject{Provider: "corp", Name: "rob"}, "uuid:1")
	f.out("under the old name", "bob", token, id)
	if _, err := f.login("rob", token); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("under the new name: %v", err)
	}
	if len(f.settled()) != 0 {
		t.Error("one who is not found, perhaps for a moment, ends it")
	}
	f.setID(bob, "uuid:2")
	f.out("of another", "bob", token, id)
	if len(f.settled()) != 1 {
		t.Error("it is not ended")
	}
}

// TestOlderOwners: what was made without an ID keeps the first one that is found,
// which is written later than on the request that found it.
func TestOlderOwners(t *testing.T) {
	f := newFixture(t)
	robot, token := f.add("ci", Settings{Owner: bob, Limits: pulls()}), f.token(bob, "laptop", time.Time{})
	f.in("ci", robot)
	f.settled()
	if f.store.robots[0].OwnerID != "" {
		t.Error("an ID out of nothing")
	}
	f.setID(bob, "uuid:1")
	robotID, tokenID := f.in("ci", robot), f.in("bob", token)
	if f.store.robots[0].OwnerID != "" || f.store.tokens[0].OwnerID != "" {
		t.Error("a request has written")
	}
	f.store.err = errors.New("the disk is full")
	if err := f.settle(t.Context()); !errors.Is(err, f.store.err) {
		t.Error(err)
	}
	f.store.err = nil
	if len(f.settled()) != 0 || f.store.robots[0].OwnerID != "uuid:1" || f.store.tokens[0].OwnerID != "uuid:1" {
		t.Errorf("kept: %+v, %+v", f.store.robots[0], f.store.tokens[0])
	}
	if f.in("ci", robot).Version != robotID.Version {
		t.Error("what was issued has ended")
	}
	if ids, _ := f.findings.all(); len(ids) != 0 {
		t.Errorf("still to be written: %v", ids)
	}
	f.setID(bob, "uuid:2")
	f.out("the robot", "ci", robot, robotID)
	f.out("the token", "bob", token, tokenID)
	if n := len(f.settled()); n != 2 {
		t.Errorf("%d ended", n)
	}
}

// TestOlderOwnerAtOnce: the first ID holds before it is written.
func TestOlderOwnerAtOnce(t *testing.T) {
	f := newFixture(t)
	token := f.token(bob, "laptop", time.Time{})
	f.setID(bob, "uuid:1")
	id := f.in("bob", token)
	f.setID(bob, "uuid:2")
	f.out("another", "bob", token, id)
	if n := len(f.settled()); n != 1 || len(f.store.tokens) != 0 {
		t.Errorf("%d ended, left %+v", n, f.store.tokens)
	}
}

// TestNotToBeTold: a backend that says no ID any more lets nobody in, and ends
// nothing.
func TestNotToBeTold(t *testing.T) {
	f := newFixture(t)
	f.setID(bob, "uuid:1")
	token := f.token(bob, "laptop", time.Time{})
	id := f.in("bob", token)
	for _, now := range []auth.ID{"", "guid:1"} {
		f.setID(bob, now)
		if r := f.out("without an ID", "bob", token, id); !strings.Contains(r.Reason, "cannot be told") || r.Told != "" {
			t.Errorf("%+v", r)
		}
	}
	if len(f.settled()) != 0 {
		t.Error("it is ended")
	}
	f.setID(bob, "uuid:1 guid:1")
	f.in("bob", token)
}

// TestGoneOwners: a backend that knows its users for certain ends what is left of
// those who are gone, whatever comes after.
func TestGoneOwners(t *testing.T) {
	f := newFixture(t)
	robot, token, other := f.add("ci", Settings{Owner: bob, Limits: pulls()}), f.token(bob, "laptop", time.Time{}), f.token(alice, "laptop", time.Time{})
	f.add("bare", Settings{Limits: pulls()})
	robotID, tokenID := f.in("ci", robot), f.in("bob", token)
	f.ForgetAll(func(s auth.Subject) bool { return s.Provider == "corp" && s.Name != "bob" })
	f.in("bob", token)

	reasons := make(map[string]string)
	f.ended = func(o Owned, reason string) { reasons[o.Robot+o.Owner.Name] = reason }
	f.store.err = errors.New("the disk is full")
	f.ForgetAll(func(s auth.Subject) bool { return s.Provider == "corp" })
	f.out("the token, not yet written", "bob", token, tokenID)
	f.store.err = nil
	if err := f.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"cibob": "its owner bob is no more", "bob": "its owner bob is no more"}, reasons); diff != "" {
		t.Error(diff)
	}
	f.open()
	f.out("the robot", "ci", robot, robotID) // bob is there, but who is he
	f.out("the token", "bob", token, tokenID)
	f.in("alice", other)
	if bare, err := f.Get("bare"); err != nil || bare.Disabled {
		t.Errorf("a robot of nobody: %+v, %v", bare, err)
	}
	if err := f.Set(t.Context(), "ci", func(s *Settings) { s.Disabled = false }); !errors.Is(err, ErrInvalid) {
		t.Errorf("enabled: %v", err)
	}
	if err := f.Set(t.Context(), "ci", func(s *Settings) { s.Disabled, s.OwnerID = false, "" }); err != nil {
		t.Fatal(err)
	}
	f.in("ci", robot)
}

// TestMadeWhileForgotten: who is removed while something is made for him gets
// nothing, and nor does who comes after him. The removal comes at the worst
// moments: after the owner was looked up, and before this is told.
func TestMadeWhileForgotten(t *testing.T) {
	for name, make := range map[string]func(*fixture) error{
		"a token": func(f *fixture) error {
			_, err := f.Tokens().New(f.t.Context(), bob, "laptop", nil, nil, time.Time{})
			return err
		},
		"a robot": func(f *fixture) error {
			_, err := f.Add(f.t.Context(), "ci", Settings{Owner: bob, Limits: pulls()}, "root")
			return err
		},
		"an owner": func(f *fixture) error {
			return f.Set(f.t.Context(), "bare", func(s *Settings) { s.Owner = bob })
		},
	} {
		for _, told := range []bool{true, false} {
			f := newFixture(t)
			f.add("bare", Settings{Limits: pulls()})
			resolve, removed := f.owner, false
			f.owner = func(ctx context.Context, s auth.Subject) (auth.Identity, error) {
				id, err := resolve(ctx, s)
				if !removed {
					removed = true
					f.setUser(bob, "")
					if told {
						f.Forget(bob)
					}
				}
				return id, err
			}
			err := make(f)
			if told && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "there is no user bob")) || !told && err != nil {
				t.Errorf("%s, told %v: %v", name, told, err)
			}
			f.Forget(bob)
			f.setUser(bob, "b1") // another, without an ID
			f.open()
			for _, r := range f.List() {
				if r.Owner == bob && f.Usable(t.Context(), r) == nil {
					t.Errorf("%s, told %v: a robot of who is gone", name, told)
				}
			}
			if len(f.store.tokens) != 0 {
				t.Errorf("%s, told %v: a token of who is gone", name, told)
			}
		}
	}
}

// TestEndedAtOnce: what a request finds out, Run ends without waiting for the
// next minute, and in one start.
func TestEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.setID(bob, "uuid:1")
		f.add("ci", Settings{Owner: bob, Limits: pulls()})
		token := f.token(bob, "laptop", time.Time{})
		ended := make(map[string]bool)
		f.ended = func(o Owned, _ string) { ended[o.Owner.Name+o.Robot] = true }
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { f.Run(ctx); close(done) }()
		synctest.Wait()
		f.setID(bob, "uuid:2")
		if _, err := f.login("bob", token); err == nil {
			t.Error("let in")
		}
		synctest.Wait()
		if got := slices.Collect(maps.Keys(ended)); !slices.Equal(got, []string{"bob"}) || len(f.store.tokens) != 0 {
			t.Errorf("ended %q, left %+v", got, f.store.tokens)
		}
		stop()
		<-done
	})
}
