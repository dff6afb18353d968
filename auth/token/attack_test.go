package token

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// TestPublicKeyIsNoSecret: nobody signs a token with what is published, in
// whatever form it is taken for a secret, and no kid leads anywhere else.
func TestPublicKeyIsNoSecret(t *testing.T) {
	f := newFixture(t)
	whole := f.issue(t)
	payload := strings.Split(whole, ".")[1]
	o, err := jose.ParseSignedCompact(whole, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	claims := o.UnsafePayloadWithoutVerification()
	id, key := f.keys.Load().signing(f.time)
	public := key.Public().(ed25519.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	tests := map[string]string{
		"a kid of a megabyte": f.sign(t, map[string]any{"kid": strings.Repeat("k", 1<<20)}, string(claims)),
		"a kid of zeros":      f.sign(t, map[string]any{"kid": id + "\x00"}, string(claims)),
		"three tokens":        whole + "." + whole + "." + whole,
		"encrypted":           "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIiwiemlwIjoiREVGIn0.." + payload + "." + payload + ".AAAA",
		"unprotected":         `{"payload":"` + payload + `","header":{"alg":"none"},"signature":""}`,
	}
	for form, secret := range map[string][]byte{"raw": public, "DER": der, "PEM": block, "PEM, trimmed": block[:len(block)-1], "JWKS": f.JWKS()} {
		for _, algorithm := range []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512} {
			padded := append(append([]byte{}, secret...), make([]byte, max(0, 64-len(secret)))...)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: padded, KeyID: id}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign(claims)
			if err != nil {
				t.Fatal(err)
			}
			if tests[form+" "+string(algorithm)], err = signed.CompactSerialize(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, raw := range tests {
		if c, err := f.Verify(context.Background(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := f.Verify(context.Background(), whole); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}
