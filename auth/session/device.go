package session

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"berth/auth"
)

// A Device is the login of a command line that has begun, and that somebody
// confirms with a browser (RFC 8628).
type Device struct {
	Hash     []byte // SHA-256 of the device code
	Code     string // the user code
	Client   string // as it calls itself
	Addr     netip.Addr
	Began    time.Time
	Decision Decision
	User     auth.Subject // who decided
	Version  string       // of his identity then
}

// A Decision is what became of the login of a command line.
type Decision string

// The decisions.
const (
	Undecided Decision = ""
	Allowed   Decision = "allowed"
	Denied    Decision = "denied"
)

// Errors of a DeviceStore.
var (
	ErrCodeTaken = errors.New("another login has that code")
	ErrTooMany   = errors.New("too many logins have begun")
)

// A DeviceStore keeps logins of command lines. Every call is one transaction, and
// knows only those that began after a time. It is safe for concurrent use.
type DeviceStore interface {
	// AddDevice adds d, unless there are as many as most already, and removes
	// older ones. Errors: ErrCodeTaken, ErrTooMany.
	AddDevice(ctx context.Context, d Device, since time.Time, most int) error
	// Device returns the login of a user code. Errors: ErrNotExist.
	Device(ctx context.Context, code string, since time.Time) (Device, error)
	// DecideDevice writes Decision, User and Version of d to the login of its
	// Code. Errors: ErrNotExist, also when somebody has decided already.
	DecideDevice(ctx context.Context, d Device, since time.Time) error
	// TakeDevice returns the login of that hash, which is gone then if somebody
	// has decided. Errors: ErrNotExist.
	TakeDevice(ctx context.Context, hash []byte, since time.Time) (Device, error)
}
