package token

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// OutsideProvider is who vouches for the subjects of outside tokens; their names
// stand behind it.
const (
	OutsideProvider = "token"
	outsidePrefix   = OutsideProvider + "/"
)

// OutsideOptions configure an Outside. Issuer, Service, and at least one of
// Certificates and Keys are required.
type OutsideOptions struct {
	Issuer  string // iss
	Service string // one of aud
	// Certificates is a file in PEM: the keys of its certificates sign tokens,
	// and so do those whose certificates it vouches for.
	Certificates string
	Keys         *jwks.Source // a JSON Web Key Set; nil for none
	Algorithms   []string     // that tokens may be signed with; all of jwks.Algorithms when empty
	Log          *slog.Logger // slog.Default when nil
	Now          func() time.Time
}

// An Outside verifies the tokens of a token server that is not this one, as
// Distribution does. It is the backend of their subjects too, whose names are
// "token/" and the sub of the token. It implements auth.Authenticator, and is
// safe for concurrent use.
type Outside struct {
	issuer, service string
	algorithms      []string
	now             func() time.Time
	bundle          *jwks.Set // of the certificates; nil without
	keys            *jwks.Set // nil without
}

var _ auth.Authenticator = (*Outside)(nil)

// NewOutside returns an Outside. Files are read now, and it is an error when
// they cannot be; a URL is not asked for anything yet.
func NewOutside(o OutsideOptions) (*Outside, error) {
	v := &Outside{issuer: o.Issuer, service: o.Service, algorithms: o.Algorithms, now: o.Now}
	if v.issuer == "" || v.service == "" || o.Certificates == "" && o.Keys == nil {
		return nil, errors.New("an outside token server needs an issuer, a service and keys")
	}
	if len(v.algorithms) == 0 {
		v.algorithms = jwks.Algorithms()
	}
	if v.now == nil {
		v.now = time.Now
	}
	options := jwks.Options{Log: o.Log, Now: o.Now}
	var err error
	if o.Certificates != "" {
		if v.bundle, err = jwks.NewSet(jwks.Source{Certificates: o.Certificates}, options); err != nil {
			return nil, err
		}
	}
	if o.Keys != nil {
		if v.keys, err = jwks.NewSet(*o.Keys, options); err != nil {
			return nil, errors.Join(err, v.Close())
		}
	}
	return v, nil
}

// sets returns the keys that there are.
func (v *Outside) sets() []*jwks.Set {
	return slices.DeleteFunc([]*jwks.Set{v.bundle, v.keys}, func(s *jwks.Set) bool { return s == nil })
}

// Close ends what goes on for v.
func (v *Outside) Close() error {
	for _, set := range v.sets() {
		set.Close()
	}
	return nil
}

// Run keeps the keys as they are now, until ctx is done.
func (v *Outside) Run(ctx context.Context) {
	tick := time.NewTicker(jwks.TendEvery)
	defer tick.Stop()
	for {
		for _, set := range v.sets() {
			set.Tend(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Reload reads key files now. Where it returns an error, the keys stay as they
// were.
func (v *Outside) Reload() error {
	var errs []error
	for _, set := range v.sets() {
		errs = append(errs, set.Reload())
	}
	return errors.Join(errs...)
}

// Degraded says which keys are not known, or not as they are now, or "".
func (v *Outside) Degraded() string {
	var problems []string
	for _, set := range v.sets() {
		if problem := set.Degraded(); problem != "" {
			problems = append(problems, problem)
		}
	}
	return strings.Join(problems, "; ")
}

// Authenticate implements auth.Authenticator: nobody proves with a password to
// be who an outside token server speaks of.
func (v *Outside) Authenticate(_ context.Context, c auth.Credentials) (auth.Identity, error) {
	if !strings.HasPrefix(c.User, outsidePrefix) {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return auth.Identity{}, &auth.RejectedError{Reason: "a name of the outside token server, with a password"}
}

// Resolve implements auth.Authenticator.
func (v *Outside) Resolve(_ context.Context, s auth.Subject) (auth.Identity, error) {
	if !strings.HasPrefix(s.Name, outsidePrefix) || s.Provider != "" && s.Provider != OutsideProvider || s.Credential != "" {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return auth.Identity{Subject: auth.Subject{Provider: OutsideProvider, Name: s.Name}}, nil
}
