package token

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"berth/auth"
)

// servicePayload is what a token for another service says. Distribution 2 takes
// one audience alone, and as a text. What this server keeps in its own tokens is
// nobody else's business.
type servicePayload struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  string           `json:"aud"`
	Expires   *jwt.NumericDate `json:"exp"`
	NotBefore *jwt.NumericDate `json:"nbf"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	ID        string           `json:"jti"`
	Access    []access         `json:"access"`
}

// IssueFor returns a new access token for id at a service, for the scopes, which
// may be none. That of a service other than the Issuer's own is signed by the
// Signer, where there is one, and Verify refuses it.
func (i *Issuer) IssueFor(service string, id auth.Identity, scopes []auth.Scope) (Token, error) {
	if service == i.service {
		return i.Issue(id, scopes)
	}
	if !slices.Contains(i.services, service) {
		return Token{}, fmt.Errorf("tokens are not issued for the service %q", service)
	}
	now := i.now().UTC().Truncate(time.Second)
	body, err := json.Marshal(servicePayload{
		Issuer:    i.signedBy,
		Subject:   id.Name,
		Audience:  service,
		Expires:   jwt.NewNumericDate(now.Add(i.expiration)),
		NotBefore: jwt.NewNumericDate(now),
		IssuedAt:  jwt.NewNumericDate(now),
		ID:        rand.Text(),
		Access:    accessOf(scopes),
	})
	if err != nil {
		return Token{}, fmt.Errorf("encode an access token: %w", err)
	}
	t := Token{ExpiresIn: int(i.expiration / time.Second), IssuedAt: now}
	if s := i.signer.Load(); s != nil {
		t.Value, err = s.sign(body)
		return t, err
	}
	t.Value = i.keys.Load().sign(body, now)
	return t, nil
}

// SetSigner replaces what signs for other services, for the next token on. The
// key before is published until the last token that it signed has run out.
func (i *Issuer) SetSigner(s *Signer) error {
	i.rotating.Lock()
	defer i.rotating.Unlock()
	if old := i.signer.Swap(s); old != nil && (s == nil || old.public.KeyID != s.public.KeyID) {
		i.former = append(i.former, formerSigner{old.public, i.now().Add(i.expiration + leeway)})
	}
	return i.publish()
}
