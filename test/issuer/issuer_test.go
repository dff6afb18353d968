package issuer

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// TestFlow goes through a login as a client library of others does.
func TestFlow(t *testing.T) {
	i := New(t)
	i.Put(User{Subject: "1", Claims: map[string]any{"preferred_username": "alice", "groups": []string{"dev"}}})
	ctx := t.Context()
	p, err := oidc.NewProvider(ctx, i.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := oauth2.Config{ClientID: ClientID, ClientSecret: ClientSecret, Endpoint: p.Endpoint(), RedirectURL: "http://127.0.0.1:1/callback"}
	verifier := oauth2.GenerateVerifier()
	code := authorize(t, c.AuthCodeURL("state", oidc.Nonce("n"), oauth2.S256ChallengeOption(verifier)))
	tokens, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	verify := p.Verifier(&oidc.Config{ClientID: ClientID})
	id, err := verify.Verify(ctx, tokens.Extra("id_token").(string))
	if err != nil || id.Subject != "1" || id.Nonce != "n" || id.VerifyAccessToken(tokens.AccessToken) != nil {
		t.Fatalf("%+v, %v", id, err)
	}
	if info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(tokens)); err != nil || info.Subject != "1" {
		t.Errorf("%+v, %v", info, err)
	}
	if _, err := c.Exchange(ctx, code, oauth2.VerifierOption(verifier)); err == nil {
		t.Error("a code is good twice")
	}
	refreshed, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: tokens.RefreshToken}).Token()
	if err != nil || refreshed.RefreshToken == tokens.RefreshToken {
		t.Errorf("refresh: %v, %v", refreshed, err)
	}
	i.Put(User{Subject: "1", Disabled: true})
	if _, err := c.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshed.RefreshToken}).Token(); err == nil {
		t.Error("a disabled user is refreshed")
	}
}

// authorize follows a login to its code.
func authorize(t *testing.T, address string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	target, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || target.Query().Get("code") == "" {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return target.Query().Get("code")
}

// TestFaults shows those of the server itself.
func TestFaults(t *testing.T) {
	i := NewTLS(t)
	client := i.server.Client()
	get := func(path string) (int, error) {
		resp, err := client.Get(i.URL + path)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		return int(n), err
	}
	i.Misbehave(Faults{Down: true})
	if _, err := get("/keys"); err == nil {
		t.Error("down, and answers")
	}
	i.Misbehave(Faults{HugeKeys: true})
	if n, err := get("/keys"); err != nil || n < 10<<20 {
		t.Errorf("huge keys: %d, %v", n, err)
	}
	if i.Requests("/keys") < 2 {
		t.Error("requests are not counted")
	}
	newVerifier := func() *oidc.IDTokenVerifier {
		keys := oidc.NewRemoteKeySet(oidc.ClientContext(context.Background(), client), i.URL+"/keys")
		return oidc.NewVerifier(i.URL, keys, &oidc.Config{ClientID: "aud", SupportedSigningAlgs: []string{"ES256"}})
	}
	verifier := newVerifier()
	i.Misbehave(Faults{})
	claims := map[string]any{"aud": "aud", "sub": "s", "iss": i.URL, "exp": 1 << 40}
	if _, err := verifier.Verify(t.Context(), i.Token(claims)); err != nil {
		t.Error(err)
	}
	for name, token := range map[string]string{"none": Unsigned(claims), "confused": i.Confused(claims)} {
		if _, err := verifier.Verify(t.Context(), token); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	before := i.Token(claims)
	i.Rotate()
	verifier = newVerifier() // which cannot have part in a fetch of the keys before
	if _, err := verifier.Verify(t.Context(), i.Token(claims)); err != nil {
		t.Error("the new key:", err)
	}
	if _, err := verifier.Verify(t.Context(), before); err == nil {
		t.Error("the old key is accepted")
	}
}
