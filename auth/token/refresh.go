package token

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"berth/auth"
)

// NewRefresh makes a refresh token for a login of id with a password, and
// returns it: it is never to be had again. It serves that service alone. Client
// and addr are kept to be shown in lists. Where the user then has more than
// MaxRefreshTokens, those that were idle the longest end, to the minute.
func (i *Issuer) NewRefresh(ctx context.Context, id auth.Identity, service, client, addr string) (auth.Secret, error) {
	if id.Anonymous() || id.Credential != "" {
		return "", errors.New("a refresh token needs a user who logged in with a password")
	}
	raw := auth.RefreshForm.New()
	now := i.now()
	err := i.store.AddRefreshToken(ctx, RefreshToken{
		ID:       rand.Text()[:12],
		Hash:     raw.Hash(),
		Subject:  id.Subject,
		Version:  id.Version,
		Service:  service,
		Client:   shorten(client),
		Addr:     addr,
		Created:  now,
		LastUsed: now,
	})
	if err != nil {
		return "", fmt.Errorf("store a refresh token: %w", err)
	}
	return raw, nil
}

// Refresh returns who stands behind a refresh token today. The token stays as
// it is; one that has become void is removed.
// Errors: auth.ErrBadCredentials when the token is not one, is of another
// service, or void; any other when that cannot be told now.
func (i *Issuer) Refresh(ctx context.Context, raw auth.Secret, service string) (auth.Identity, error) {
	if !auth.RefreshForm.Fits(raw) {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	t, err := i.store.RefreshToken(ctx, raw.Hash())
	if errors.Is(err, ErrNotExist) {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if err != nil {
		return auth.Identity{}, fmt.Errorf("look up a refresh token: %w", err)
	}
	if t.Service != service {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	id, err := i.holder(ctx, t)
	if errors.Is(err, auth.ErrBadCredentials) {
		if err := i.Revoke(ctx, t.ID); err != nil && !errors.Is(err, ErrNotExist) {
			return auth.Identity{}, err
		}
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if err != nil {
		return auth.Identity{}, err
	}
	i.mu.Lock()
	i.used[t.ID] = i.now()
	i.mu.Unlock()
	return id, nil
}

// holder returns who holds t today, or auth.ErrBadCredentials when t is void.
func (i *Issuer) holder(ctx context.Context, t RefreshToken) (auth.Identity, error) {
	if i.now().Sub(i.lastUsed(t)) > i.idle {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if i.resolve == nil {
		return auth.Identity{}, errors.New("nothing says who holds a refresh token")
	}
	id, err := i.resolve(ctx, t.Subject)
	switch {
	case errors.Is(err, auth.ErrNoMatch), errors.Is(err, auth.ErrBadCredentials):
		return auth.Identity{}, auth.ErrBadCredentials
	case err != nil:
		return auth.Identity{}, fmt.Errorf("look up the holder of a refresh token: %w", err)
	case id.Subject != t.Subject || id.Version != t.Version:
		return auth.Identity{}, auth.ErrBadCredentials
	}
	return id, nil
}

// List returns the refresh tokens of one user, or of all when name is empty,
// newest first.
func (i *Issuer) List(ctx context.Context, name string) ([]RefreshToken, error) {
	tokens, err := i.store.RefreshTokens(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("list refresh tokens: %w", err)
	}
	for n := range tokens {
		tokens[n].LastUsed = i.lastUsed(tokens[n])
	}
	return tokens, nil
}

// Revoke removes the refresh token of that ID. Errors: ErrNotExist.
func (i *Issuer) Revoke(ctx context.Context, id string) error {
	if err := i.store.DeleteRefreshToken(ctx, id); err != nil {
		return fmt.Errorf("remove refresh token %s: %w", id, err)
	}
	return nil
}

// lastUsed returns when t was last used, written or not.
func (i *Issuer) lastUsed(t RefreshToken) time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	if used := i.used[t.ID]; used.After(t.LastUsed) {
		return used
	}
	return t.LastUsed
}

// flush writes when refresh tokens were used since the last flush.
func (i *Issuer) flush(ctx context.Context) error {
	i.mu.Lock()
	used := maps.Clone(i.used)
	i.mu.Unlock()
	if len(used) == 0 {
		return nil
	}
	if err := i.store.TouchRefreshTokens(ctx, used); err != nil {
		return fmt.Errorf("write the last use of refresh tokens: %w", err)
	}
	i.mu.Lock()
	maps.DeleteFunc(i.used, func(id string, at time.Time) bool { return used[id].Equal(at) })
	i.mu.Unlock()
	return nil
}

// shorten bounds what a client says of itself.
func shorten(s string) string {
	const most = 128
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
