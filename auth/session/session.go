// Package session remembers who has logged in with a browser.
//
// A session is a random secret in a cookie. Only its hash is kept, and it says
// who somebody was at login: whether he still is that is asked on every request.
package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"berth/auth"
)

const (
	defaultIdle = 8 * time.Hour
	defaultLife = 7 * 24 * time.Hour
	// MaxPerUser is how many sessions a user has at a time. A new one ends the
	// oldest of more.
	MaxPerUser = 50
	secretSize = 52 // characters of base32: 260 bits
)

// A Session is a login with a browser.
type Session struct {
	Hash     []byte // SHA-256 of the secret
	Subject  auth.Subject
	Version  string // of the identity at login; another one voids the session
	Created  time.Time
	LastUsed time.Time
}

// ErrNotExist is returned for a session that is not there.
var ErrNotExist = errors.New("no such session")

// A Store keeps sessions durably. Every call is one transaction. It is safe for
// concurrent use.
type Store interface {
	// AddSession adds s, and removes the oldest of its user beyond MaxPerUser.
	AddSession(ctx context.Context, s Session) error
	// Session returns the session of that hash. Errors: ErrNotExist.
	Session(ctx context.Context, hash []byte) (Session, error)
	// DeleteSession removes it, if it is there.
	DeleteSession(ctx context.Context, hash []byte) error
	// TouchSessions sets when sessions, by hash, were last used.
	TouchSessions(ctx context.Context, used map[string]time.Time) error
	// DeleteOldSessions removes what was last used or created before a time.
	DeleteOldSessions(ctx context.Context, used, created time.Time) error
}

// Options configure Sessions. Resolve is required.
type Options struct {
	// Resolve returns who a subject is today.
	Resolve func(context.Context, auth.Subject) (auth.Identity, error)
	Idle    time.Duration    // after which an unused session ends; 8 hours when zero
	Life    time.Duration    // after which every session ends; 7 days when zero
	Now     func() time.Time // time.Now when nil
	Log     *slog.Logger     // for what goes wrong in Run; slog.Default when nil
}

// Sessions are the logins with browsers. It is safe for concurrent use.
type Sessions struct {
	store Store
	o     Options

	mu   sync.Mutex
	used map[string]time.Time // by hash, since the last flush
}

// New returns the Sessions in store.
func New(store Store, o Options) *Sessions {
	if o.Idle == 0 {
		o.Idle = defaultIdle
	}
	if o.Life == 0 {
		o.Life = defaultLife
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Sessions{store: store, o: o, used: make(map[string]time.Time)}
}

// ErrNoPerson is returned for an identity that is less than a person: a robot,
// or whoever came with a token that is narrower than he is. A session would give
// him all the rest.
var ErrNoPerson = errors.New("only a person who has proved who he is can have a session")

// Begin makes a session of id, and returns its secret: it is never to be had
// again. Errors: ErrNoPerson.
func (s *Sessions) Begin(ctx context.Context, id auth.Identity) (auth.Secret, error) {
	if id.Anonymous() || id.Credential != "" || id.Limit != nil || id.Owner != nil {
		return "", ErrNoPerson
	}
	secret := rand.Text() + rand.Text()
	now := s.o.Now().UTC()
	err := s.store.AddSession(ctx, Session{hashOf(secret), id.Subject, id.Version, now, now})
	if err != nil {
		return "", fmt.Errorf("store a session: %w", err)
	}
	return auth.Secret(secret), nil
}

// Find returns who is logged in with a secret. What has become void is removed.
// Errors: auth.ErrBadCredentials when nobody is; any other when that cannot be
// told now.
func (s *Sessions) Find(ctx context.Context, secret auth.Secret) (auth.Identity, error) {
	if len(secret) != secretSize {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	hash := hashOf(secret.Reveal())
	found, err := s.store.Session(ctx, hash)
	if errors.Is(err, ErrNotExist) {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if err != nil {
		return auth.Identity{}, fmt.Errorf("look up a session: %w", err)
	}
	id, err := s.holder(ctx, found)
	if errors.Is(err, auth.ErrBadCredentials) {
		if err := s.store.DeleteSession(ctx, hash); err != nil {
			return auth.Identity{}, fmt.Errorf("remove a session: %w", err)
		}
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if err != nil {
		return auth.Identity{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[string(hash)] = s.o.Now().UTC()
	return id, nil
}

// holder returns who the user of a session is today, or auth.ErrBadCredentials
// when the session is void.
func (s *Sessions) holder(ctx context.Context, found Session) (auth.Identity, error) {
	now := s.o.Now()
	if now.Sub(s.lastUsed(found)) > s.o.Idle || now.Sub(found.Created) > s.o.Life {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	id, err := s.o.Resolve(ctx, found.Subject)
	switch {
	case errors.Is(err, auth.ErrNoMatch), errors.Is(err, auth.ErrBadCredentials):
		return auth.Identity{}, auth.ErrBadCredentials
	case err != nil:
		return auth.Identity{}, fmt.Errorf("look up the user of a session: %w", err)
	case id.Subject != found.Subject || id.Version != found.Version:
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return id, nil
}

func (s *Sessions) lastUsed(found Session) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used := s.used[string(found.Hash)]; used.After(found.LastUsed) {
		return used
	}
	return found.LastUsed
}

// End ends the session of a secret, if there is one.
func (s *Sessions) End(ctx context.Context, secret auth.Secret) error {
	if len(secret) != secretSize {
		return nil
	}
	hash := hashOf(secret.Reveal())
	if err := s.store.DeleteSession(ctx, hash); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.used, string(hash))
	return nil
}

// Run keeps the store in order until ctx is done: each minute it writes when
// sessions were used, and removes those that have ended.
func (s *Sessions) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.tidy(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Error("sessions are not kept in order", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := s.flush(last); err != nil {
				s.o.Log.Error("last uses of sessions are lost", "error", err)
			}
			return
		}
	}
}

// tidy does what Run does every minute.
func (s *Sessions) tidy(ctx context.Context) error {
	now := s.o.Now()
	return errors.Join(s.flush(ctx), s.store.DeleteOldSessions(ctx, now.Add(-s.o.Idle), now.Add(-s.o.Life)))
}

func (s *Sessions) flush(ctx context.Context) error {
	s.mu.Lock()
	used := maps.Clone(s.used)
	s.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	if err := s.store.TouchSessions(ctx, used); err != nil {
		return fmt.Errorf("write the last use of sessions: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.used, func(hash string, at time.Time) bool { return used[hash].Equal(at) })
	return nil
}

func hashOf(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
