// Package account keeps berth's own users: their passwords, their groups, and
// whether they are disabled.
//
// All accounts are in memory, so that a request asks no database about them. A
// change is in the store before it is in memory, and in memory before the call
// that made it returns: the next request sees it.
package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"berth/auth"
)

// provider is the name of this backend in subjects.
const provider = "accounts"

// minPassword is the length of the shortest password that can be set, in
// bytes. The longest is that of auth.CheckPassword.
const minPassword = 8

// ErrInvalid is wrapped by the errors that say why a name, a password or a
// group cannot be used.
var ErrInvalid = errors.New("invalid account")

// Accounts are the users that berth itself keeps. It implements
// auth.Authenticator and is safe for concurrent use.
type Accounts struct {
	// Now is the clock, time.Now when nil. It is set before use.
	Now func() time.Time
	// Removed, unless nil, is told of every account that was removed, before
	// Remove returns and another may be made of that name. It is set before use.
	Removed func(auth.Subject)

	store  Store
	hasher *auth.Hasher

	change sync.Mutex // held by whoever changes the store, and then byName
	mu     sync.RWMutex
	byName map[string]entry
}

// An entry is an account, and what is told of it on every request.
type entry struct {
	Account
	identity auth.Identity
}

// New returns the accounts in store.
func New(ctx context.Context, store Store, hasher *auth.Hasher) (*Accounts, error) {
	a := &Accounts{store: store, hasher: hasher}
	if err := a.Reload(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload takes over what others have changed in the store.
func (a *Accounts) Reload(ctx context.Context) error {
	a.change.Lock()
	defer a.change.Unlock()
	stored, err := a.store.Accounts(ctx)
	if err != nil {
		return fmt.Errorf("read the accounts: %w", err)
	}
	byName := make(map[string]entry, len(stored))
	for _, acc := range stored {
		a.raise(acc)
		byName[acc.Name] = newEntry(acc)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byName = byName
	return nil
}

// Authenticate implements auth.Authenticator.
func (a *Accounts) Authenticate(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	acc, ok := a.get(c.User)
	switch {
	case !ok:
		return auth.Identity{}, auth.ErrNoMatch
	case acc.Disabled:
		return auth.Identity{}, a.hasher.Dummy(ctx, c.Password)
	}
	if err := a.hasher.Compare(ctx, acc.Hash, c.Password); err != nil {
		return auth.Identity{}, err
	}
	return acc.identity, nil
}

// Resolve implements auth.Authenticator.
func (a *Accounts) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	acc, ok := a.get(s.Name)
	switch {
	case !ok, s.Provider != "" && s.Provider != provider:
		return auth.Identity{}, auth.ErrNoMatch
	case acc.Disabled:
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return acc.identity, nil
}

// List returns all accounts, sorted by name, without their hashes.
func (a *Accounts) List() []Account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := make([]Account, 0, len(a.byName))
	for _, name := range slices.Sorted(maps.Keys(a.byName)) {
		acc := a.byName[name].Account
		acc.Hash = ""
		acc.Groups = slices.Clone(acc.Groups)
		list = append(list, acc)
	}
	return list
}

// Add makes an account.
// Errors: ErrInvalid, ErrExists.
func (a *Accounts) Add(ctx context.Context, name string, password auth.Secret, groups []string) error {
	if err := checkName(name); err != nil {
		return err
	}
	groups, err := checkGroups(groups)
	if err != nil {
		return err
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	now := a.now()
	acc := Account{Name: name, Hash: hash, Groups: groups, Created: now, Updated: now}
	if err := a.store.CreateAccount(context.WithoutCancel(ctx), acc); err != nil {
		return fmt.Errorf("add account %s: %w", name, err)
	}
	a.put(acc)
	return nil
}

// SetPassword gives an account another password. What was issued for the old
// one is void.
// Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) SetPassword(ctx context.Context, name string, password auth.Secret) error {
	hash, err := a.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.update(ctx, name, func(acc *Account) {
		acc.Hash = hash
		acc.Updated = a.after(acc.Updated)
	})
}

// SetDisabled disables an account, or enables it again. What was issued before
// it was disabled stays void.
// Errors: ErrNotExist.
func (a *Accounts) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return a.update(ctx, name, func(acc *Account) {
		if acc.Disabled != disabled {
			acc.Disabled = disabled
			acc.Updated = a.after(acc.Updated)
		}
	})
}

// SetGroups replaces the groups of an account.
// Errors: ErrInvalid, ErrNotExist.
func (a *Accounts) SetGroups(ctx context.Context, name string, groups []string) error {
	groups, err := checkGroups(groups)
	if err != nil {
		return err
	}
	return a.update(ctx, name, func(acc *Account) { acc.Groups = groups })
}

// Remove removes an account with its refresh and personal tokens, and disables
// its robots.
// Errors: ErrNotExist.
func (a *Accounts) Remove(ctx context.Context, name string) error {
	a.change.Lock()
	defer a.change.Unlock()
	if err := a.store.DeleteAccount(context.WithoutCancel(ctx), name); err != nil {
		return fmt.Errorf("remove account %s: %w", name, err)
	}
	a.mu.Lock()
	delete(a.byName, name)
	a.mu.Unlock()
	if a.Removed != nil {
		a.Removed(auth.Subject{Provider: provider, Name: name})
	}
	return nil
}

// NewPassword returns a random password of 130 bits.
func NewPassword() auth.Secret { return auth.Secret(rand.Text()) }

// update changes an account in the store, and then in memory. The caller's
// leaving does not end it: otherwise the two could differ.
func (a *Accounts) update(ctx context.Context, name string, change func(*Account)) error {
	a.change.Lock()
	defer a.change.Unlock()
	var changed Account
	err := a.store.UpdateAccount(context.WithoutCancel(ctx), name, func(acc *Account) error {
		change(acc)
		changed = *acc
		return nil
	})
	if err != nil {
		return fmt.Errorf("change account %s: %w", name, err)
	}
	a.put(changed)
	return nil
}

func (a *Accounts) put(acc Account) {
	a.raise(acc)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.byName[acc.Name] = newEntry(acc)
}

func (a *Accounts) get(name string) (entry, bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	acc, ok := a.byName[name]
	return acc, ok
}

// raise tells the hasher what a wrong password for acc costs.
func (a *Accounts) raise(acc Account) {
	if cost, err := auth.HashCost(acc.Hash); err == nil {
		a.hasher.Raise(cost)
	}
}

func (a *Accounts) hash(ctx context.Context, password auth.Secret) (string, error) {
	if err := auth.CheckPassword(password); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(password) < minPassword {
		return "", fmt.Errorf("%w: the password is shorter than %d bytes", ErrInvalid, minPassword)
	}
	return a.hasher.Hash(ctx, password)
}

// now returns the time in whole microseconds, as a Store keeps it.
func (a *Accounts) now() time.Time {
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	return now().UTC().Truncate(time.Microsecond)
}

// after returns a time after t, the current one if the clock agrees.
func (a *Accounts) after(t time.Time) time.Time {
	if now := a.now(); now.After(t) {
		return now
	}
	return t.Add(time.Microsecond)
}

func newEntry(acc Account) entry {
	return entry{acc, auth.Identity{
		Subject: auth.Subject{Provider: provider, Name: acc.Name},
		Groups:  acc.Groups,
		Version: acc.version(),
		ID:      auth.ID("").With("account", strconv.FormatInt(acc.Created.UnixMicro(), 10)),
	}}
}

// version changes with the password, and with every disabling: what was issued
// before does not come back to life.
func (acc Account) version() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "account\x00%s\x00%d", acc.Hash, acc.Updated.UnixMicro()))
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// checkName says why a name cannot be an account's. A slash or a colon would
// make it look like the name of an outside user.
func checkName(name string) error {
	if err := auth.CheckName(name); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if strings.ContainsAny(name, "/:") || strings.ContainsFunc(name, unicode.IsSpace) {
		return fmt.Errorf("%w: the name %q holds a slash, a colon or a space", ErrInvalid, name)
	}
	return nil
}

// checkGroups returns the groups sorted, each once.
func checkGroups(groups []string) ([]string, error) {
	for _, g := range groups {
		if err := auth.CheckName(g); err != nil {
			return nil, fmt.Errorf("%w: a group: %w", ErrInvalid, err)
		}
	}
	groups = slices.Sorted(slices.Values(groups))
	return slices.Compact(groups), nil
}
