// Package auth answers the first question of every request: who is this?
//
// Backends (a password file, accounts, a directory) are Authenticators. A
// Verifier stands in front of them: it asks them in order, remembers what was
// verified under a keyed hash, slows down guessing, and bounds the work that
// passwords cost. What an Identity may do is decided elsewhere (package
// access), on every request.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// A Subject names a user for good: who vouches for the name, and the name.
// The zero Subject is nobody: an anonymous caller.
type Subject struct {
	Provider string // "accounts", "htpasswd", the name of a directory …
	Name     string // as rules and logs spell it; unique over all providers
	// Credential is the ID of what he is here by when that is not a password
	// and may be less than he is: a robot's secret, a personal token, a rule of
	// trust. It is no secret.
	Credential string
}

// Anonymous reports whether s is nobody.
func (s Subject) Anonymous() bool { return s.Name == "" }

func (s Subject) String() string {
	if s.Anonymous() {
		return "anonymous"
	}
	return s.Name
}

// An Identity is a Subject as its backend knows it now.
type Identity struct {
	Subject
	Groups []string // sorted; those of the backend and of auth.groups
	// Version changes when what the subject proves itself with changes: its
	// password, its being disabled; and it is another one for another ID. What was
	// issued under another Version is void. It reveals nothing about the secret.
	Version string
	// ID tells him from others of his name. What is to outlive a change of his
	// password is bound to it; "" where the backend has none.
	ID ID
	// Limit narrows what the credential of the subject may be used for; nil is
	// not at all. Package access makes and reads it.
	Limit Limit
	// Owner is for whom a robot acts: it may never do what he may not. Nil for
	// everybody else, and for a robot of the registry's own.
	Owner *Identity
}

// A Limit is what a credential is narrowed to. What cannot be read by package
// access allows nothing.
type Limit interface {
	// String says for people what the limit lets through.
	String() string
}

// Credentials are a user name and a password as a client sent them.
type Credentials struct {
	User     string
	Password Secret
	Addr     netip.Addr // of the client, behind trusted proxies
}

// A Secret is a string that does not print.
type Secret string

const hidden = "***"

func (Secret) String() string               { return hidden }
func (Secret) GoString() string             { return hidden }
func (Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format hides the secret from every verb of package fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(hidden)) }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// What an Authenticator answers besides an Identity. Any other error means
// that it could not tell (503), and never makes a caller anonymous.
var (
	// ErrNoMatch: the name is not this backend's. Ask the next one.
	ErrNoMatch = errors.New("no such user here")
	// ErrBadCredentials: the name is this backend's and the proof is wrong,
	// or the user is disabled. Ask nobody else.
	ErrBadCredentials = errors.New("wrong user name or password")
)

// A RejectedError is an ErrBadCredentials with more to say.
type RejectedError struct {
	// Reason is for the audit, and for nobody else: "account locked (775)".
	Reason string
	// Told, unless empty, is for the client, whose proof was right: "the robot
	// ci expired on 2026-03-01".
	Told string
}

// Error says what anybody may know.
func (e *RejectedError) Error() string {
	if e.Told != "" {
		return e.Told
	}
	return ErrBadCredentials.Error()
}

// Is makes e an ErrBadCredentials.
func (e *RejectedError) Is(target error) bool { return target == ErrBadCredentials }

// A ThrottledError says that the caller has guessed too often.
type ThrottledError struct{ RetryAfter time.Duration }

func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many wrong passwords, try again in %v", e.RetryAfter)
}

// An Authenticator knows the users of one backend. It is safe for concurrent
// use.
type Authenticator interface {
	// Authenticate verifies c. Errors: ErrNoMatch, ErrBadCredentials, the
	// context's, or any other when the backend does not answer.
	Authenticate(ctx context.Context, c Credentials) (Identity, error)
	// Resolve returns what the backend knows of s now, without a proof. A
	// Subject without a Provider asks for its name alone. It is called for
	// every request and must be cheap. Errors: ErrNoMatch when s is not (or no
	// longer) the backend's, ErrBadCredentials when s is disabled.
	Resolve(ctx context.Context, s Subject) (Identity, error)
}

// A Recognizer is an Authenticator that knows its credentials by their form. No
// other backend is shown what it recognizes: a robot's secret never reaches a
// directory. It alone is asked about Subjects with a Credential, and its
// ErrNoMatch about credentials is an ErrBadCredentials.
type Recognizer interface {
	Authenticator
	Recognizes(c Credentials) bool
}

// An Unremembered is a Recognizer that is shown its credentials every time that
// they are presented: they run out soon, or who presents them from where
// matters. To judge them must be cheap.
type Unremembered interface {
	Recognizer
	Unremembered()
}

// An Attempt is one presentation of credentials whose answer was not simply
// remembered.
type Attempt struct {
	User     string // as the client said it
	Addr     netip.Addr
	Identity Identity // when Err is nil
	Err      error
}
