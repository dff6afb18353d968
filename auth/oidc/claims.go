package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"berth/auth"
	"berth/auth/jwks"
)

// claims are what a provider says of a user, by name.
type claims map[string]json.RawMessage

// A person is a user as the provider describes him now.
type person struct {
	subject string
	claims  claims
}

// rejected is the refusal of somebody who cannot be let in. Told is for him, who
// comes straight from the provider.
func rejected(reason, format string, args ...any) error {
	return &auth.RejectedError{Reason: reason, Told: fmt.Sprintf(format, args...)}
}

// verify returns whom the tokens of the provider are about. Nonce is that of the
// login, or "" for a refresh, where the user's page does without an ID token.
// Errors: *auth.RejectedError; any other when the provider does not answer.
func (p *Provider) verify(ctx context.Context, m *metadata, t *oauth2.Token, nonce string) (person, error) {
	var who person
	raw, _ := t.Extra("id_token").(string)
	if raw == "" && nonce != "" {
		return who, rejected("the provider sent no ID token", "the provider did not say who you are: check the scopes that are configured for it")
	}
	if raw != "" {
		id, err := p.verifyID(ctx, m, raw, t.AccessToken, nonce)
		if err != nil {
			return who, err
		}
		who.subject = id.Subject
		if err := id.Claims(&who.claims); err != nil {
			return who, invalid("the claims of the ID token cannot be read")
		}
	}
	return who, p.complete(ctx, m, t, &who)
}

// verifyID checks an ID token (OpenID Connect Core, section 3.1.3.7).
func (p *Provider) verifyID(ctx context.Context, m *metadata, raw, access, nonce string) (*oidc.IDToken, error) {
	keys := &keySet{set: m.keys}
	verifier := oidc.NewVerifier(p.o.Load().Issuer, keys, &oidc.Config{ClientID: p.o.Load().ClientID, SupportedSigningAlgs: jwks.Algorithms(), Now: p.o.Load().Now})
	id, err := verifier.Verify(p.with(ctx), raw)
	switch {
	case keys.err != nil:
		return nil, fmt.Errorf("verify an ID token of %s: %w", p.o.Load().Name, clipped{keys.err})
	case err != nil:
		return nil, invalid(clipped{err}.Error())
	}
	var more struct {
		Party    string   `json:"azp"`
		IssuedAt *float64 `json:"iat"`
	}
	if err := id.Claims(&more); err != nil {
		return nil, invalid("azp or iat is not what it must be")
	}
	const leeway = 60
	now := p.o.Load().Now()
	switch {
	case more.Party != "" && more.Party != p.o.Load().ClientID:
		return nil, invalid("azp is another client")
	case len(id.Audience) > 1 && more.Party == "":
		return nil, invalid("it is for several clients and does not say for which (azp)")
	case more.IssuedAt == nil || *more.IssuedAt > float64(now.Unix()+leeway):
		return nil, invalid("iat is missing or in the future")
	case nonce != "" && id.Nonce != nonce:
		return nil, invalid("the nonce is not that of this login")
	case id.AccessTokenHash != "" && id.VerifyAccessToken(access) != nil:
		return nil, invalid("at_hash is not that of the access token")
	case id.Subject == "" || len(id.Subject) > maxSubject:
		return nil, invalid("sub is empty or too long")
	}
	return id, nil
}

// invalid is the refusal of an ID token, whose reason is for the log alone.
func invalid(reason string) error {
	return rejected("ID token: "+reason, "what the provider says of you cannot be believed: begin again, and if it stays like this, tell an administrator")
}

// A keySet is the keys of a provider as package oidc wants them. It notes that
// they could not be had, which the error of that package does not tell.
type keySet struct {
	set *jwks.Set
	err error
}

var errSignature = errors.New("the signature is not by a key of the provider")

// VerifySignature returns the payload of a token.
func (k *keySet) VerifySignature(ctx context.Context, raw string) ([]byte, error) {
	token, err := jwks.ParseToken(raw)
	if err != nil {
		return nil, err
	}
	k.set.Tend(ctx) // as keys are withdrawn
	keys, err := k.set.Lookup(ctx, token.Header.KeyID)
	if err != nil {
		k.err = err
		return nil, err
	}
	if !token.VerifiedBy(keys...) {
		return nil, errSignature
	}
	return token.Payload(), nil
}

// complete asks for the user's page where the ID token does not name the user
// or his groups: some providers say there what they do not say elsewhere.
func (p *Provider) complete(ctx context.Context, m *metadata, t *oauth2.Token, who *person) error {
	_, named := who.claims[p.o.Load().Username]
	_, grouped := who.claims[p.o.Load().Groups]
	if m.UserInfoEndpoint() == "" || named && grouped {
		return nil
	}
	info, err := m.UserInfo(p.with(ctx), oauth2.StaticTokenSource(t))
	if err != nil {
		return fmt.Errorf("ask %s for a user's page: %w", p.o.Load().Name, clipped{err})
	}
	if who.subject != "" && info.Subject != who.subject || info.Subject == "" {
		return invalid("the user's page is about somebody else")
	}
	var more claims
	if err := info.Claims(&more); err != nil {
		return invalid("the user's page cannot be read")
	}
	who.subject = info.Subject
	for name, value := range who.claims {
		more[name] = value
	}
	who.claims = more
	return nil
}

// name returns how the user is called here.
func (p *Provider) name(who person) (string, error) {
	var name string
	if err := json.Unmarshal(who.claims[p.o.Load().Username], &name); err != nil || name == "" {
		return "", rejected("no claim "+p.o.Load().Username, "the provider does not say your user name (the claim %s): tell an administrator", p.o.Load().Username)
	}
	if p.o.Load().Username == "email" && (strings.Count(name, "@") != 1 || !who.claims.holds("email_verified")) {
		return "", rejected("e-mail address is not verified", "the provider has not verified your e-mail address")
	}
	if strings.ContainsAny(name, "/:") || name != strings.TrimFunc(name, unicode.IsSpace) || hidden(name) {
		return "", rejected("the name cannot be used", "your user name %q cannot be used here: it holds a slash, a colon or a space at an end", name)
	}
	name = p.prefix() + name
	if err := auth.CheckName(name); err != nil {
		return "", rejected(err.Error(), "your user name cannot be used here: %v", err)
	}
	return name, nil
}

// hidden reports whether a name holds what is not seen: two that look alike
// must not be two users.
func hidden(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

func (p *Provider) prefix() string {
	if p.o.Load().Plain {
		return ""
	}
	return p.o.Load().Name + "/"
}

// holds reports whether a claim is true; some providers send it as text.
func (c claims) holds(name string) bool {
	switch string(c[name]) {
	case `true`, `"true"`:
		return true
	}
	return false
}

// groups returns the user's groups, sorted: a list or one word; none when the
// claim is absent.
func (p *Provider) groups(who person) ([]string, error) {
	raw, ok := who.claims[p.o.Load().Groups]
	if !ok {
		return nil, p.checkOverage(who)
	}
	var groups []string
	if string(raw) != "null" && json.Unmarshal(raw, &groups) != nil {
		var one string
		if err := json.Unmarshal(raw, &one); err != nil {
			return nil, rejected("the claim "+p.o.Load().Groups+" is no list", "the provider does not list your groups as text (the claim %s): tell an administrator", p.o.Load().Groups)
		}
		groups = []string{one}
	}
	if len(groups) > maxGroups {
		return nil, rejected("too many groups", "the provider lists more than %d groups: tell an administrator", maxGroups)
	}
	for i, g := range groups {
		groups[i] = p.prefix() + g
		if err := errors.Join(auth.CheckName(g), auth.CheckName(groups[i])); err != nil {
			return nil, rejected("group: "+err.Error(), "one of your groups cannot be used here: tell an administrator")
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// checkOverage refuses who is in more groups than the provider puts into a
// token: to take them for none would open what a rule keeps from one of them.
func (p *Provider) checkOverage(who person) error {
	var elsewhere map[string]json.RawMessage
	_ = json.Unmarshal(who.claims["_claim_names"], &elsewhere) // absent is none
	if _, ok := elsewhere[p.o.Load().Groups]; ok {
		return rejected("groups are elsewhere", "you are in more groups than the provider lists: an administrator can limit what it lists to the groups of this registry")
	}
	return nil
}
