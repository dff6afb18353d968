package admin

import (
	"context"
	"fmt"
	"slices"

	"berth/access"
	"berth/auth"
)

// checkRemoval says why a registry should not lose a user: nobody could log in
// to it, or manage it, any more. Errors: Invalid.
func (s *Service) checkRemoval(ctx context.Context, name string) error {
	users, err := s.Users(ctx)
	if err != nil {
		return err
	}
	others := []string{} // who can log in as far as it is known here
	known := false
	for _, u := range users {
		known = known || u.Name == name
		if u.Name != name && !u.Disabled && !u.Suspended {
			others = append(others, u.Name)
		}
	}
	const anyway = "; with --force (?force=true) it is removed nevertheless"
	switch {
	case !known:
		return nil // which removing it says
	case s.accountsOnly() && len(others) == 0:
		return &Error{Invalid, name + " is the last account that can log in, and there are no other users: add one first" + anyway}
	}
	if !s.manages(ctx, name) {
		return nil
	}
	others = append(others, s.Policy().Admins()...)
	if slices.ContainsFunc(others, func(other string) bool { return other != name && s.manages(ctx, other) }) {
		return nil
	}
	return &Error{Invalid, name + " is the last user known here who may manage the registry (admin): give that to another first" + anyway}
}

// manages reports whether the user of a name is there and holds admin.
func (s *Service) manages(ctx context.Context, name string) bool {
	id, err := s.Lookup(ctx, name)
	return err == nil && s.Policy().Decide(access.Request{Caller: &access.Caller{Identity: id}, Action: access.Admin}).Allow
}

// elsewhere returns what to do about a user who is no account: err, unless
// another backend knows him.
func (s *Service) elsewhere(ctx context.Context, name string, err error) error {
	id, lookup := s.Lookup(ctx, name)
	if lookup != nil || id.Provider == "" {
		return err
	}
	rule := fmt.Sprintf("with a rule: {name: %q, type: registry, effect: deny, action: \"*\"}", name)
	what := fmt.Sprintf("shut him out there, or here %s", rule)
	switch {
	case id.Provider == "htpasswd":
		what = "remove his line from the password file, or shut him out " + rule
	case id.Provider == "robots":
		what = "berth robot disable shuts it out"
	case s.Trust != nil && s.Trust.Owns(name):
		what = "change its rule of auth.trust, or shut it out " + rule
	}
	return &Error{NotFound, fmt.Sprintf("%s is no account, but a user of %s: %s", name, id.Provider, what)}
}

// unknown is what is said of an answer about a user whom nobody knows.
func unknown(id auth.Identity) string {
	if id.Anonymous() || id.Provider != "" {
		return ""
	}
	return "no backend knows the name " + id.Name + " now: the answer is for whoever comes with it, in no groups but those that were given"
}

func (s *Service) accountsOnly() bool { return s.AccountsOnly != nil && s.AccountsOnly() }
