package token

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"berth/auth"
	certificates "berth/test/authority"
)

const elsewhere = "registry.example.org"

func (f *fixture) withServices(t *testing.T) *Issuer {
	t.Helper()
	return f.another(t, Options{Services: []string{elsewhere}, ServicesIssuer: "us"})
}

// pairOf returns a certificate of a key, signed by itself.
func pairOf(t testing.TB, key crypto.Signer) *tls.Certificate {
	t.Helper()
	cert := certificates.Sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "tokens"}}, nil, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

func must[T any](t testing.TB, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestIssueFor reads tokens for another registry as that would: by the chain in
// the token, and by the name of the key.
func TestIssueFor(t *testing.T) {
	f := newFixture(t)
	i := f.withServices(t)
	scopes := []auth.Scope{{Type: "repository", Name: "team/app", Actions: []string{"pull"}}}
	for _, test := range []struct {
		key       crypto.Signer // nil is the server's own
		id        KeyID
		algorithm jose.SignatureAlgorithm
	}{
		{nil, Thumbprint, jose.EdDSA},
		{certificates.NewKey(t, "RSA"), Thumbprint, jose.RS256},
		{certificates.NewKey(t, "P-256"), Thumbprint, jose.ES256},
		{certificates.NewKey(t, "P-256"), Libtrust, jose.ES256},
		{certificates.NewKey(t, "P-384"), Thumbprint, jose.ES384},
	} {
		t.Run(string(test.algorithm)+" "+string(test.id), func(t *testing.T) {
			if test.key != nil {
				signer, err := NewSigner(pairOf(t, test.key), test.id)
				if err := i.SetSigner(must(t, signer, err)); err != nil {
					t.Fatal(err)
				}
			}
			issued, err := i.IssueFor(elsewhere, alice, scopes)
			raw := must(t, issued, err).Value
			if issued.ExpiresIn != 900 || !issued.IssuedAt.Equal(f.time) {
				t.Errorf("issued %+v", issued)
			}
			token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{test.algorithm})
			header := must(t, token, err).Headers[0]
			if header.ExtraHeaders["typ"] != "JWT" {
				t.Errorf("typ is %v", header.ExtraHeaders["typ"])
			}
			var set jose.JSONWebKeySet
			if err := json.Unmarshal(i.JWKS(), &set); err != nil {
				t.Fatal(err)
			}
			keys := set.Key(header.KeyID)
			if len(keys) != 1 || !keys[0].IsPublic() {
				t.Fatalf("%d keys of the name %s are published", len(keys), header.KeyID)
			}
			var claims map[string]any
			if err := token.Claims(keys[0], &claims); err != nil {
				t.Fatal(err)
			}
			if test.key != nil {
				roots := x509.NewCertPool()
				roots.AddCert(leafOf(t, raw))
				chains, err := header.Certificates(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
				if err := token.Claims(must(t, chains, err)[0][0].PublicKey, &claims); err != nil {
					t.Fatal(err)
				}
			}
			delete(claims, "jti")
			now := float64(f.time.Unix())
			want := map[string]any{
				"iss": "us", "sub": "alice", "aud": elsewhere, "iat": now, "nbf": now, "exp": now + 900,
				"access": []any{map[string]any{"type": "repository", "name": "team/app", "actions": []any{"pull"}}},
			}
			if diff := cmp.Diff(want, claims); diff != "" {
				t.Error(diff)
			}
			if c, err := i.Verify(context.Background(), raw); !errors.Is(err, ErrInvalid) {
				t.Errorf("a token for another registry is good here: %+v, %v", c, err)
			}
		})
	}
}

// leafOf returns the certificate that a token brings.
func leafOf(t *testing.T, raw string) *x509.Certificate {
	t.Helper()
	header, _, _ := strings.Cut(raw, ".")
	data, err := base64.RawURLEncoding.DecodeString(header)
	var h struct {
		Chain []string `json:"x5c"`
	}
	if err := json.Unmarshal(must(t, data, err), &h); err != nil || len(h.Chain) != 1 {
		t.Fatalf("header %s, %v", data, err)
	}
	der, err := base64.StdEncoding.DecodeString(h.Chain[0])
	leaf, errParse := x509.ParseCertificate(must(t, der, err))
	return must(t, leaf, errParse)
}

func TestIssueForRefuses(t *testing.T) {
	f := newFixture(t)
	i := f.withServices(t)
	if _, err := i.IssueFor("other", alice, nil); err == nil {
		t.Error("a token for a service that is not configured")
	}
	own, err := i.IssueFor(service, alice, nil)
	if _, err := i.Verify(context.Background(), must(t, own, err).Value); err != nil {
		t.Errorf("for its own service: %v", err)
	}
	for _, services := range [][]string{{service}, {""}} {
		if _, err := NewIssuer(context.Background(), f.store, Options{Service: service, Issuer: "i", Services: services}); err == nil {
			t.Errorf("an issuer for the further services %q", services)
		}
	}
}

// TestSetSigner: the key before is published for as long as its tokens live.
func TestSetSigner(t *testing.T) {
	f := newFixture(t)
	i := f.withServices(t)
	set := func(key crypto.Signer) *Signer {
		t.Helper()
		signer, err := NewSigner(pairOf(t, key), Thumbprint)
		if err := i.SetSigner(must(t, signer, err)); err != nil {
			t.Fatal(err)
		}
		return signer
	}
	published := func(s *Signer) bool { return strings.Contains(string(i.JWKS()), s.public.KeyID) }
	key := certificates.NewKey(t, "P-256")
	first := set(key)
	set(key) // another certificate of the same key
	if n := strings.Count(string(i.JWKS()), first.public.KeyID); n != 1 {
		t.Errorf("the key is published %d times", n)
	}
	second := set(certificates.NewKey(t, "P-384"))
	for _, step := range []struct {
		after time.Duration
		first bool
	}{{0, true}, {16 * time.Minute, true}, {time.Second, false}} {
		f.time = f.time.Add(step.after)
		if err := i.Rotate(context.Background()); err != nil {
			t.Fatal(err)
		}
		if published(first) != step.first || !published(second) {
			t.Errorf("published are: the first %v, the second %v", published(first), published(second))
		}
	}
}

func TestNewSignerRefuses(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	_, edwards, errEdwards := ed25519.GenerateKey(rand.Reader)
	p256 := pairOf(t, certificates.NewKey(t, "P-256"))
	for name, test := range map[string]struct {
		pair *tls.Certificate
		id   KeyID
	}{
		"RSA of 1024 bits": {pairOf(t, must(t, short, err)), Thumbprint},
		"P-521":            {pairOf(t, certificates.NewKey(t, "P-521")), Thumbprint},
		"Ed25519":          {pairOf(t, must(t, edwards, errEdwards)), Thumbprint},
		"an odd name":      {p256, "sha1"},
		"no chain":         {&tls.Certificate{PrivateKey: p256.PrivateKey}, Thumbprint},
		"a long chain":     {&tls.Certificate{Certificate: make([][]byte, maxChain+1), PrivateKey: p256.PrivateKey}, Thumbprint},
		"no certificate":   {&tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: p256.PrivateKey}, Thumbprint},
	} {
		if _, err := NewSigner(test.pair, test.id); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestLibtrust is of a key that OpenSSL made, and its digest.
func TestLibtrust(t *testing.T) {
	const key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFILdCbHweleGmjC/4Qpr3D5NJSESb65axyOl/tGc7utcVJ9q8p4qHO7FgE+gs9hIKk09iEeMN585h/prhFjNMw=="
	der, err := base64.StdEncoding.DecodeString(key)
	public, errParse := x509.ParsePKIXPublicKey(must(t, der, err))
	name, errName := libtrustOf(must(t, public, errParse))
	if must(t, name, errName) != "C6BD:QAGB:QNMF:477G:SAOW:ZY4T:ER7P:IPS4:WJW3:ZMCS:IIDW:UY6P" {
		t.Errorf("it is called %s", name)
	}
}
