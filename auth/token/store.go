package token

import (
	"context"
	"errors"
	"time"

	"berth/auth"
)

// A RefreshToken stands for a password login. It is kept as a hash, and found
// by it.
type RefreshToken struct {
	ID       string // names the token in lists; no secret
	Hash     []byte // SHA-256 of the token
	Subject  auth.Subject
	Version  string // of the identity at login; another one voids the token
	Service  string
	Client   string // client_id or user agent, as the client said
	Addr     string // of the client
	Created  time.Time
	LastUsed time.Time
}

// A Key signs access tokens.
type Key struct {
	ID      string // RFC 7638 thumbprint
	Private []byte // PKCS #8
	Created time.Time
}

// ErrNotExist is returned for a refresh token that is not there.
var ErrNotExist = errors.New("no such token")

// ErrOtherKey is returned when somebody else has made a key.
var ErrOtherKey = errors.New("there is another signing key by now")

// MaxRefreshTokens is how many refresh tokens one user has at most: machines that
// log in anew with every job would fill the database.
const MaxRefreshTokens = 1000

// A Store keeps refresh tokens and keys durably. Every call is one
// transaction. It is safe for concurrent use.
type Store interface {
	// AddRefreshToken adds t. Where its user then has more than
	// MaxRefreshTokens, those that were idle the longest go.
	AddRefreshToken(ctx context.Context, t RefreshToken) error
	// RefreshToken returns the token of that hash. Errors: ErrNotExist.
	RefreshToken(ctx context.Context, hash []byte) (RefreshToken, error)
	// RefreshTokens returns the tokens of one user, or of all when name is
	// empty, newest first.
	RefreshTokens(ctx context.Context, name string) ([]RefreshToken, error)
	// DeleteRefreshToken removes the token of that ID. Errors: ErrNotExist.
	DeleteRefreshToken(ctx context.Context, id string) error
	// TouchRefreshTokens sets when tokens, by ID, were last used.
	TouchRefreshTokens(ctx context.Context, used map[string]time.Time) error
	// DeleteIdleRefreshTokens removes what was last used before the time.
	DeleteIdleRefreshTokens(ctx context.Context, before time.Time) (int, error)

	// Keys returns the keys, newest first.
	Keys(ctx context.Context) ([]Key, error)
	// AddKey adds k, unless another key is the newest by now than the one of
	// that ID, "" for none: ErrOtherKey.
	AddKey(ctx context.Context, k Key, newest string) error
	DeleteKey(ctx context.Context, id string) error
}
