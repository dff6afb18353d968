package oidc

import (
	"context"
	"errors"
	"time"
)

// A User is somebody who has signed in. Issuer and Subject say who he is, for
// good: whatever else a provider says of him may one day be said of another.
type User struct {
	Issuer   string
	Subject  string
	Provider string
	Name     string // as rules and logs spell it, since his first sign-in
	Groups   []string
	// Refresh is the provider's refresh token, sealed; nil when it gave none.
	Refresh   []byte
	Created   time.Time
	LastLogin time.Time // in a browser
	Checked   time.Time // when the provider last vouched for him
	// Suspended: the provider has ceased to vouch for him. His next sign-in
	// ends that. Disabled: an administrator has shut him out, which it does not.
	Suspended bool
	Disabled  bool
	Changed   time.Time // of Suspended or Disabled, in whole microseconds
	// Asked is when a node last began to ask the provider about him, where there
	// are several.
	Asked time.Time
}

// Errors of a Store.
var (
	ErrNameTaken = errors.New("another user has that name")
	ErrNotExist  = errors.New("there is no such user")
)

// A Store keeps users durably. Every call is one transaction. It is safe for
// concurrent use.
type Store interface {
	// Users returns the users of a provider, sorted by name.
	Users(ctx context.Context, provider string) ([]User, error)
	// CreateUser adds u. Errors: ErrNameTaken, be it by a user of another
	// provider.
	CreateUser(ctx context.Context, u User) error
	// UpdateUser writes what change made of a user. An error of change is
	// returned as it is, and nothing is written. Errors: ErrNotExist.
	UpdateUser(ctx context.Context, issuer, subject string, change func(*User) error) error
	// DeleteUser removes the user of that name, and whatever is his: sessions,
	// personal tokens. It returns which provider's he was. Errors: ErrNotExist.
	DeleteUser(ctx context.Context, name string) (provider string, err error)
	// Secret returns random bytes that are always the same.
	Secret(ctx context.Context) ([]byte, error)
}
