package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// signers are one private key of each type, made once: RSA takes a while.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	all := make(map[string]crypto.Signer)
	for name, bits := range map[string]int{"rsa": 2048, "rsa-small": 1024} {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	for name, curve := range map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()} {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		all[name] = k
	}
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	all["ed25519"] = k
	return all
})

func public(name string) crypto.PublicKey { return signers()[name].Public() }

// jwk returns the named key in JSON, with more members or other ones.
func jwk(t testing.TB, name string, more map[string]any) json.RawMessage {
	t.Helper()
	data, err := (&jose.JSONWebKey{Key: public(name)}).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	members := make(map[string]any)
	if err := json.Unmarshal(data, &members); err != nil {
		t.Fatal(err)
	}
	for k, v := range more {
		members[k] = v
	}
	return encode(t, members)
}

// set returns a JSON Web Key Set.
func set(t testing.TB, keys ...json.RawMessage) []byte {
	t.Helper()
	return encode(t, map[string]any{"keys": keys})
}

// named returns the set of one key under an ID.
func named(t testing.TB, name, id string) []byte {
	t.Helper()
	return set(t, jwk(t, name, map[string]any{"kid": id}))
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sign returns a token of that header and those claims.
func sign(t testing.TB, signer string, algorithm jose.SignatureAlgorithm, header map[string]any, claims string) string {
	t.Helper()
	o := new(jose.SignerOptions)
	for k, v := range header {
		o.WithHeader(jose.HeaderKey(k), v)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: signers()[signer]}, o)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func part(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }

// A clock is a time in the test's hands.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func open(t testing.TB, source Source, c *clock) *Set {
	t.Helper()
	s, err := NewSet(source, Options{Log: slog.New(slog.DiscardHandler), Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
