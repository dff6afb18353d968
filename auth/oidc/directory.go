package oidc

import (
	"context"
	"errors"
	"fmt"

	"berth/auth"
)

// A Directory is the users of all providers, for whoever manages them.
type Directory struct {
	Providers func() []*Provider // that there are now
	Store     Store
	// Removed, unless nil, is told of every user that was removed.
	Removed func(auth.Subject)
}

// Users returns the users of the providers that there are.
func (d *Directory) Users() []User {
	var users []User
	for _, p := range d.Providers() {
		users = append(users, p.List()...)
	}
	return users
}

// SetDisabled is Provider.SetDisabled for whoever has the name.
func (d *Directory) SetDisabled(ctx context.Context, name string, disabled bool) error {
	for _, p := range d.Providers() {
		if err := p.SetDisabled(ctx, name, disabled); !errors.Is(err, ErrNotExist) {
			return err
		}
	}
	return ErrNotExist
}

// Remove forgets whoever has the name, be it a user of a provider that is not
// configured any more, and all that is his. Errors: ErrNotExist.
func (d *Directory) Remove(ctx context.Context, name string) error {
	provider, err := d.remove(ctx, name)
	if err == nil && d.Removed != nil {
		d.Removed(auth.Subject{Provider: provider, Name: name})
	}
	return err
}

func (d *Directory) remove(ctx context.Context, name string) (provider string, err error) {
	for _, p := range d.Providers() {
		if err := p.remove(ctx, name); !errors.Is(err, ErrNotExist) {
			return p.Name(), err
		}
	}
	if provider, err = d.Store.DeleteUser(ctx, name); err != nil {
		return "", fmt.Errorf("remove %s: %w", name, err)
	}
	return provider, nil
}
