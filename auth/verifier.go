package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"
)

// Defaults and bounds of a Verifier.
const (
	rememberRight = 5 * time.Minute
	rememberWrong = 5 * time.Second
	rememberOwner = time.Hour
	maxRemembered = 10_000 // credentials, right and wrong each
	// longestVerify bounds one verification, whose callers may have left.
	// Docker waits 15 s for a token.
	longestVerify = 10 * time.Second
)

var errTooSlow = fmt.Errorf("no answer about a password within %v", longestVerify)

// Options configure a Verifier. The zero value is for production, but for the
// Groups.
type Options struct {
	// Hasher answers for names that no backend knows; a new one when nil. It
	// should be the one that the backends use.
	Hasher *Hasher
	// Groups holds the users of groups that are kept beside the backends.
	Groups map[string][]string
	// Remember is how long right credentials are remembered at most, 5 minutes
	// when zero. They are forgotten at once when their user changes.
	Remember time.Duration
	// WrongPerAccount (by account and address) and WrongPerAddress are how many
	// wrong passwords there may be a minute; 10 and 50 when zero.
	WrongPerAccount, WrongPerAddress int
	// Current returns an error while it is not sure that the backends know what
	// other nodes have changed. Nobody is let in then. Nil is always sure.
	Current func() error
	// Attempted is told of every Attempt; nil is nobody. It must be quick.
	Attempted func(context.Context, Attempt)
	Now       func() time.Time // time.Now when nil
}

// A Verifier answers who somebody is, with all backends behind it. It is safe
// for concurrent use.
type Verifier struct {
	hasher   *Hasher
	remember time.Duration
	now      func() time.Time
	secret   []byte // keys the hashes under which credentials are remembered
	tell     func(context.Context, Attempt)
	current  func() error

	backends atomic.Pointer[[]Authenticator]
	groups   atomic.Pointer[map[string][]string] // groups of a user, sorted

	right    *otter.Cache[credentialKey, rightEntry]
	wrong    *otter.Cache[credentialKey, wrongEntry]
	owners   *otter.Cache[string, ownerEntry]
	flights  singleflight.Group
	throttle *throttle
	counts   struct{ attempts, failures, cacheHits, throttled atomic.Uint64 }
}

// A credentialKey stands for credentials: HMAC-SHA-256 under a key of this
// process.
type credentialKey [sha256.Size]byte

type rightEntry struct {
	identity Identity // as the backend said, without groups of ours
	source   source
	until    time.Time
}

type wrongEntry struct {
	state string // of the name when the password was wrong
	until time.Time
}

type ownerEntry struct {
	provider string
	source   source
	until    time.Time
}

// Stats counts what a Verifier did.
type Stats struct {
	Attempts  uint64 // calls of Verify with credentials
	Failures  uint64 // answered with ErrBadCredentials
	CacheHits uint64 // right ones that were remembered
	Throttled uint64 // answered with a ThrottledError
}

// NewVerifier returns a Verifier that asks the backends in their order. The
// first that knows a name owns it.
func NewVerifier(backends []Authenticator, o Options) *Verifier {
	if o.Hasher == nil {
		o.Hasher = NewHasher(HasherOptions{})
	}
	if o.Remember == 0 {
		o.Remember = rememberRight
	}
	if o.WrongPerAccount == 0 {
		o.WrongPerAccount = wrongPerAccount
	}
	if o.WrongPerAddress == 0 {
		o.WrongPerAddress = wrongPerAddress
	}
	if o.Attempted == nil {
		o.Attempted = func(context.Context, Attempt) {}
	}
	if o.Current == nil {
		o.Current = func() error { return nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	secret := make([]byte, sha256.Size)
	rand.Read(secret) // never fails
	v := &Verifier{
		hasher:   o.Hasher,
		remember: o.Remember,
		now:      o.Now,
		secret:   secret,
		tell:     o.Attempted,
		current:  o.Current,
		right:    otter.Must(&otter.Options[credentialKey, rightEntry]{MaximumSize: maxRemembered}),
		wrong:    otter.Must(&otter.Options[credentialKey, wrongEntry]{MaximumSize: maxRemembered}),
		owners:   otter.Must(&otter.Options[string, ownerEntry]{MaximumSize: maxRemembered}),
		throttle: newThrottle(o.WrongPerAccount, o.WrongPerAddress, o.Now),
	}
	v.SetBackends(backends)
	v.SetGroups(o.Groups)
	return v
}

// SetBackends replaces the backends, for the next call on. One that stays is the
// same pointer; of one that does not, nothing is remembered.
func (v *Verifier) SetBackends(backends []Authenticator) {
	backends = slices.Clone(backends)
	if old := v.backends.Swap(&backends); old != nil && !slices.Equal(*old, backends) {
		v.wrong.InvalidateAll() // who comes may know the name
	}
}

// SetGroups replaces the groups that are kept beside the backends: the users
// of each, by name.
func (v *Verifier) SetGroups(groups map[string][]string) {
	byUser := make(map[string][]string)
	for group, users := range groups {
		for _, user := range users {
			byUser[user] = append(byUser[user], group)
		}
	}
	for user, groups := range byUser {
		slices.Sort(groups)
		byUser[user] = slices.Compact(groups)
	}
	v.groups.Store(&byUser)
}

// Stats returns the counts since the start.
func (v *Verifier) Stats() Stats {
	return Stats{
		Attempts:  v.counts.attempts.Load(),
		Failures:  v.counts.failures.Load(),
		CacheHits: v.counts.cacheHits.Load(),
		Throttled: v.counts.throttled.Load(),
	}
}

// Verify returns who c is. Without a user and a password c is nobody, and so
// is the Identity.
// Errors: ErrBadCredentials, *ThrottledError, the context's, or any other when
// a backend that may own the name does not answer.
func (v *Verifier) Verify(ctx context.Context, c Credentials) (Identity, error) {
	if c.User == "" && c.Password == "" {
		return Identity{}, nil
	}
	if err := v.current(); err != nil {
		return Identity{}, err
	}
	v.counts.attempts.Add(1)
	id, remembered, err := v.verify(ctx, c)
	if !remembered {
		v.tell(ctx, Attempt{c.User, c.Addr, id, err})
	}
	if err != nil {
		var throttled *ThrottledError
		switch {
		case errors.Is(err, ErrBadCredentials):
			v.counts.failures.Add(1)
		case errors.As(err, &throttled):
			v.counts.throttled.Add(1)
		}
		return Identity{}, err
	}
	return v.withGroups(id), nil
}

// Resolve returns who s is today, without a proof; nobody is nobody.
// Errors: ErrNoMatch when there is no such user, or another backend owns the
// name now; ErrBadCredentials when the user is disabled; any other when a
// backend that may own the name does not answer.
func (v *Verifier) Resolve(ctx context.Context, s Subject) (Identity, error) {
	if s.Anonymous() {
		return Identity{}, nil
	}
	if err := v.current(); err != nil {
		return Identity{}, err
	}
	id, err := v.resolve(ctx, s)
	if err != nil {
		return Identity{}, err
	}
	if id.Subject != s {
		return Identity{}, ErrNoMatch
	}
	return v.withGroups(id), nil
}

// resolve asks the backends about s, without groups of ours.
func (v *Verifier) resolve(ctx context.Context, s Subject) (Identity, error) {
	if s.Credential != "" {
		return v.holderOf(ctx, s)
	}
	return v.ownerOf(ctx, s.Name)
}

// Lookup returns who owns a name today, whichever backend it is.
// Errors: those of Resolve.
func (v *Verifier) Lookup(ctx context.Context, name string) (Identity, error) {
	if err := v.current(); err != nil {
		return Identity{}, err
	}
	id, err := v.ownerOf(ctx, name)
	if err != nil {
		return Identity{}, err
	}
	return v.withGroups(id), nil
}

// verify goes from the cheap to the dear: what is remembered as right, as
// wrong, and then the backends.
func (v *Verifier) verify(ctx context.Context, c Credentials) (id Identity, remembered bool, err error) {
	if !plausible(c) {
		return Identity{}, false, ErrBadCredentials
	}
	if r, ok := v.recognizer(c).(Unremembered); ok {
		id, err = v.judge(ctx, r, c)
		return id, false, err
	}
	key := v.key(c)
	if id, ok := v.rememberedRight(ctx, key); ok {
		v.counts.cacheHits.Add(1)
		return id, true, nil
	}
	id, err = v.verifyAnew(ctx, key, c)
	return id, false, err
}

// verifyAnew verifies what is not remembered as right.
func (v *Verifier) verifyAnew(ctx context.Context, key credentialKey, c Credentials) (Identity, error) {
	if v.rememberedWrong(ctx, key, c.User) {
		if err := v.throttle.count(c); err != nil {
			return Identity{}, err
		}
		return Identity{}, ErrBadCredentials
	}
	// One verification for all that wait for the same, whoever of them leaves;
	// but each address has its own, as it is throttled by itself.
	flight := string(key[:]) + Network(c.Addr).String()
	result := v.flights.DoChan(flight, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestVerify)
		defer cancel()
		id, err := v.verifyNow(ctx, key, c)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errTooSlow // it is not the caller who gave up
		}
		return id, err
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return Identity{}, r.Err
		}
		return r.Val.(Identity), nil
	case <-ctx.Done():
		return Identity{}, ctx.Err()
	}
}

// verifyNow asks the backends, within the throttle, and remembers what they
// answered.
func (v *Verifier) verifyNow(ctx context.Context, key credentialKey, c Credentials) (Identity, error) {
	end, err := v.throttle.begin(ctx, c)
	if err != nil {
		return Identity{}, err
	}
	if r := v.recognizer(c); r != nil {
		from := source{asked: *v.backends.Load()} // its owner may be of any backend
		id, err := recognized(ctx, r, c)
		end(guessed(err))
		if err == nil {
			v.right.Set(key, rightEntry{id, from, v.now().Add(v.remember)})
		}
		return id, err
	}
	state := v.state(ctx, c.User) // before: a change meanwhile makes it stale
	id, from, err := v.authenticate(ctx, c)
	if errors.Is(err, ErrNoMatch) {
		err = v.hasher.Dummy(ctx, c.Password)
	}
	wrong := errors.Is(err, ErrBadCredentials)
	end(wrong)
	switch {
	case err == nil:
		v.right.Set(key, rightEntry{id, from, v.now().Add(v.remember)})
	case wrong && state != "":
		v.wrong.Set(key, wrongEntry{state, v.now().Add(rememberWrong)})
	}
	return id, err
}

// rememberedRight returns whose the credentials were, when the user is today
// what he was then. A backend that does not answer now is not asked to, but one
// that was not asked then is.
func (v *Verifier) rememberedRight(ctx context.Context, key credentialKey) (Identity, bool) {
	entry, ok := v.right.GetIfPresent(key)
	backends := *v.backends.Load()
	if !ok || !v.now().Before(entry.until) || !entry.source.stays(backends) {
		return Identity{}, false
	}
	id, err := v.resolve(ctx, entry.identity.Subject)
	switch {
	case err == nil:
		return id, id.Subject == entry.identity.Subject && id.Version == entry.identity.Version
	case errors.Is(err, ErrNoMatch), errors.Is(err, ErrBadCredentials):
		return Identity{}, false
	}
	return entry.identity, entry.source.holds(backends)
}

// rememberedWrong reports whether the credentials were wrong a moment ago, and
// nothing has changed about the user since.
func (v *Verifier) rememberedWrong(ctx context.Context, key credentialKey, name string) bool {
	entry, ok := v.wrong.GetIfPresent(key)
	return ok && v.now().Before(entry.until) && entry.state == v.state(ctx, name)
}

// state returns a string that differs when something about a name that makes a
// password right or wrong has changed, or "" when that cannot be told.
func (v *Verifier) state(ctx context.Context, name string) string {
	id, err := v.ownerOf(ctx, name)
	switch {
	case err == nil:
		return id.Provider + " " + id.Version
	case errors.Is(err, ErrNoMatch), errors.Is(err, ErrBadCredentials):
		return err.Error()
	}
	return ""
}

func (v *Verifier) key(c Credentials) credentialKey {
	mac := hmac.New(sha256.New, v.secret)
	mac.Write([]byte(c.User + "\x00" + string(c.Password)))
	return credentialKey(mac.Sum(nil))
}

// withGroups adds the groups that are kept beside the backends.
func (v *Verifier) withGroups(id Identity) Identity {
	more := (*v.groups.Load())[id.Name]
	if len(more) == 0 {
		return id
	}
	groups := slices.Concat(id.Groups, more)
	slices.Sort(groups)
	id.Groups = slices.Compact(groups)
	return id
}
