// Package admin is the management of a registry: users, robots, tokens, and the
// answers to "who may do what" and "why was this refused".
//
// API says what can be done. Service does it, Handler offers it as JSON over
// HTTP, and Client speaks to a Handler, so that a command works in the same way
// beside a running server and on data that no server holds. Whoever reaches a
// Handler is an administrator: it stands on the local socket, which only the
// owner of the data may open.
package admin

import (
	"context"
	"time"

	"berth/access"
	"berth/auth"
	"berth/auth/trust"
	"berth/registry"
)

// API is all that can be managed. Errors that the user can mend are *Error.
type API interface {
	Users
	Robots
	Tokens
	Decisions
	registry.Mover
	registry.Sweeper
	Repositories
	registry.Accountant
	registry.Backer
	registry.Scrubber
}

// Users manages the accounts that berth itself keeps. Changes hold from the
// next request on. Users that a provider vouches for are listed as well, and can
// be disabled and removed.
type Users interface {
	Users(ctx context.Context) ([]User, error)
	// AddUser makes an account. Errors: Invalid, Exists.
	AddUser(ctx context.Context, u NewUser) error
	// SetPassword replaces a password, which ends the user's logins.
	// Errors: Invalid, NotFound.
	SetPassword(ctx context.Context, name string, password auth.Secret) error
	// SetDisabled shuts a user out, or lets him in again. Errors: NotFound.
	SetDisabled(ctx context.Context, name string, disabled bool) error
	// SetGroups replaces the groups of a user. Errors: Invalid, NotFound.
	SetGroups(ctx context.Context, name string, groups []string) error
	// RemoveUser removes an account and its logins. Errors: NotFound, and without
	// force Invalid for the last who can log in, or manage the registry.
	RemoveUser(ctx context.Context, name string, force bool) error
}

// Tokens manages what users have in the place of a password: the refresh tokens
// that stand for logins, and personal tokens.
type Tokens interface {
	// Tokens returns those of one user, or of all when user is empty, newest
	// first.
	Tokens(ctx context.Context, user string) ([]Token, error)
	// AddToken makes a personal token and returns it: it is never to be had
	// again. Errors: Invalid.
	AddToken(ctx context.Context, t NewToken) (auth.Secret, error)
	// RevokeToken ends a login or a personal token. Errors: NotFound.
	RevokeToken(ctx context.Context, id string) error
}

// Repositories manages what is stored.
type Repositories interface {
	// DeleteRepository removes a repository and all that was in it when the call
	// began, first the tags. A call that was interrupted is gone on with by
	// another. Errors: Invalid, NotFound.
	DeleteRepository(ctx context.Context, name string) error
}

// Decisions explains what the rules say.
type Decisions interface {
	// Explain answers what a user may do, and why. Errors: Invalid.
	Explain(ctx context.Context, q Question) (access.Explanation, error)
	// ExplainToken answers what the rules of trust make of a signed token, and
	// what its bearer may do. The token is not used by that.
	// Errors: Invalid, NotFound where there are no such rules.
	ExplainToken(ctx context.Context, q TokenQuestion) (TokenExplanation, error)
	// ExplainRef answers what was refused under a reference. Errors: NotFound.
	ExplainRef(ctx context.Context, ref string) (Refusal, error)
}

// A User is an account as lists show it.
type User struct {
	Name     string    `json:"name"`
	Groups   []string  `json:"groups"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	// Provider vouches for a user who has no account here. Suspended: it does so
	// no more, until he signs in again.
	Provider  string `json:"provider,omitempty"`
	Suspended bool   `json:"suspended,omitempty"`
}

// A NewUser is an account to be made.
type NewUser struct {
	Name     string
	Password auth.Secret
	Groups   []string
}

// The kinds of tokens.
const (
	KindLogin    = "login"
	KindPersonal = "personal"
)

// A Token is a login or a personal token as lists show it.
type Token struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	User string `json:"user"`
	Name string `json:"name"` // of a personal token; of the client that logged in
	Limits
	Client      string    `json:"client,omitempty"` // of a login
	Addr        string    `json:"addr"`             // of the login, the last one with a personal token
	Created     time.Time `json:"created"`
	CreatedBy   string    `json:"createdBy,omitempty"`
	LastUsed    time.Time `json:"lastUsed,omitzero"`
	Expires     time.Time `json:"expires,omitzero"` // of a personal token
	ExpiresSoon bool      `json:"expiresSoon,omitempty"`
}

// A NewToken is a personal token to be made.
type NewToken struct {
	User string `json:"user"`
	Name string `json:"name"` // as the user knows it
	Limits
	Expires time.Time `json:"expires,omitzero"` // zero: in 90 days
}

// A Question asks whether a user may do one thing.
type Question struct {
	User       string   `json:"user"`             // empty or "anonymous": who has not logged in
	Groups     []string `json:"groups,omitempty"` // besides those that the user has
	Action     string   `json:"action"`
	Repository string   `json:"repository"` // may end in :TAG or @DIGEST
	Addr       string   `json:"addr,omitempty"`
}

// A TokenQuestion asks about a signed token and, with an Action, whether its
// bearer may do one thing.
type TokenQuestion struct {
	Token      auth.Secret
	Action     string
	Repository string // may end in :TAG or @DIGEST
	Addr       string
}

// A TokenExplanation answers a TokenQuestion. The token is not in it.
type TokenExplanation struct {
	trust.Explanation
	Decision *access.Explanation `json:"decision,omitempty"`
}

// String returns e as lines of text.
func (e TokenExplanation) String() string {
	text := e.Explanation.String()
	if e.Decision != nil {
		text += e.Decision.String()
	}
	return text
}

// A Refusal is one request that was refused, and what the rules say to it now.
type Refusal struct {
	Ref         string              `json:"ref"`
	Time        time.Time           `json:"time"`
	User        string              `json:"user"`
	Addr        string              `json:"addr"`
	Scope       string              `json:"scope"`
	Reason      string              `json:"reason"`
	Status      int                 `json:"status"`
	Explanation *access.Explanation `json:"explanation,omitempty"`
}

// An Error is what the user is told.
type Error struct {
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
}

// A Kind says what is wrong with a call.
type Kind string

// The kinds of errors.
const (
	Invalid  Kind = "invalid"  // the call cannot be understood or is not allowed like this
	NotFound Kind = "notfound" // there is no such thing
	Exists   Kind = "exists"   // there is one already
)

func (e *Error) Error() string { return e.Message }

// Is reports whether target is an Error of the same kind.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind
}
