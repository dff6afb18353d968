package robot

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"berth/auth"
)

// Limits are what a robot or a token is narrowed to, in the words of
// access.NewLimit.
type Limits struct {
	Repositories []string       // patterns; none: every repository
	Actions      []string       // none: all but admin
	From         []netip.Prefix // networks of clients; none: every address
}

// A Robot is a user that is no person: a build, a cluster. In subjects and
// rules its name has auth.RobotPrefix in front.
type Robot struct {
	Name string
	Settings
	CreatedBy string
	Created   time.Time
	Updated   time.Time // of Settings, in whole microseconds
	Secrets   []Secret  // oldest first
}

// Settings are what of a robot can be changed.
type Settings struct {
	// Owner is for whom the robot acts; the zero Subject makes it the
	// registry's own.
	Owner auth.Subject
	// OwnerID tells the Owner from others of his name; "" where his backend does
	// not. It is set when the Owner is, and anew after a change that empties it.
	OwnerID auth.ID
	Limits
	Expires  time.Time // zero: never
	Disabled bool
	Comment  string
}

// A Secret is what a robot proves itself with. It is kept as a hash, and found
// by it.
type Secret struct {
	ID      string // names the secret in lists; no secret
	Hash    []byte // SHA-256 of the secret; nil in lists
	Created time.Time
	Expires time.Time // zero: as long as its robot
	LastUse Use
}

// A Token is a personal token: its owner himself, with less than he may do.
type Token struct {
	Secret
	Owner   auth.Subject
	OwnerID auth.ID // as in Settings
	Name    string  // as the owner calls it
	Limits
	CreatedBy string
}

// A Use is when a credential was last used, and where its client logged in with
// it. The zero Use is never.
type Use struct {
	At   time.Time
	Addr string
}

// Errors of a Store.
var (
	ErrExists   = errors.New("there is already a robot of that name")
	ErrNotExist = errors.New("there is no such robot, secret or token")
)

// A Store keeps robots and tokens durably. Every call is one transaction. It is
// safe for concurrent use.
type Store interface {
	// Robots returns all robots with their secrets, sorted by name.
	Robots(ctx context.Context) ([]Robot, error)
	// CreateRobot adds r and its secrets. Errors: ErrExists.
	CreateRobot(ctx context.Context, r Robot) error
	// UpdateRobot writes what change made of the robot and its secrets. An error
	// of change is returned as it is, and nothing is written.
	// Errors: ErrNotExist.
	UpdateRobot(ctx context.Context, name string, change func(*Robot) error) error
	// DeleteRobot removes the robot and its secrets. Errors: ErrNotExist.
	DeleteRobot(ctx context.Context, name string) error
	// Tokens returns all tokens, oldest first.
	Tokens(ctx context.Context) ([]Token, error)
	CreateToken(ctx context.Context, t Token) error
	// DeleteToken removes the token of that ID. Errors: ErrNotExist.
	DeleteToken(ctx context.Context, id string) error
	// Identify sets the OwnerID of what has that owner and no such ID. It passes
	// over what has not, or is not there.
	Identify(ctx context.Context, ids map[Owned]auth.ID) error
	// Touch sets when credentials, by ID, were last used. It passes over what is
	// not there.
	Touch(ctx context.Context, used map[string]Use) error
}
