package jwks

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestThumbprint has the example of RFC 7638, section 3.1.
func TestThumbprint(t *testing.T) {
	n, err := base64.RawURLEncoding.DecodeString("0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs" +
		"tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI" +
		"SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw")
	if err != nil {
		t.Fatal(err)
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	got, err := Thumbprint(key)
	if want := "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"; got != want || err != nil {
		t.Errorf("thumbprint %q, %v, want %q", got, err, want)
	}
	if _, err := Thumbprint([]byte("secret")); err == nil {
		t.Error("a symmetric key has a name")
	}
}

// TestLibtrustID has an ID that was made without this code: sha256sum of the
// DER form, its first 30 bytes through base32.
func TestLibtrustID(t *testing.T) {
	const text = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYD54V/vp+54P9DXarYqx4MPcm+HK
RIQzNasYSoRQHQ/6S6Ps8tpMcT+KvIIC8W/e9k0W7Cm72M1P9jU7SLf/vg==
-----END PUBLIC KEY-----
`
	r, err := parseCertificates([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	const want = "L76K:QQFN:YT7U:X7NP:43BJ:VTFS:3BLR:FJDW:V4LZ:XXKS:LK3C:CKWC"
	thumbprint, err := Thumbprint(r.keys[0].Public)
	if err != nil || !slices.Equal(r.keys[0].IDs, []string{thumbprint, want}) {
		t.Errorf("IDs %q, %v, want %q", r.keys[0].IDs, err, want)
	}
	for name := range signers() {
		id, err := LibtrustID(public(name))
		if err != nil || !regexp.MustCompile(`^([A-Z2-7]{4}:){11}[A-Z2-7]{4}$`).MatchString(id) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
}

func TestParseSet(t *testing.T) {
	thumbprint, err := Thumbprint(public("p256"))
	if err != nil {
		t.Fatal(err)
	}
	symmetric := encode(t, map[string]any{"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "kid": "s", "alg": "HS256"})
	unknown := encode(t, map[string]any{"kty": "new", "kid": "n"})
	tests := []struct {
		name string
		data []byte
		want string // the first IDs, or a part of the error
	}{
		{"all types", set(t, jwk(t, "rsa", map[string]any{"kid": "a"}), jwk(t, "p384", map[string]any{"kid": "b"}), jwk(t, "ed25519", map[string]any{"kid": "c"})), "a b c"},
		{"a key without an ID", set(t, jwk(t, "p256", nil)), thumbprint},
		{"others are passed over", set(t, symmetric, unknown, jwk(t, "rsa", map[string]any{"kid": "enc", "use": "enc"}), jwk(t, "p256", map[string]any{"kid": "a", "use": "sig"})), "a"},
		{"one ID twice", set(t, jwk(t, "rsa", map[string]any{"kid": "a"}), jwk(t, "p256", map[string]any{"kid": "a"})), "a a"},

		{"only symmetric", set(t, symmetric), "it is symmetric"},
		{"only unknown", set(t, unknown), "not a JSON Web Key of a known type"},
		{"too small", set(t, jwk(t, "rsa-small", nil)), "a size that is not for signing"},
		{"an algorithm of another type", set(t, jwk(t, "p256", map[string]any{"alg": "RS256"})), "its algorithm is not one of its type"},
		{"a symmetric algorithm", set(t, jwk(t, "p256", map[string]any{"alg": "HS256"})), "its algorithm is not one of its type"},
		{"a long ID", set(t, jwk(t, "p256", map[string]any{"kid": strings.Repeat("k", maxKeyID+1)})), "longer than 256 bytes"},
		{"none", set(t), "no keys"},
		{"no set", []byte(`{"kty":"EC"}`), "no keys"},
		{"keys twice", []byte(`{"keys":[],"keys":[]}`), "not a JSON Web Key Set"},
		{"no JSON", []byte("-----BEGIN"), "not a JSON Web Key Set"},
		{"too many", set(t, slices.Repeat([]json.RawMessage{jwk(t, "p256", nil)}, maxKeys+1)...), "more than 64 keys"},
	}
	for _, test := range tests {
		r, err := parseSet(test.data)
		if err != nil {
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v, want %s", test.name, err, test.want)
			}
			continue
		}
		var ids []string
		for _, k := range r.keys {
			ids = append(ids, k.IDs[0])
		}
		if got := strings.Join(ids, " "); got != test.want {
			t.Errorf("%s: keys %s, want %s", test.name, got, test.want)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "no certificate in PEM"},
		{"words", "no certificate in PEM"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})), "certificate 1 cannot be read"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), "public key 1 cannot be read"},
		{string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")})), "no certificate in PEM"},
	} {
		if r, err := parseCertificates([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %+v, %v, want %s", test.text, r, err, test.want)
		}
	}
}
