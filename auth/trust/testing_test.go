package trust

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"berth/auth"
	"berth/auth/jwks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	github = "https://token.actions.githubusercontent.com"
	here   = "https://registry.example.org"
)

// A signer is an issuer's key.
type signer struct {
	key crypto.Signer
	id  string
}

func newSigner(t testing.TB, id string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{key, id}
}

// keys returns the public keys of signers as a JSON Web Key Set.
func keys(t testing.TB, signers ...signer) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, s := range signers {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: s.key.Public(), KeyID: s.id})
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// claims are those of a job, with changes; nil takes one away.
type claims map[string]any

// sign returns a token of a job of GitHub, as a password.
func (s signer) sign(t testing.TB, now time.Time, changes claims) auth.Secret {
	t.Helper()
	all := claims{
		"iss": github, "aud": here, "sub": "repo:org/app:ref:refs/heads/main", "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix() - 60, "exp": now.Add(10 * time.Minute).Unix(),
		"repository": "org/app", "repository_id": "1234", "ref": "refs/heads/main",
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return s.signRaw(t, string(data))
}

func (s signer) signRaw(t testing.TB, payload string) auth.Secret {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: s.id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return auth.Secret(raw)
}

// A fixture is a Trust with its clock and its issuer in the test's hands.
type fixture struct {
	*Trust
	signer
	now time.Time
}

// githubRule is the rule of most tests: jobs of one repository on main.
func githubRule(source jwks.Source) Rule {
	return Rule{
		Name: "github", Issuer: github, Audience: here, User: "ci:{repository}", Groups: []string{"ci"},
		Match: map[string][]string{"repository_id": {"1234"}, "ref": {"refs/heads/main"}}, Keys: source,
	}
}

// newFixture trusts by githubRule, as the changes have it.
func newFixture(t testing.TB, changes ...func(*Rule)) *fixture {
	t.Helper()
	f := &fixture{signer: newSigner(t, "k1"), now: time.Unix(1_800_000_000, 0)}
	r := githubRule(jwks.Source{JSON: keys(t, f.signer)})
	for _, change := range changes {
		change(&r)
	}
	f.Trust = newTrust(t, f, r)
	return f
}

func newTrust(t testing.TB, f *fixture, rules ...Rule) *Trust {
	t.Helper()
	trust, err := New(rules, Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return f.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trust.Close() })
	return trust
}

// from returns a login with a token from an address.
func from(addr string, token auth.Secret) auth.Credentials {
	c := auth.Credentials{User: "whoever", Password: token}
	if addr != "" {
		c.Addr = netip.MustParseAddr(addr)
	}
	return c
}

// login logs in with a token of the claims, and returns who that is.
func (f *fixture) login(t testing.TB, changes claims) (auth.Identity, error) {
	t.Helper()
	c := from("192.0.2.1", f.sign(t, f.now, changes))
	if !f.Recognizes(c) {
		return auth.Identity{}, auth.ErrNoMatch
	}
	return f.Authenticate(context.Background(), c)
}

// wantRejected fails unless err is a refusal for that reason, which does not
// show to the client.
func wantRejected(t testing.TB, what string, err error, reason string) {
	t.Helper()
	var rejected *auth.RejectedError
	if !errors.As(err, &rejected) || !strings.Contains(rejected.Reason, reason) {
		t.Errorf("%s: %#v, want a refusal with %q", what, err, reason)
	}
}
