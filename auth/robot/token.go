package robot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/auth"
)

// Tokens are the personal tokens among Robots.
type Tokens struct{ r *Robots }

// Tokens returns the personal tokens.
func (r *Robots) Tokens() Tokens { return Tokens{r} }

// List returns the tokens of owner, or of everybody for the zero Subject, newest
// first, without their hashes.
func (t Tokens) List(_ context.Context, owner auth.Subject) ([]Token, error) {
	t.r.mu.RLock()
	defer t.r.mu.RUnlock()
	list := []Token{}
	for id, token := range t.r.tokens {
		if owner == (auth.Subject{}) || token.Owner == owner {
			token.Hash, token.LastUse = nil, t.r.byID[id].use.last()
			token.Limits = token.Limits.clone()
			list = append(list, token)
		}
	}
	slices.SortFunc(list, func(a, b Token) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return list, nil
}

// New makes a token of owner for himself, and returns it: it is never to be had
// again. It ends at expires, after 90 days when that is zero, and after 366 at
// the latest.
// Errors: ErrInvalid.
func (t Tokens) New(ctx context.Context, owner auth.Subject, name string, repositories, actions []string, expires time.Time) (auth.Secret, error) {
	return t.Add(ctx, Token{
		Secret: Secret{Expires: expires}, Owner: owner, Name: name,
		Limits: Limits{Repositories: repositories, Actions: actions}, CreatedBy: owner.Name,
	})
}

// Add is New with all that a token can have: its Owner, Name, Limits, Expires and
// CreatedBy count.
// Errors: ErrInvalid.
func (t Tokens) Add(ctx context.Context, token Token) (auth.Secret, error) {
	raw, secret := t.r.newSecret(auth.TokenForm)
	secret.Expires = token.Expires.UTC().Truncate(time.Microsecond)
	if token.Expires.IsZero() {
		secret.Expires = secret.Created.Add(tokenLife)
	}
	token.Secret, token.Limits = secret, token.Limits.clone()
	if err := t.r.checkToken(token); err != nil {
		return "", err
	}
	err := t.r.lockAfter(func() (err error) {
		token.OwnerID, err = t.r.checkOwner(ctx, token.Owner)
		return err
	})
	if err != nil {
		return "", err
	}
	defer t.r.change.Unlock()
	if list, _ := t.List(ctx, token.Owner); len(list) >= maxTokens {
		return "", fmt.Errorf("%w: %s has %d personal tokens already, which is the most: revoke one first", ErrInvalid, token.Owner, maxTokens)
	}
	if err := t.r.store.CreateToken(context.WithoutCancel(ctx), token); err != nil {
		return "", fmt.Errorf("add a personal token: %w", err)
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.addToken(token, nil)
	return raw, nil
}

// Revoke ends a token of owner, or of anybody for the zero Subject.
// Errors: ErrNotExist.
func (t Tokens) Revoke(ctx context.Context, owner auth.Subject, id string) error {
	t.r.change.Lock()
	defer t.r.change.Unlock()
	t.r.mu.RLock()
	token, ok := t.r.tokens[id]
	t.r.mu.RUnlock()
	if !ok || owner != (auth.Subject{}) && token.Owner != owner {
		return ErrNotExist
	}
	if err := t.r.store.DeleteToken(context.WithoutCancel(ctx), id); err != nil && !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("revoke personal token %s: %w", id, err)
	}
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.dropToken(id)
	return nil
}
