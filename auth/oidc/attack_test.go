package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/auth"
	"berth/test/issuer"
)

// TestForgedTokens: an ID token that is not for this login, from this provider,
// for this client and of now lets nobody in.
func TestForgedTokens(t *testing.T) {
	set := func(name string, value any) issuer.Faults {
		return issuer.Faults{IDToken: func(claims map[string]any) { claims[name] = value }}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	standard := func(claims map[string]any) map[string]any {
		claims["iss"], claims["iat"], claims["exp"] = f.issuer.URL, time.Now().Unix(), time.Now().Add(time.Minute).Unix()
		return claims
	}
	for name, fault := range map[string]issuer.Faults{
		"nonce is missing":        {IgnoreNonce: true},
		"nonce of another login":  set("nonce", "another"),
		"issuer":                  set("iss", "https://other.test"),
		"no issuer":               set("iss", nil),
		"another client":          set("aud", "other"),
		"no client":               set("aud", nil),
		"several clients, no azp": set("aud", []string{issuer.ClientID, "other"}),
		"azp":                     set("azp", "other"),
		"expired":                 set("exp", time.Now().Add(-time.Second).Unix()),
		"no expiry":               set("exp", nil),
		"expiry that is no time":  set("exp", "soon"),
		"from the future":         set("iat", time.Now().Add(2*time.Minute).Unix()),
		"no time of issue":        set("iat", nil),
		"not valid yet":           set("nbf", time.Now().Add(time.Hour).Unix()),
		"another access token":    {AccessToken: "another"},
		"no subject":              set("sub", ""),
		"a long subject":          set("sub", strings.Repeat("x", 256)),
		"a subject that is none":  set("sub", 7),
		"no token":                {Sign: func(map[string]any) string { return "" }},
		"rubbish":                 {Sign: func(map[string]any) string { return "a.b.c" }},
		"unsigned":                {Sign: func(claims map[string]any) string { return issuer.Unsigned(standard(claims)) }},
		"public key as a secret":  {Sign: func(claims map[string]any) string { return f.issuer.Confused(standard(claims)) }},
		"key of a stranger": {Sign: func(claims map[string]any) string {
			_, id := f.issuer.Key()
			return issuer.Sign(jose.ES256, stranger, id, standard(claims))
		}},
		"key that is not published": {Sign: func(claims map[string]any) string {
			return issuer.Sign(jose.ES256, stranger, "unknown", standard(claims))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f.issuer.Misbehave(fault)
			id, err := f.signIn()
			if !errors.Is(err, auth.ErrBadCredentials) || told(err) == "" || len(f.List()) > 0 {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
	for name, fault := range map[string]issuer.Faults{
		"several clients": {IDToken: func(claims map[string]any) {
			claims["aud"], claims["azp"] = []string{issuer.ClientID, "other"}, issuer.ClientID
		}},
		"no at_hash": set("at_hash", nil),
	} {
		f.issuer.Misbehave(fault)
		if _, err := f.signIn(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestForgedRefresh: a refresh that is about somebody else changes nothing.
func TestForgedRefresh(t *testing.T) {
	f := newFixture(t)
	f.mustSignIn()
	f.issuer.Misbehave(issuer.Faults{IDToken: func(claims map[string]any) { claims["sub"], claims["groups"] = "2", []string{"admins"} }})
	f.wait(10 * time.Minute)
	id, err := f.resolve("sso/alice")
	if err != nil || len(id.Groups) != 1 || id.Groups[0] != "sso/dev" {
		t.Errorf("%+v, %v", id, err)
	}
	if !strings.Contains(f.Degraded(), "somebody else") {
		t.Errorf("degraded: %q", f.Degraded())
	}
}

// TestCodes: a code is good once, with the verifier and at the client it was
// given to.
func TestCodes(t *testing.T) {
	f := newFixture(t)
	finish := func(login Login, code string) error {
		_, err := f.Finish(t.Context(), callback, login, code)
		return err
	}
	login, code, err := f.halfway()
	if err != nil {
		t.Fatal(err)
	}
	if err := finish(login, code); err != nil {
		t.Fatal(err)
	}
	if err := finish(login, code); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a second time: %v", err)
	}
	for name, change := range map[string]func(*Login){
		"without a verifier": func(l *Login) { l.Verifier = "" },
		"another verifier":   func(l *Login) { l.Verifier = strings.Repeat("a", 43) },
		"another nonce":      func(l *Login) { l.Nonce = "another" },
	} {
		login, code, err := f.halfway()
		if err != nil {
			t.Fatal(err)
		}
		change(&login)
		if err := finish(login, code); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := finish(Login{State: "s", Nonce: "n", Verifier: strings.Repeat("a", 43)}, "never given"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a code that was never given: %v", err)
	}
}

// TestKeys: keys that are known serve while the provider publishes none, and
// not longer than it publishes them.
func TestKeys(t *testing.T) {
	f := newFixture(t)
	f.issuer.Misbehave(issuer.Faults{HugeKeys: true})
	if _, err := f.signIn(); err == nil || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("10 MiB of keys: %v", err)
	}
	f.issuer.Misbehave(issuer.Faults{})
	f.wait(10 * time.Second)
	f.mustSignIn()

	f.issuer.Misbehave(issuer.Faults{HugeKeys: true})
	f.wait(2 * time.Hour)
	if _, err := f.signIn(); err != nil {
		t.Errorf("with the keys of before: %v", err)
	}
	f.issuer.Misbehave(issuer.Faults{})
	old, id := f.issuer.Key()
	f.issuer.Rotate()
	f.wait(10 * time.Second)
	if _, err := f.signIn(); err != nil {
		t.Errorf("a new key: %v", err)
	}
	f.issuer.Misbehave(issuer.Faults{Sign: func(claims map[string]any) string {
		claims["iss"], claims["iat"], claims["exp"] = f.issuer.URL, f.now().Unix(), f.now().Add(time.Minute).Unix()
		return issuer.Sign(jose.ES256, old, id, claims)
	}})
	if _, err := f.signIn(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("the key that was withdrawn: %v", err)
	}
}

// TestSlowKeys: a provider that sends a byte a second is given up.
func TestSlowKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.issuer.Misbehave(issuer.Faults{SlowKeys: true})
	began := time.Now()
	if _, err := f.signIn(); err == nil || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took > answerTime+2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestMetadata: a provider is believed about its addresses as far as they are
// safe.
func TestMetadata(t *testing.T) {
	for name, value := range map[string]string{
		"issuer": "https://other.test", "token_endpoint": "http://evil.test/token", "jwks_uri": "ftp://evil.test", "authorization_endpoint": "javascript:alert(1)",
		"userinfo_endpoint": "http://127.evil.test/",
	} {
		f := newFixture(t)
		f.issuer.Misbehave(issuer.Faults{WrongMetadata: func(m map[string]any) { m[name] = value }})
		if _, _, err := f.Begin(t.Context(), callback); err == nil {
			t.Errorf("%s may be %s", name, value)
		}
	}
}

// TestSecretsStayInside: neither the log nor what is shown holds a secret.
func TestSecretsStayInside(t *testing.T) {
	f := newFixture(t)
	f.mustSignIn()
	refresh, err := f.open(f.store.list[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range []issuer.Faults{{RefreshError: "server_error"}, {RefreshError: "invalid_grant"}, {Down: true}} {
		f.issuer.Misbehave(fault)
		f.wait(10 * time.Minute)
		_, err := f.resolve("sso/alice")
		for _, text := range []string{f.log.String(), f.Degraded(), errorText(err)} {
			if strings.Contains(text, refresh.Reveal()) || strings.Contains(text, issuer.ClientSecret) {
				t.Errorf("%+v: %s", fault, text)
			}
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
