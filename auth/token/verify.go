package token

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"berth/auth"
)

// Bounds of verification.
const (
	maxToken    = 64 << 10 // bytes
	maxVerified = 10_000   // tokens that are remembered
)

// ErrInvalid is returned for what is not a token of this issuer that is of use
// now. The errors that wrap it say why, without the token.
var ErrInvalid = errors.New("the access token is not valid")

// Claims are what an access token says.
type Claims struct {
	Subject auth.Subject
	Version string // of the identity when the token was issued
	Scopes  []auth.Scope
	Issued  time.Time
	Expires time.Time
	// Expired is set when the token ran out within the last hour: it serves
	// the uploads that its holder began, and nothing else.
	Expired bool

	notBefore time.Time
}

// Verify returns what a token of this issuer says. That it is whole says
// nothing about its holder today: the caller resolves the Subject and compares
// the Version. The Scopes are shared and must not be changed.
// Errors: ErrInvalid.
func (i *Issuer) Verify(_ context.Context, raw string) (Claims, error) {
	if len(raw) > maxToken {
		return Claims{}, invalid("it is larger than %d bytes", maxToken)
	}
	sum := sha256.Sum256([]byte(raw))
	c, ok := i.verified.GetIfPresent(sum)
	if !ok {
		var err error
		if c, err = i.parse(raw); err != nil {
			return Claims{}, err
		}
		i.verified.Set(sum, c)
	}
	now := i.now()
	switch {
	case c.Issued.After(now.Add(leeway)), c.notBefore.After(now.Add(leeway)):
		return Claims{}, invalid("it is not yet valid")
	case now.Sub(c.Expires) > expiredUse:
		return Claims{}, invalid("it has expired")
	}
	c.Expired = !now.Before(c.Expires)
	return c, nil
}

// parse verifies everything about a token that time does not change. The
// algorithm is fixed, and the key comes from memory by its name alone: what
// else a header says about keys is not looked at.
func (i *Issuer) parse(raw string) (Claims, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return Claims{}, invalid("it is not a token signed with %s", jose.EdDSA)
	}
	if len(token.Headers) != 1 {
		return Claims{}, invalid("it has not exactly one signature")
	}
	key, ok := i.keys.Load().public[token.Headers[0].KeyID]
	if !ok {
		return Claims{}, invalid("its key is unknown")
	}
	var p payload
	if err := token.Claims(key, &p); err != nil {
		return Claims{}, invalid("its signature or its claims are wrong")
	}
	switch {
	case p.Issuer != i.issuer:
		return Claims{}, invalid("it is of another issuer")
	case !slices.Contains(p.Audience, i.service):
		return Claims{}, invalid("it is for another service")
	case p.Expires == nil || p.IssuedAt == nil:
		return Claims{}, invalid("it does not say since when and until when it is valid")
	case p.Subject == "" && p.Provider+p.Credential != "":
		return Claims{}, invalid("it names no subject")
	}
	c := Claims{
		Subject: auth.Subject{Provider: p.Provider, Name: p.Subject, Credential: p.Credential},
		Version: p.Version,
		Issued:  p.IssuedAt.Time(),
		Expires: p.Expires.Time(),
	}
	if p.NotBefore != nil {
		c.notBefore = p.NotBefore.Time()
	}
	for _, a := range p.Access {
		c.Scopes = append(c.Scopes, auth.Scope{Type: a.Type, Name: a.Name, Actions: a.Actions})
	}
	return c, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
