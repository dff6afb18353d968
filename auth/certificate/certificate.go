// Package certificate knows users by the certificates that their clients show.
//
// TLS refuses a certificate that is not to be believed before a request is read.
// What comes here is looked at again on every request all the same: a connection
// may live for days, in which the certificate runs out, is revoked, or its
// authority is no longer trusted.
package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"berth/auth"
)

// Provider is that of every Subject of this package.
const Provider = "certificate"

// maxSeen is how many certificates are remembered: a token that was issued for
// one is of use as long as it is.
const maxSeen = 4096

// A Field is a part of a certificate that holds the name of its user.
type Field string

// The fields.
const (
	CommonName Field = "subject.commonname"
	DNSName    Field = "san.dns"
	Email      Field = "san.email"
	URI        Field = "san.uri"
)

// Fields are all there are.
func Fields() []Field { return []Field{CommonName, DNSName, Email, URI} }

// Options configure Users.
type Options struct {
	User   Field
	Prefix string // in front of names and groups; may be empty
	Units  bool   // the organizational units of the subject are groups
	// Owner returns who of the other backends has a name. It is asked where
	// Prefix is empty: nobody becomes somebody else by a certificate.
	Owner func(ctx context.Context, name string) (auth.Identity, error)
	Now   func() time.Time // time.Now when nil
}

// Users are the users of certificates. It is an auth.Recognizer that recognizes
// no password. It is safe for concurrent use.
type Users struct {
	o     Options
	trust atomic.Pointer[Trust]
	seen  *otter.Cache[string, *entry] // by the fingerprint
}

var _ auth.Recognizer = (*Users)(nil)

// An entry is a certificate that was shown.
type entry struct {
	chain    []*x509.Certificate // as it was sent
	identity auth.Identity
	unusable error // why it names nobody
	checked  atomic.Pointer[check]
}

// A check is that a certificate was good.
type check struct {
	trust *Trust
	until time.Time
}

// New returns Users whom t vouches for.
func New(t *Trust, o Options) (*Users, error) {
	if !slices.Contains(Fields(), o.User) {
		return nil, fmt.Errorf("a certificate has no %q: it is one of %v", string(o.User), Fields())
	}
	if o.Prefix == "" && o.Owner == nil {
		return nil, errors.New("names without a prefix need somebody who knows their owners")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	u := &Users{o: o, seen: otter.Must(&otter.Options[string, *entry]{MaximumSize: maxSeen})}
	u.trust.Store(t)
	return u, nil
}

// SetTrust replaces who vouches for users, for the next request on.
func (u *Users) SetTrust(t *Trust) { u.trust.Store(t) }

// Subject returns whose certificate it is that a client showed, with the chain
// that it sent. Its Credential is the SHA-256 of the certificate. Resolve knows
// it from then on.
// Errors: auth.ErrBadCredentials when the certificate is not, or no longer, good,
// or names no user.
func (u *Users) Subject(sent []*x509.Certificate) (auth.Subject, error) {
	if len(sent) == 0 {
		return auth.Subject{}, auth.ErrBadCredentials
	}
	sum := sha256.Sum256(sent[0].Raw)
	fingerprint := hex.EncodeToString(sum[:])
	e, ok := u.seen.GetIfPresent(fingerprint)
	if !ok {
		e = &entry{chain: sent}
		e.identity, e.unusable = u.read(sent[0])
		e.identity.Provider, e.identity.Credential = Provider, fingerprint
		if err := u.check(e); err != nil {
			return auth.Subject{}, err // what is not good is not remembered
		}
		u.seen.Set(fingerprint, e)
	}
	return e.identity.Subject, u.check(e)
}

// Resolve returns who is here by a certificate that was shown to this process.
// Errors: auth.ErrNoMatch for any other, auth.ErrBadCredentials when it is no
// longer good, and those of Options.Owner.
func (u *Users) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	if s.Provider != Provider || s.Credential == "" {
		return auth.Identity{}, auth.ErrNoMatch
	}
	e, ok := u.seen.GetIfPresent(s.Credential)
	if !ok || e.identity.Subject != s {
		return auth.Identity{}, auth.ErrNoMatch
	}
	if err := u.check(e); err != nil {
		return auth.Identity{}, err
	}
	return e.identity, u.checkOwner(ctx, s.Name)
}

// Owns reports whether a name is that of a certificate. Names without a prefix
// may be anybody's.
func (u *Users) Owns(name string) bool {
	return u.o.Prefix != "" && strings.HasPrefix(name, u.o.Prefix)
}

// Authenticate knows no password.
func (u *Users) Authenticate(context.Context, auth.Credentials) (auth.Identity, error) {
	return auth.Identity{}, auth.ErrNoMatch
}

// Recognizes is false: a certificate is no password.
func (u *Users) Recognizes(auth.Credentials) bool { return false }

// check says why a certificate is of no use now.
func (u *Users) check(e *entry) error {
	if e.unusable != nil {
		return &auth.RejectedError{Reason: e.unusable.Error(), Told: "the certificate names no user: " + e.unusable.Error()}
	}
	now, trust := u.o.Now(), u.trust.Load()
	if c := e.checked.Load(); c != nil && c.trust == trust && !now.After(c.until) {
		return nil
	}
	until, err := trust.Verify(e.chain, now)
	if err != nil {
		return &auth.RejectedError{Reason: "certificate: " + err.Error(), Told: "the certificate is not good any more: get a new one"}
	}
	e.checked.Store(&check{trust, until})
	return nil
}

// checkOwner refuses a name that is another backend's.
func (u *Users) checkOwner(ctx context.Context, name string) error {
	if u.o.Prefix != "" {
		return nil
	}
	owner, err := u.o.Owner(ctx, name)
	switch {
	case errors.Is(err, auth.ErrNoMatch):
		return nil
	case err == nil, errors.Is(err, auth.ErrBadCredentials):
		return &auth.RejectedError{
			Reason: "the name of the certificate is of the backend " + owner.Provider,
			Told:   "the certificate has the name of another user here",
		}
	}
	return fmt.Errorf("look up who owns the name of a certificate: %w", err)
}

// read returns whom a certificate is about.
func (u *Users) read(c *x509.Certificate) (auth.Identity, error) {
	values := u.values(c)
	if len(values) != 1 {
		return auth.Identity{}, fmt.Errorf("it has %d of %s, and must have one", len(values), u.o.User)
	}
	name, err := u.name(values[0])
	if err != nil {
		return auth.Identity{}, fmt.Errorf("its %s cannot be one: %w", u.o.User, err)
	}
	id := auth.Identity{Subject: auth.Subject{Name: name}}
	if !u.o.Units {
		return id, nil
	}
	for _, unit := range c.Subject.OrganizationalUnit {
		group, err := u.name(unit)
		if err != nil {
			return auth.Identity{}, fmt.Errorf("an organizational unit of it cannot be a group: %w", err)
		}
		id.Groups = append(id.Groups, group)
	}
	slices.Sort(id.Groups)
	id.Groups = slices.Compact(id.Groups)
	return id, nil
}

// name returns a name with the prefix. Without one, it must not look like that of
// another provider.
func (u *Users) name(value string) (string, error) {
	if err := auth.CheckName(value); err != nil {
		return "", err
	}
	if u.o.Prefix == "" && strings.ContainsAny(value, "/:") {
		return "", errors.New("without a prefix a name must hold neither / nor a colon")
	}
	name := u.o.Prefix + value
	return name, auth.CheckName(name)
}

// values returns what stands in the field of the user.
func (u *Users) values(c *x509.Certificate) []string {
	var values []string
	switch u.o.User {
	case CommonName:
		for _, part := range c.Subject.Names {
			if text, ok := part.Value.(string); ok && part.Type.Equal(commonName()) {
				values = append(values, text)
			}
		}
	case DNSName:
		values = c.DNSNames
	case Email:
		values = c.EmailAddresses
	case URI:
		for _, uri := range c.URIs {
			values = append(values, uri.String())
		}
	}
	return values
}

// commonName is the type of a common name in X.520.
func commonName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 4, 3} }
