package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// A source is whom an answer is from.
type source struct {
	by    Authenticator   // who said it; nil for all of those that were asked
	asked []Authenticator // the backends of that time
}

// stays reports whether who gave the answer is still asked.
func (s source) stays(now []Authenticator) bool {
	return s.by == nil || slices.Contains(now, s.by)
}

// holds reports whether an answer still counts where backends do not answer now:
// who said it is still asked, and nobody before him who was not asked then.
func (s source) holds(now []Authenticator) bool {
	if s.by == nil {
		return slices.Equal(s.asked, now)
	}
	i := slices.Index(now, s.by)
	return i >= 0 && !slices.ContainsFunc(now[:i], func(b Authenticator) bool { return !slices.Contains(s.asked, b) })
}

// authenticate asks the backends for a proof, and remembers who owns the name
// when all have answered.
func (v *Verifier) authenticate(ctx context.Context, c Credentials) (Identity, source, error) {
	from, silent := source{asked: *v.backends.Load()}, false
	id, err := v.ask(from.asked, c.User, func(b Authenticator) (Identity, error) {
		id, err := b.Authenticate(ctx, c)
		silent = silent || err != nil && !errors.Is(err, ErrNoMatch)
		from.by = b
		return id, err
	})
	if err != nil {
		return Identity{}, from, err
	}
	if !silent && v.lastOwner(c.User, from.asked) != id.Provider {
		v.owners.Set(c.User, ownerEntry{id.Provider, from, v.now().Add(rememberOwner)})
	}
	return id, from, v.checkOwner(ctx, c.User, id)
}

// checkOwner refuses an identity whose backend spells the name otherwise than
// the client did, when another backend owns that spelling: ALICE of a directory
// is not alice of the password file.
func (v *Verifier) checkOwner(ctx context.Context, said string, id Identity) error {
	if id.Name == said {
		return nil
	}
	owner, err := v.ownerOf(ctx, id.Name)
	if err != nil && !errors.Is(err, ErrBadCredentials) {
		return fmt.Errorf("look up who owns a name: %w", err)
	}
	if owner.Provider != id.Provider {
		return &RejectedError{Reason: "another backend owns the name " + id.Name}
	}
	return nil
}

// recognizer returns the backend that knows c by its form, or nil.
func (v *Verifier) recognizer(c Credentials) Recognizer {
	for _, b := range *v.backends.Load() {
		if r, ok := b.(Recognizer); ok && r.Recognizes(c) {
			return r
		}
	}
	return nil
}

// guessed reports whether what a Recognizer answered was the answer to a guess:
// who is told why his secret is of no use has a right one.
func guessed(err error) bool {
	var rejected *RejectedError
	return errors.Is(err, ErrBadCredentials) && !(errors.As(err, &rejected) && rejected.Told != "")
}

// judge asks a backend that wants to see its credentials each time, within the
// throttle.
func (v *Verifier) judge(ctx context.Context, r Recognizer, c Credentials) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, longestVerify)
	defer cancel()
	end, err := v.throttle.begin(ctx, c)
	if err != nil {
		return Identity{}, err
	}
	id, err := recognized(ctx, r, c)
	end(guessed(err))
	return id, err
}

// recognized asks the backend that knows c by its form: who is not its own is
// nobody's.
func recognized(ctx context.Context, r Recognizer, c Credentials) (Identity, error) {
	id, err := r.Authenticate(ctx, c)
	if errors.Is(err, ErrNoMatch) {
		err = ErrBadCredentials
	}
	return id, err
}

// holderOf asks the backends that give out credentials of their own who is here
// by that of s.
func (v *Verifier) holderOf(ctx context.Context, s Subject) (Identity, error) {
	for _, b := range *v.backends.Load() {
		r, ok := b.(Recognizer)
		if !ok {
			continue
		}
		if id, err := r.Resolve(ctx, s); !errors.Is(err, ErrNoMatch) {
			return id, err
		}
	}
	return Identity{}, ErrNoMatch
}

// ownerOf asks the backends what they know of a name, without groups of ours.
func (v *Verifier) ownerOf(ctx context.Context, name string) (Identity, error) {
	return v.ask(*v.backends.Load(), name, func(b Authenticator) (Identity, error) {
		return b.Resolve(ctx, Subject{Name: name})
	})
}

// ask puts a question about a name to the backends until one owns the name.
// Where one does not answer, the name may be its own: then a later one is
// believed only when it is remembered as the owner.
func (v *Verifier) ask(backends []Authenticator, name string, question func(Authenticator) (Identity, error)) (Identity, error) {
	var down error
	for _, b := range backends {
		id, err := question(b)
		switch {
		case errors.Is(err, ErrNoMatch):
		case err == nil && (down == nil || v.lastOwner(name, backends) == id.Provider):
			return id, nil
		case errors.Is(err, ErrBadCredentials) && down == nil:
			return Identity{}, err
		case down == nil:
			down = err
		}
	}
	if down != nil {
		return Identity{}, down
	}
	return Identity{}, ErrNoMatch
}

// lastOwner returns the provider that owned the name when all of the backends
// answered, or "".
func (v *Verifier) lastOwner(name string, backends []Authenticator) string {
	entry, ok := v.owners.GetIfPresent(name)
	if !ok || !v.now().Before(entry.until) || !entry.source.holds(backends) {
		return ""
	}
	return entry.provider
}
