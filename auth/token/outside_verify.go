package token

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"

	"berth/auth"
	"berth/auth/jwks"
)

// Verify returns what a token of the outside token server says. An empty sub is
// nobody, with whatever the token is for.
// Errors: ErrInvalid; the context's, or any other while keys are not known.
func (v *Outside) Verify(ctx context.Context, raw string) (Claims, error) {
	token, err := jwks.ParseToken(raw)
	if err != nil {
		return Claims{}, invalid("%v", err)
	}
	if !slices.Contains(v.algorithms, token.Header.Algorithm) {
		return Claims{}, invalid("its algorithm is not one of auth.token.signingalgorithms")
	}
	// What it says is looked at first: only who speaks for the right issuer
	// makes anybody look for keys.
	c, err := v.claims(token.Claims)
	if err != nil {
		return Claims{}, err
	}
	keys, err := v.keysFor(ctx, token.Header)
	if err != nil {
		return Claims{}, err
	}
	if !token.VerifiedBy(keys...) {
		return Claims{}, invalid("no key of its issuer has signed it")
	}
	return c, nil
}

// claims reads the claims and checks them against the clock. A token that has
// run out serves the upload of its holder, as one of this server.
func (v *Outside) claims(claims jwks.Claims) (Claims, error) {
	now := v.now()
	switch {
	case claims.Text("iss") != v.issuer:
		return Claims{}, invalid("it is of another issuer")
	case !slices.Contains(claims.Audience(), v.service):
		return Claims{}, invalid("it is for another service")
	}
	var c Claims
	exp, found, err := claims.Time("exp")
	switch {
	case err != nil:
		return Claims{}, invalid("%v", err)
	case !found:
		return Claims{}, invalid("it does not say until when it is valid")
	case now.Sub(exp) > expiredUse:
		return Claims{}, invalid("it has expired")
	}
	c.Expires, c.Expired = exp, now.Sub(exp) >= leeway
	for _, name := range []string{"nbf", "iat"} {
		at, found, err := claims.Time(name)
		if err != nil {
			return Claims{}, invalid("%v", err)
		}
		if found && at.After(now.Add(leeway)) {
			return Claims{}, invalid("it is not yet valid")
		}
		if name == "iat" {
			c.Issued = at
		}
	}
	if c.Subject, err = outsideSubject(claims); err != nil {
		return Claims{}, err
	}
	c.Scopes, err = outsideScopes(claims["access"])
	return c, err
}

// outsideSubject returns whom the claims speak of. Without a sub it is nobody.
func outsideSubject(claims jwks.Claims) (auth.Subject, error) {
	sub, found := claims["sub"]
	name, ok := sub.(string)
	switch {
	case found && !ok && sub != nil:
		return auth.Subject{}, invalid("its sub is no text")
	case name == "":
		return auth.Subject{}, nil
	}
	s := auth.Subject{Provider: OutsideProvider, Name: outsidePrefix + name}
	if err := auth.CheckName(s.Name); err != nil {
		return auth.Subject{}, invalid("its sub cannot be a user: %v", err)
	}
	return s, nil
}

// outsideScopes reads the claim access: Distribution's "Token Authentication
// Implementation". An entry of an unknown type, or class, grants nothing.
func outsideScopes(value any) ([]auth.Scope, error) {
	if value == nil {
		return nil, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, invalid("its access is no list")
	}
	var scopes []auth.Scope
	for _, element := range list {
		entry, ok := element.(map[string]any)
		if !ok {
			return nil, invalid("its access is not a list of objects")
		}
		s := auth.Scope{Actions: slices.Compact(slices.Sorted(slices.Values(jwks.Texts(entry["actions"]))))}
		s.Type, _ = entry["type"].(string)
		s.Name, _ = entry["name"].(string)
		if s.Type == "repository" || s.Type == "registry" {
			scopes = append(scopes, s)
		}
	}
	return scopes, nil
}

// keysFor returns the keys that a header may call for: the key of that name, the
// key of a certificate that the bundle vouches for, or the very key that stands
// in the header, where it is one that is known anyhow. What is here is looked at
// before anybody else is asked.
// Errors: ErrInvalid; the context's, or any other while keys are not known.
func (v *Outside) keysFor(ctx context.Context, h jose.Header) ([]jwks.Key, error) {
	if keys, err := named(ctx, v.bundle, h.KeyID); err != nil || len(keys) > 0 {
		return keys, err
	}
	if chains, err := h.Certificates(v.vouching()); err == nil {
		return v.certified(chains)
	}
	if keys, err := named(ctx, v.keys, h.KeyID); err != nil || len(keys) > 0 {
		return keys, err
	}
	if h.JSONWebKey != nil {
		return v.embedded(ctx, h.JSONWebKey)
	}
	return nil, nil
}

// named returns the keys of a name in a set, which may be nil.
func named(ctx context.Context, set *jwks.Set, id string) ([]jwks.Key, error) {
	if set == nil || id == "" {
		return nil, nil
	}
	keys, err := set.Lookup(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("look for a key of the outside token server: %w", err)
	}
	return keys, nil
}

// vouching returns how a chain of certificates is verified: up to the bundle
// alone.
func (v *Outside) vouching() x509.VerifyOptions {
	roots := x509.NewCertPool()
	if v.bundle != nil {
		for _, c := range v.bundle.Certificates() {
			roots.AddCert(c)
		}
	}
	return x509.VerifyOptions{Roots: roots, CurrentTime: v.now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
}

// certified returns the key of the certificate at the end of verified chains. An
// authority signs certificates, not tokens, unless it stands in the bundle itself.
func (v *Outside) certified(chains [][]*x509.Certificate) ([]jwks.Key, error) {
	leaf := chains[0][0]
	if leaf.IsCA && !slices.ContainsFunc(v.bundle.Certificates(), leaf.Equal) {
		return nil, invalid("its certificate is of an authority")
	}
	k, err := jwks.NewKey(leaf.PublicKey)
	if err != nil {
		return nil, invalid("the key of its certificate is not of use: %v", err)
	}
	return []jwks.Key{k}, nil
}

// embedded returns the key in a header where it is vouched for, or known. What
// it calls itself counts for nothing.
func (v *Outside) embedded(ctx context.Context, k *jose.JSONWebKey) ([]jwks.Key, error) {
	if len(k.Certificates) > 0 {
		options := v.vouching()
		options.Intermediates = x509.NewCertPool()
		for _, c := range k.Certificates[1:] {
			options.Intermediates.AddCert(c)
		}
		if chains, err := k.Certificates[0].Verify(options); err == nil {
			return v.certified(chains) // whose key is that of k: its parser sees to it
		}
	}
	for _, set := range v.sets() {
		known, err := set.Lookup(ctx, "")
		if err != nil {
			return nil, fmt.Errorf("look for a key of the outside token server: %w", err)
		}
		for _, candidate := range known {
			if same, ok := candidate.Public.(interface{ Equal(crypto.PublicKey) bool }); ok && same.Equal(k.Key) {
				return []jwks.Key{candidate}, nil
			}
		}
	}
	return nil, nil
}
