package oidc

import (
	"context"
	"errors"
	"fmt"
)

// A Directory is the users of all providers, for whoever manages them.
type Directory struct {
	Providers []*Provider
	Store     Store
}

// Users returns the users of the providers that there are.
func (d *Directory) Users() []User {
	var users []User
	for _, p := range d.Providers {
		users = append(users, p.List()...)
	}
	return users
}

// SetDisabled is Provider.SetDisabled for whoever has the name.
func (d *Directory) SetDisabled(ctx context.Context, name string, disabled bool) error {
	for _, p := range d.Providers {
		if err := p.SetDisabled(ctx, name, disabled); !errors.Is(err, ErrNotExist) {
			return err
		}
	}
	return ErrNotExist
}

// Remove forgets whoever has the name, be it a user of a provider that is not
// configured any more. Errors: ErrNotExist.
func (d *Directory) Remove(ctx context.Context, name string) error {
	for _, p := range d.Providers {
		if err := p.Remove(ctx, name); !errors.Is(err, ErrNotExist) {
			return err
		}
	}
	if err := d.Store.DeleteUser(ctx, name); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
