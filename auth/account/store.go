package account

import (
	"context"
	"errors"
	"time"
)

// An Account is a user that berth itself keeps.
type Account struct {
	Name     string
	Hash     string // bcrypt
	Groups   []string
	Disabled bool
	Created  time.Time // which tells it from others of its name
	Updated  time.Time // of Hash or Disabled, in whole microseconds
}

// Errors of a Store.
var (
	ErrExists   = errors.New("there is already an account of that name")
	ErrNotExist = errors.New("there is no account of that name")
)

// A Store keeps accounts durably. Every call is one transaction. It is safe
// for concurrent use.
type Store interface {
	// Accounts returns all accounts, sorted by name.
	Accounts(ctx context.Context) ([]Account, error)
	// CreateAccount adds a. Errors: ErrExists.
	CreateAccount(ctx context.Context, a Account) error
	// UpdateAccount writes what change made of the account. An error of change
	// is returned as it is, and nothing is written. Errors: ErrNotExist.
	UpdateAccount(ctx context.Context, name string, change func(*Account) error) error
	// DeleteAccount removes the account, its refresh tokens and its personal
	// tokens, and disables its robots. Errors: ErrNotExist.
	DeleteAccount(ctx context.Context, name string) error
}
