package token

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/auth"
)

// TestOutsideForged: a key counts that the bundle or the key set knows, or
// vouches for, and no other.
func TestOutsideForged(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	v := w.outside(t)
	mine := w.certify(t, ecKey(t), nil, authority)
	fromMine := w.certify(t, ecKey(t), mine, nil)
	past := w.certify(t, ecKey(t), w.root, func(c *x509.Certificate) { c.NotAfter = w.time.Add(-time.Second) })
	future := w.certify(t, ecKey(t), w.root, func(c *x509.Certificate) { c.NotBefore = w.time.Add(time.Minute) })
	below := w.certify(t, ecKey(t), w.root, authority)
	fromLeaf := w.certify(t, ecKey(t), w.leaf, nil)
	good := w.claims(nil)
	jwk := func(p *party, id string, certs ...*x509.Certificate) jose.JSONWebKey {
		return jose.JSONWebKey{Key: p.key.Public(), KeyID: id, Certificates: certs}
	}
	whole := token(t, w.set, kid("set-1"), good)
	parts := strings.Split(whole, ".")
	for name, raw := range map[string]string{
		"no name":                        token(t, w.set, nil, good),
		"an unknown name":                token(t, w.set, kid("set-2"), good),
		"a path":                         token(t, w.set, kid("../../../dev/null"), good),
		"a name of a megabyte":           token(t, w.set, kid(strings.Repeat("k", 1<<20)), good),
		"another key under the name":     token(t, mine, kid("set-1"), good),
		"another key, the thumbprint":    token(t, mine, kid(w.self.thumbprint(t)), good),
		"another key, the libtrust name": token(t, mine, kid(w.self.libtrust(t)), good),
		"x5c of nobody":                  token(t, mine, x5c(mine), good),
		"x5c of a foreign authority":     token(t, fromMine, x5c(fromMine, mine), good),
		"x5c that is not the signer's":   token(t, mine, x5c(w.leaf, w.root), good),
		"x5c that has run out":           token(t, past, x5c(past, w.root), good),
		"x5c that is not valid yet":      token(t, future, x5c(future, w.root), good),
		"x5c of an authority below":      token(t, below, x5c(below, w.root), good),
		"x5c by one that is none":        token(t, fromLeaf, x5c(fromLeaf, w.leaf, w.root), good),
		"jwk of its own":                 token(t, mine, map[string]any{"jwk": jwk(mine, "")}, good),
		"jwk with a known name":          token(t, mine, map[string]any{"jwk": jwk(mine, "set-1")}, good),
		"jwk with a known thumbprint":    token(t, mine, map[string]any{"jwk": jwk(mine, w.self.thumbprint(t))}, good),
		"jwk with a foreign chain":       token(t, fromMine, map[string]any{"jwk": jwk(fromMine, "", fromMine.cert, mine.cert)}, good),
		"jwk with a chain of another":    token(t, mine, map[string]any{"jwk": map[string]any{"kty": "EC", "x5c": x5c(w.leaf)["x5c"]}}, good),
		"jku":                            token(t, mine, map[string]any{"jku": server.URL, "kid": "set-1"}, good),
		"x5u":                            token(t, mine, map[string]any{"x5u": server.URL}, good),
		"alg none":                       compact(t, map[string]any{"alg": "none", "kid": "set-1"}, "{}", func([]byte) []byte { return nil }),
		"HS256 with the public key": compact(t, map[string]any{"alg": "HS256", "kid": "set-1"}, "{}", func([]byte) []byte {
			return []byte("not looked at")
		}),
		"another algorithm":      compact(t, map[string]any{"alg": "RS256", "kid": "set-1"}, "{}", func([]byte) []byte { return make([]byte, 256) }),
		"other claims":           parts[0] + "." + strings.Split(token(t, mine, nil, w.claims(map[string]any{"sub": "root"})), ".")[1] + "." + parts[2],
		"no signature":           parts[0] + "." + parts[1] + ".",
		"a token of this server": newFixture(t).issue(t),
		"words":                  "not a token",
	} {
		if c, err := v.Verify(context.Background(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a key was fetched from where a header said, %d times", n)
	}
	if _, err := v.Verify(context.Background(), whole); err != nil {
		t.Errorf("the token itself: %v", err)
	}
	only := w.outside(t, func(o *OutsideOptions) { o.Algorithms = []string{"RS256"} })
	if _, err := only.Verify(context.Background(), whole); !errors.Is(err, ErrInvalid) {
		t.Errorf("EdDSA, where only RS256 may be: %v", err)
	}
	if _, err := only.Verify(context.Background(), token(t, w.self, kid(w.self.libtrust(t)), good)); err != nil {
		t.Errorf("RS256: %v", err)
	}
	keysOnly := w.outside(t, func(o *OutsideOptions) { o.Certificates = "" })
	if _, err := keysOnly.Verify(context.Background(), token(t, w.leaf, x5c(w.leaf, w.root), good)); !errors.Is(err, ErrInvalid) {
		t.Errorf("x5c, where no authority is trusted: %v", err)
	}
}

// FuzzJWT: whatever comes as a bearer token, nothing breaks, and nothing is
// believed that the token server did not sign.
func FuzzJWT(f *testing.F) {
	w := newWorld(f)
	v := w.outside(f)
	whole := token(f, w.set, kid("set-1"), w.claims(nil))
	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		encode := base64.RawURLEncoding.EncodeToString
		raw := encode(header) + "." + encode(payload) + "." + encode(signature)
		if c, err := v.Verify(context.Background(), raw); err == nil && raw != whole || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s says %+v, %v", raw, c, err)
		}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: w.set.key, KeyID: "set-1"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		c, err := v.Verify(context.Background(), signed)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", payload, err)
			}
			return
		}
		if s := c.Subject; s != (auth.Subject{}) && (s.Provider != "token" || !strings.HasPrefix(s.Name, "token/") || s.Credential != "" || auth.CheckName(s.Name) != nil) {
			t.Errorf("%s is of %+v", payload, s)
		}
	})
}
