package auth

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// secrets is a Recognizer: whoever knows the secret of a robot is the robot.
type secrets struct {
	*backend
}

func (s secrets) Recognizes(c Credentials) bool {
	return strings.HasPrefix(c.Password.Reveal(), "secret-")
}

func (s secrets) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	s.asked.Add(1)
	return s.Resolve(ctx, Subject{Provider: "robots", Name: "robot:ci", Credential: strings.TrimPrefix(c.Password.Reveal(), "secret-")})
}

func (s secrets) Resolve(ctx context.Context, sub Subject) (Identity, error) {
	if sub.Credential == "" {
		return Identity{}, ErrNoMatch
	}
	id, err := s.backend.Resolve(ctx, Subject{Name: sub.Credential})
	id.Subject = sub
	return id, err
}

func TestRecognizedCredentialsReachOneBackend(t *testing.T) {
	directory := newBackend("directory", map[string]backendUser{"alice": {password: "a"}})
	robots := secrets{newBackend("robots", map[string]backendUser{"k1": {}})}
	v := NewVerifier([]Authenticator{directory, robots}, Options{Hasher: quick()})
	id, err := v.Verify(context.Background(), login("alice", "secret-k1"))
	want := Subject{Provider: "robots", Name: "robot:ci", Credential: "k1"}
	if err != nil || id.Subject != want {
		t.Errorf("got %+v, %v", id, err)
	}
	if _, err := v.Verify(context.Background(), login("alice", "secret-k2")); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("an unknown secret: %v", err)
	}
	if n := directory.asked.Load(); n != 0 {
		t.Errorf("the directory was shown a robot's secret %d times", n)
	}
	if id, err := v.Resolve(context.Background(), want); err != nil || id.Subject != want {
		t.Errorf("Resolve: %+v, %v", id, err)
	}
	robots.set("k1", backendUser{disabled: true})
	if _, err := v.Verify(context.Background(), login("alice", "secret-k1")); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("a disabled secret that was remembered: %v", err)
	}
	alice := Subject{Provider: "directory", Name: "alice", Credential: "k1"}
	if _, err := v.Resolve(context.Background(), alice); err == nil {
		t.Error("a credential is somebody else's too")
	}
}

// expired is a Recognizer whose secrets have all expired.
type expired struct{ secrets }

func (expired) Authenticate(_ context.Context, c Credentials) (Identity, error) {
	if c.Password == "secret-right" {
		return Identity{}, &RejectedError{Reason: "expired", Told: "the robot ci expired on 2026-03-01"}
	}
	return Identity{}, ErrBadCredentials
}

func TestExpiredSecretIsNoGuess(t *testing.T) {
	v := NewVerifier([]Authenticator{expired{secrets{newBackend("robots", nil)}}}, Options{Hasher: quick()})
	for range 2 * wrongPerAddress {
		if _, err := v.Verify(context.Background(), login("ci", "secret-right")); err == nil || err.Error() != "the robot ci expired on 2026-03-01" {
			t.Fatalf("told %v", err)
		}
	}
	var throttled *ThrottledError
	for range wrongPerAccount {
		_, _ = v.Verify(context.Background(), login("ci", "secret-wrong"))
	}
	if _, err := v.Verify(context.Background(), login("ci", "secret-wrong")); !errors.As(err, &throttled) {
		t.Errorf("guessed too often: %v", err)
	}
}

// fleeting is a Recognizer that wants to see its credentials each time.
type fleeting struct{ secrets }

func (fleeting) Unremembered() {}

func TestUnrememberedCredentialsAreShownEachTime(t *testing.T) {
	jobs := fleeting{secrets{newBackend("jobs", map[string]backendUser{"k1": {}})}}
	var told int
	v := NewVerifier([]Authenticator{jobs}, Options{Hasher: quick(), Attempted: func(context.Context, Attempt) { told++ }})
	for range 3 {
		if id, err := v.Verify(context.Background(), login("any", "secret-k1")); err != nil || id.Credential != "k1" {
			t.Errorf("got %+v, %v", id, err)
		}
	}
	if n := jobs.asked.Load(); n != 3 || told != 3 {
		t.Errorf("shown %d times and told %d times, want 3", n, told)
	}
	var throttled *ThrottledError
	for range wrongPerAccount {
		if _, err := v.Verify(context.Background(), login("any", "secret-k2")); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("a wrong one: %v", err)
		}
	}
	if _, err := v.Verify(context.Background(), login("any", "secret-k2")); !errors.As(err, &throttled) {
		t.Errorf("one too many: %v", err)
	}
}

// folding is a backend that does not look at case, as directories do not.
type folding struct{ *backend }

func (f folding) Authenticate(ctx context.Context, c Credentials) (Identity, error) {
	c.User = strings.ToLower(c.User)
	return f.backend.Authenticate(ctx, c)
}

func (f folding) Resolve(ctx context.Context, s Subject) (Identity, error) {
	s.Name = strings.ToLower(s.Name)
	return f.backend.Resolve(ctx, s)
}

func TestSpellingTakesNobodysName(t *testing.T) {
	file := newBackend("file", map[string]backendUser{"alice": {password: "f"}})
	directory := folding{newBackend("directory", map[string]backendUser{"alice": {password: "d"}, "bob": {password: "b"}})}
	v := NewVerifier([]Authenticator{file, directory}, Options{Hasher: quick()})
	if id, err := v.Verify(context.Background(), login("BOB", "b")); err != nil || id.Name != "bob" {
		t.Errorf("BOB is %+v, %v", id, err)
	}
	if id, err := v.Verify(context.Background(), login("ALICE", "d")); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("ALICE of the directory is %+v, %v", id, err)
	}
}

func TestAttemptsAreTold(t *testing.T) {
	b := newBackend("file", map[string]backendUser{"alice": {password: "a"}})
	var told []Attempt
	v := NewVerifier([]Authenticator{b}, Options{Hasher: quick(), Attempted: func(_ context.Context, a Attempt) { told = append(told, a) }})
	for _, password := range []Secret{"a", "a", "x", "x"} {
		_, _ = v.Verify(context.Background(), login("alice", password))
	}
	if len(told) != 3 {
		t.Fatalf("%d attempts were told, want one right and two wrong", len(told))
	}
	if told[0].Err != nil || told[0].Identity.Name != "alice" || !errors.Is(told[2].Err, ErrBadCredentials) {
		t.Errorf("told %+v", told)
	}
}

func TestRejectedError(t *testing.T) {
	err := error(&RejectedError{Reason: "account locked"})
	if !errors.Is(err, ErrBadCredentials) || err.Error() != ErrBadCredentials.Error() {
		t.Errorf("%v says more than it may, or is not what it is", err)
	}
	if err := (&RejectedError{Told: "expired"}); err.Error() != "expired" {
		t.Errorf("%v", err)
	}
}
