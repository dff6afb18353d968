// Package robot keeps the credentials that berth makes: those of robots, and
// the personal tokens of users. Both are random, and narrowed to repositories,
// actions and networks; only their SHA-256 is kept.
//
// A personal token is its owner, with less than he may do. A robot has a name
// of its own and acts for an owner, or for the registry. Neither may ever do
// more than its owner may at the moment, and neither outlives him: package
// access decides it on every request, and an owner who is gone or disabled takes
// them along at once. They are his, not his name's: once another user has it they
// are ended for good, as the backend tells by auth.ID.
//
// Everything is in memory, so that a request asks no database. A change is in
// the store before it is in memory, and in memory before the call that made it
// returns: the next request sees it.
package robot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"berth/auth"
)

// provider is the name of this backend in the subjects of robots.
const provider = "robots"

// Limits of what is kept.
const (
	maxRobots   = 10_000
	maxTokens   = 100 // of one owner
	maxSecrets  = 2   // of one robot
	maxPatterns = 100 // repositories or networks of one limit
	maxName     = 64  // bytes
	maxComment  = 256 // bytes

	tokenLife    = 90 * 24 * time.Hour  // of a personal token, unless it is said
	maxTokenLife = 366 * 24 * time.Hour // of a personal token
	maxGrace     = 30 * 24 * time.Hour  // of a secret that was rotated
	keptExpired  = 30 * 24 * time.Hour  // so long its user is told what happened
	soon         = 14 * 24 * time.Hour  // before the end, warnings begin
)

// Grace is how long a secret that was rotated lives on, unless it is said.
const Grace = 24 * time.Hour

// ErrInvalid is wrapped by the errors that say why something cannot be made or
// changed as it was asked.
var ErrInvalid = errors.New("not possible")

// Options configure Robots.
type Options struct {
	// Owner says who a subject is today; auth.Verifier.Resolve is meant. It is
	// called for every request of a robot or token that has an owner.
	Owner func(context.Context, auth.Subject) (auth.Identity, error)
	// Tokenless says what the user of a name proves himself with in the place of
	// a password, and what he can do without a personal token; "" for whoever
	// can have one. Nil is everybody.
	Tokenless func(name string) string
	// Ended, unless nil, is told of what is ended because its owner is gone, or
	// another has his name, and why.
	Ended func(o Owned, reason string)
	Now   func() time.Time // time.Now when nil
	Log   *slog.Logger     // slog.Default when nil
}

// Robots are the robots and personal tokens. It is an auth.Recognizer, and safe
// for concurrent use.
type Robots struct {
	store Store
	owner func(context.Context, auth.Subject) (auth.Identity, error)
	less  func(name string) string // Options.Tokenless
	now   func() time.Time
	log   *slog.Logger

	ended func(Owned, string)

	warned map[string]time.Time // ends that were logged; of Run alone

	change    sync.Mutex    // held by whoever changes the store, and then the maps
	forgotten atomic.Uint64 // how often owners were forgotten; changes with change held
	findings  *findings

	mu     sync.RWMutex
	robots map[string]Robot
	tokens map[string]Token // by ID
	byID   map[string]*entry
	byHash map[string]*entry
}

var _ auth.Recognizer = (*Robots)(nil)

// New returns the robots and tokens in store.
func New(ctx context.Context, store Store, o Options) (*Robots, error) {
	r := &Robots{
		store: store, owner: o.Owner, less: o.Tokenless, ended: o.Ended, now: o.Now, log: o.Log,
		warned: make(map[string]time.Time), findings: newFindings(),
	}
	if r.less == nil {
		r.less = func(string) string { return "" }
	}
	if r.ended == nil {
		r.ended = func(Owned, string) {}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	if err := r.Reload(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload takes over what others have changed in the store.
func (r *Robots) Reload(ctx context.Context) error {
	r.change.Lock()
	defer r.change.Unlock()
	robots, err := r.store.Robots(ctx)
	if err != nil {
		return fmt.Errorf("read the robots: %w", err)
	}
	tokens, err := r.store.Tokens(ctx)
	if err != nil {
		return fmt.Errorf("read the personal tokens: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.byID
	r.robots, r.tokens = make(map[string]Robot), make(map[string]Token)
	r.byID, r.byHash = make(map[string]*entry), make(map[string]*entry)
	for _, robot := range robots {
		r.addRobot(robot, before)
	}
	for _, token := range tokens {
		r.addToken(token, before)
	}
	return nil
}

// Recognizes implements auth.Recognizer, by the prefix alone: what is mistyped
// is shown to nobody else either, and nor is a refresh token, which is nobody's
// password.
func (r *Robots) Recognizes(c auth.Credentials) bool {
	return auth.RobotForm.Begins(c.Password) || auth.TokenForm.Begins(c.Password) || auth.RefreshForm.Begins(c.Password)
}

// Authenticate implements auth.Authenticator. The user must be the robot, with
// or without auth.RobotPrefix, or the owner of a personal token. Every name with
// that prefix is a robot's, whether there is one or not.
// Errors: those of the interface; *auth.RejectedError when the secret is right
// and of no use.
func (r *Robots) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	if !auth.RobotForm.Fits(c.Password) && !auth.TokenForm.Fits(c.Password) {
		if strings.HasPrefix(c.User, auth.RobotPrefix) || r.Recognizes(c) {
			return auth.Identity{}, auth.ErrBadCredentials
		}
		return auth.Identity{}, auth.ErrNoMatch
	}
	e := r.find(c.Password)
	if e == nil || !e.calledBy(c.User) {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if e.limit != nil && !e.limit.LetsFrom(c.Addr) {
		return auth.Identity{}, &auth.RejectedError{Reason: fmt.Sprintf("%s is not for clients at %s", e.what, c.Addr)}
	}
	id, err := r.identity(ctx, e)
	if err == nil {
		e.use.mark(r.now(), c.Addr)
	}
	return id, err
}

// Resolve implements auth.Authenticator.
func (r *Robots) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	if s.Credential == "" {
		return r.resolveName(ctx, s)
	}
	r.mu.RLock()
	e := r.byID[s.Credential]
	r.mu.RUnlock()
	if e == nil || e.subject != s {
		return auth.Identity{}, auth.ErrNoMatch
	}
	id, err := r.identity(ctx, e)
	if err == nil {
		e.use.markAgain(r.now())
	}
	return id, err
}

// resolveName answers who a robot is whatever it proves itself with. Names with
// auth.RobotPrefix belong to no other backend.
func (r *Robots) resolveName(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	name, ok := strings.CutPrefix(s.Name, auth.RobotPrefix)
	if !ok || s.Provider != "" && s.Provider != provider {
		return auth.Identity{}, auth.ErrNoMatch
	}
	r.mu.RLock()
	robot, ok := r.robots[name]
	r.mu.RUnlock()
	if !ok {
		return auth.Identity{}, &auth.RejectedError{Reason: "there is no robot " + name}
	}
	return r.identity(ctx, newRobotEntry(robot, Secret{}))
}

// identity returns who is here by e, today.
func (r *Robots) identity(ctx context.Context, e *entry) (auth.Identity, error) {
	switch {
	case e.refused != "":
		return auth.Identity{}, &auth.RejectedError{Reason: e.what + " " + e.refused}
	case e.expired(r.now()):
		return auth.Identity{}, &auth.RejectedError{Reason: e.what + " has expired", Told: e.told()}
	}
	id := auth.Identity{Subject: e.subject, Version: e.version, Limit: e.limit}
	if e.owner.Anonymous() {
		return id, nil
	}
	owner, err := r.ownerOf(ctx, e)
	if err != nil {
		return auth.Identity{}, err
	}
	id.Version += "." + owner.Version
	if e.robot {
		id.Owner = &owner
	} else {
		id.Groups, id.ID = owner.Groups, owner.ID
	}
	return id, nil
}

func (r *Robots) find(s auth.Secret) *entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.byHash[string(s.Hash())]
}
