package robot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"berth/access"
	"berth/auth"
	"berth/oci"
)

// reserved are names and, with a star, beginnings of names that elsewhere stand
// for parts of a registry, or for everybody.
var reserved = [...]string{"admin", "anonymous", "berth", "proxy*", "robot", "scanner*", "system*"}

// checkRobotName says why a name can be no robot's. It goes into user names,
// scripts and file names.
func checkRobotName(name string) error {
	if len(name) > maxName || !oci.ValidComponent(name) {
		return fmt.Errorf("%w: the name of a robot is lower-case letters and digits, with ., _ or - between, of at most %d characters", ErrInvalid, maxName)
	}
	for _, word := range reserved {
		if beginning, starred := strings.CutSuffix(word, "*"); name == word || starred && strings.HasPrefix(name, beginning) {
			return fmt.Errorf("%w: the name %s is reserved", ErrInvalid, name)
		}
	}
	return nil
}

// checkSettings says why a robot cannot change from one to the other, whoever
// its owner is.
func (r *Robots) checkSettings(before, s Settings) error {
	if err := checkLimits(s.Limits); err != nil {
		return err
	}
	if err := checkLine("comment", s.Comment, maxComment); err != nil {
		return err
	}
	if !s.Expires.Equal(before.Expires) && over(s.Expires, r.now()) {
		return fmt.Errorf("%w: it would have expired already", ErrInvalid)
	}
	if s.Owner.Anonymous() && (len(s.Repositories) == 0 || len(s.Actions) == 0) {
		return fmt.Errorf("%w: a robot without an owner has what it is given: name repositories and actions", ErrInvalid)
	}
	return nil
}

// ownerAfter returns the ID of the owner whom a robot has after a change, or says
// why it cannot have him.
func (r *Robots) ownerAfter(ctx context.Context, before, s Settings) (auth.ID, error) {
	switch {
	case s.Owner.Anonymous():
		return "", nil
	case before.renames(s):
		return r.checkOwner(ctx, s.Owner)
	case before.Disabled && !s.Disabled:
		return before.OwnerID, r.checkStill(ctx, before)
	}
	return before.OwnerID, nil
}

// renames reports whether the owner is named, be it again, where s becomes after.
func (s Settings) renames(after Settings) bool {
	return after.Owner != s.Owner || after.OwnerID == "" && s.OwnerID != ""
}

// checkToken says why a personal token cannot be made, whoever its owner is.
func (r *Robots) checkToken(t Token) error {
	if t.Name == "" {
		return fmt.Errorf("%w: the token needs a name, by which you know it in lists", ErrInvalid)
	}
	if err := checkLine("name", t.Name, maxName); err != nil {
		return err
	}
	if err := checkLimits(t.Limits); err != nil {
		return err
	}
	switch {
	case over(t.Expires, r.now()):
		return fmt.Errorf("%w: it would have expired already", ErrInvalid)
	case t.Expires.Sub(t.Created) > maxTokenLife:
		return fmt.Errorf("%w: a personal token can last for at most %d days", ErrInvalid, maxTokenLife/(24*time.Hour))
	}
	return Tokens{r}.CheckUser(t.Owner.Name)
}

// CheckUser says why the user of a name can have no personal tokens: they stand
// for a password, and go the way of one. It does not say whether there is such a
// user. Errors: ErrInvalid.
func (t Tokens) CheckUser(name string) error {
	why := t.r.less(name)
	if why == "" && strings.Contains(name, ":") {
		why = "no client can give a name with a colon in it together with a password; " + robotInstead
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("%w: %s can have no personal token: %s", ErrInvalid, name, why)
}

// robotInstead is what to do where a personal token cannot be had.
const robotInstead = "make a robot for it: berth robot add"

// checkOwner returns the ID of an owner, or says why he can own nothing: he is no
// user, or is here by less than a password.
func (r *Robots) checkOwner(ctx context.Context, owner auth.Subject) (auth.ID, error) {
	if owner.Anonymous() || owner.Provider == provider || owner.Credential != "" {
		return "", fmt.Errorf("%w: the owner must be a user, and no robot", ErrInvalid)
	}
	id, err := r.owner(ctx, owner)
	switch {
	case errors.Is(err, auth.ErrNoMatch), err == nil && id.Subject != owner:
		return "", fmt.Errorf("%w: there is no user %s", ErrInvalid, owner)
	case errors.Is(err, auth.ErrBadCredentials):
		return "", fmt.Errorf("%w: user %s is disabled", ErrInvalid, owner)
	case err != nil:
		return "", fmt.Errorf("look up the owner: %w", err)
	}
	return id.ID, nil
}

func checkLimits(l Limits) error {
	if len(l.Repositories) > maxPatterns || len(l.From) > maxPatterns || len(l.Actions) > maxPatterns {
		return fmt.Errorf("%w: more than %d repositories, actions or networks", ErrInvalid, maxPatterns)
	}
	if _, err := access.NewLimit(l.Repositories, l.Actions, l.From); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// checkLine says why a text that people give to a thing cannot be shown in
// lists.
func checkLine(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%w: the %s is longer than %d bytes", ErrInvalid, what, most)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fmt.Errorf("%w: the %s holds what cannot be printed", ErrInvalid, what)
	}
	return nil
}

// clean returns s with slices of its own, and with times as a Store keeps them.
func (s Settings) clean() Settings {
	s.Limits = s.Limits.clone()
	if !s.Expires.IsZero() {
		s.Expires = s.Expires.UTC().Truncate(time.Microsecond)
	}
	return s
}

func (l Limits) clone() Limits {
	return Limits{slices.Clone(l.Repositories), slices.Clone(l.Actions), slices.Clone(l.From)}
}
