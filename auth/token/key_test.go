package token

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TestJWKS verifies a token the way another program would.
func TestJWKS(t *testing.T) {
	f := newFixture(t)
	raw := f.issue(t)
	if strings.Contains(string(f.JWKS()), `"d"`) {
		t.Fatal("a private key is published")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(f.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	keys := set.Key(token.Headers[0].KeyID)
	if len(keys) != 1 {
		t.Fatalf("%d keys of that name in %s", len(keys), f.JWKS())
	}
	sum, err := keys[0].Thumbprint(crypto.SHA256)
	if err != nil || base64.RawURLEncoding.EncodeToString(sum) != keys[0].KeyID {
		t.Errorf("key %s has the thumbprint %x, %v", keys[0].KeyID, sum, err)
	}
	var claims jwt.Claims
	if err := token.Claims(keys[0], &claims); err != nil || claims.Subject != "alice" {
		t.Errorf("claims %+v, %v", claims, err)
	}
}

func TestKeysLast(t *testing.T) {
	f := newFixture(t)
	raw := f.issue(t)
	again := f.another(t, Options{})
	if len(f.store.keys) != 1 {
		t.Fatalf("%d keys after a restart", len(f.store.keys))
	}
	if _, err := again.Verify(context.Background(), raw); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func TestRotate(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	signedWith := func() string { id, _ := f.keys.Load().signing(f.time); return id }
	rotate := func(after time.Duration, keys int) {
		t.Helper()
		f.time = f.time.Add(after)
		if err := f.Rotate(ctx); err != nil {
			t.Fatal(err)
		}
		if n := len(f.store.keys); n != keys {
			t.Errorf("%d keys, want %d", n, keys)
		}
	}
	old := signedWith()
	oldKey := f.keys.Load().private[old]
	rotate(keyLife-time.Second, 1)
	rotate(time.Second, 2)
	if signedWith() != old {
		t.Error("a key signs before it has been published")
	}
	rotate(publish-time.Second, 2)
	last := f.issue(t) // with the old key, still
	rotate(time.Second, 2)
	if signedWith() == old {
		t.Error("the old key still signs")
	}
	f.issue(t)
	rotate(15*time.Minute+expiredUse-time.Second, 2)
	f.verified.InvalidateAll()
	if c, err := f.Verify(ctx, last); err != nil || !c.Expired {
		t.Errorf("the old key's last token: %+v, %v", c, err)
	}
	rotate(time.Hour, 1)
	if f.store.keys[0].ID == old {
		t.Error("the new key was deleted")
	}
	now := f.time.Unix()
	claims := fmt.Sprintf(`{"iss":"berth","aud":"registry.test","sub":"","iat":%d,"exp":%d}`, now, now+60)
	if _, err := f.Verify(ctx, f.sign(t, nil, claims)); err != nil {
		t.Errorf("by the new key: %v", err)
	}
	forged := compact(t, map[string]any{"alg": "EdDSA", "kid": old}, claims, func(b []byte) []byte { return ed25519.Sign(oldKey, b) })
	if _, err := f.Verify(ctx, forged); !errors.Is(err, ErrInvalid) {
		t.Errorf("by a key that is gone: %v", err)
	}
}

func TestKeysDamaged(t *testing.T) {
	for name, der := range map[string][]byte{"no key": []byte("x"), "empty": nil} {
		store := &memory{keys: []Key{{ID: "k", Private: der, Created: time.Now()}}}
		if _, err := NewIssuer(context.Background(), store, Options{Service: "s", Issuer: "i"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := NewIssuer(context.Background(), &memory{}, Options{}); err == nil {
		t.Error("an issuer without a service")
	}
}
