package token

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/auth/jwks"
)

// A world is a token server elsewhere: its certificate, an authority with what
// it signed, and a key that is known by a key set.
type world struct {
	dir  string
	time time.Time
	self *party // whose certificate stands in the bundle, an authority by accident
	root *party // stands in the bundle too
	leaf *party // whose certificate the root signed
	set  *party // whose key is in the key set, under the name "set-1"
}

// A party has a key and, mostly, a certificate.
type party struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// rsaKey is one RSA key, made once: it takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// certify returns a party whose certificate the issuer signed, or itself when
// that is nil.
func (w *world) certify(t testing.TB, key crypto.Signer, issuer *party, change func(*x509.Certificate)) *party {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "token server"},
		NotBefore: w.time.Add(-time.Hour), NotAfter: w.time.Add(24 * time.Hour), BasicConstraintsValid: true,
	}
	if change != nil {
		change(template)
	}
	p := &party{key: key}
	if issuer == nil {
		issuer = &party{key, template}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, key.Public(), issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return p
}

func authority(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), time: time.Unix(1_800_000_000, 0)}
	w.self = w.certify(t, rsaKey(), nil, authority)
	w.root = w.certify(t, ecKey(t), nil, authority)
	w.leaf = w.certify(t, ecKey(t), w.root, nil)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w.set = &party{key: key}
	w.write(t, "bundle.pem", slices.Concat(w.self.pem(), w.root.pem()))
	w.write(t, "keys.json", w.set.jwks(t, "set-1"))
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(w.path(name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *party) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})
}

func (p *party) jwks(t testing.TB, id string) []byte {
	t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: id}}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// thumbprint and libtrust are the names of the party's key.
func (p *party) thumbprint(t testing.TB) string { return name(t, jwks.Thumbprint, p) }
func (p *party) libtrust(t testing.TB) string   { return name(t, jwks.LibtrustID, p) }

func name(t testing.TB, of func(crypto.PublicKey) (string, error), p *party) string {
	t.Helper()
	id, err := of(p.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// x5c is a header with the certificates of parties.
func x5c(parties ...*party) map[string]any {
	var chain []string
	for _, p := range parties {
		chain = append(chain, base64.StdEncoding.EncodeToString(p.cert.Raw))
	}
	return map[string]any{"x5c": chain}
}

// outside returns a verifier of what the world signs.
func (w *world) outside(t testing.TB, change ...func(*OutsideOptions)) *Outside {
	t.Helper()
	o := OutsideOptions{
		Issuer: "auth.example.org", Service: "registry.example.org", Certificates: w.path("bundle.pem"),
		Keys: &jwks.Source{File: w.path("keys.json")}, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.time },
	}
	for _, c := range change {
		c(&o)
	}
	v, err := NewOutside(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// claims are those of a good token, with changes; nil takes one away.
func (w *world) claims(changes map[string]any) map[string]any {
	now := w.time.Unix()
	all := map[string]any{
		"iss": "auth.example.org", "sub": "alice", "aud": "registry.example.org", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": "1",
		"access": []any{map[string]any{"type": "repository", "name": "team/app", "actions": []string{"push", "pull"}}},
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	return all
}

// token signs claims by p, under a header.
func token(t testing.TB, p *party, header, claims map[string]any) string {
	t.Helper()
	algorithm := jose.ES256
	switch p.key.(type) {
	case *rsa.PrivateKey:
		algorithm = jose.RS256
	case ed25519.PrivateKey:
		algorithm = jose.EdDSA
	}
	o := new(jose.SignerOptions).WithType("JWT")
	for k, v := range header {
		o.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: p.key}, o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func kid(id string) map[string]any { return map[string]any{"kid": id} }
