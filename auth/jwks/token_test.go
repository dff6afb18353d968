package jwks

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

func TestVerifiedBy(t *testing.T) {
	r, err := parseSet(set(t, jwk(t, "rsa", nil), jwk(t, "p256", nil), jwk(t, "p384", nil), jwk(t, "p521", nil), jwk(t, "ed25519", nil)))
	if err != nil {
		t.Fatal(err)
	}
	only, err := parseSet(set(t, jwk(t, "rsa", map[string]any{"alg": "PS256"})))
	if err != nil {
		t.Fatal(err)
	}
	algorithms := map[jose.SignatureAlgorithm]string{
		jose.RS256: "rsa", jose.RS512: "rsa", jose.PS256: "rsa", jose.ES256: "p256", jose.ES384: "p384", jose.ES512: "p521", jose.EdDSA: "ed25519",
	}
	for algorithm, signer := range algorithms {
		raw := sign(t, signer, algorithm, map[string]any{"kid": "k"}, `{"iss":"me"}`)
		token, err := ParseToken(raw)
		if err != nil {
			t.Fatalf("%s: %v", algorithm, err)
		}
		if token.Header.KeyID != "k" || token.Claims.Text("iss") != "me" {
			t.Errorf("%s: %+v", algorithm, token)
		}
		for i, name := range []string{"rsa", "p256", "p384", "p521", "ed25519"} {
			if got := token.VerifiedBy(r.keys[i]); got != (name == signer) {
				t.Errorf("%s by %s: %v", algorithm, name, got)
			}
		}
		if !token.VerifiedBy(r.keys...) {
			t.Errorf("%s by all: false", algorithm)
		}
		if got := token.VerifiedBy(only.keys...); got != (algorithm == jose.PS256) {
			t.Errorf("%s by a key for PS256: %v", algorithm, got)
		}
		other, err := ParseToken(raw[:len(raw)-8] + "AAAAAAAA")
		if err != nil || other.VerifiedBy(r.keys...) {
			t.Errorf("%s with another signature: %v", algorithm, err)
		}
	}
}

func TestParseTokenRefuses(t *testing.T) {
	claims := func(s string) string { return sign(t, "p256", jose.ES256, nil, s) }
	whole := claims(`{"iss":"me"}`)
	parts := strings.Split(whole, ".")
	for name, raw := range map[string]string{
		"empty":                   "",
		"words":                   "not a token",
		"two parts":               parts[0] + "." + parts[1],
		"four parts":              whole + ".AAAA",
		"encrypted":               part(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + ".." + parts[1] + "." + parts[1] + ".AAAA",
		"JSON form":               `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"alg none":                part(`{"alg":"none"}`) + "." + parts[1] + ".",
		"alg None":                part(`{"alg":"None"}`) + "." + parts[1] + ".",
		"no alg":                  part(`{}`) + "." + parts[1] + "." + parts[2],
		"alg empty":               part(`{"alg":""}`) + "." + parts[1] + "." + parts[2],
		"alg HS256":               part(`{"alg":"HS256"}`) + "." + parts[1] + "." + parts[2],
		"alg twice":               part(`{"alg":"ES256","alg":"ES256"}`) + "." + parts[1] + "." + parts[2],
		"alg in another case":     part(`{"ALG":"ES256"}`) + "." + parts[1] + "." + parts[2],
		"a kid that is a number":  part(`{"alg":"ES256","kid":1}`) + "." + parts[1] + "." + parts[2],
		"a private jwk":           part(`{"alg":"ES256","jwk":{"kty":"oct","k":"AAAA"}}`) + "." + parts[1] + "." + parts[2],
		"an x5c that is none":     part(`{"alg":"ES256","x5c":["AAAA"]}`) + "." + parts[1] + "." + parts[2],
		"a kid of a megabyte":     part(`{"alg":"ES256","kid":"`+strings.Repeat("k", 1<<20)+`"}`) + "." + parts[1] + "." + parts[2],
		"no claims":               claims(``),
		"claims null":             claims(`null`),
		"claims that are a list":  claims(`[{"iss":"me"}]`),
		"a claim twice":           claims(`{"iss":"me","iss":"me"}`),
		"a claim twice, deep":     claims(`{"a":{"b":[{"c":1,"c":2}]}}`),
		"more behind the claims":  claims(`{"iss":"me"}{"iss":"you"}`),
		"bad JSON":                claims(`{"iss":"me"`),
		"nested without end":      claims(strings.Repeat(`{"a":`, 9000)),
		"standard base64":         base64.StdEncoding.EncodeToString([]byte(`{"alg":"ES256"}  `)) + "." + parts[1] + "." + parts[2],
		"white space in the form": parts[0] + ".\n" + parts[1] + "." + parts[2],
		"bits left over":          strings.Replace(claims(`{"iss":"me" }`), "fQ.", "fR.", 1),
	} {
		token, err := ParseToken(raw)
		if err == nil {
			t.Errorf("%s: %+v", name, token)
			continue
		}
		if strings.Contains(err.Error(), parts[0]) || strings.Contains(err.Error(), "kkk") {
			t.Errorf("%s: the error holds a part of the token: %v", name, err)
		}
	}
}

// TestCritical: an extension that must be understood and is not makes a token
// worthless.
func TestCritical(t *testing.T) {
	r, err := parseSet(set(t, jwk(t, "p256", nil)))
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]map[string]any{
		"unknown": {"crit": []string{"exp"}, "exp": 1},
		"no list": {"crit": "exp"},
	} {
		token, err := ParseToken(sign(t, "p256", jose.ES256, header, `{}`))
		if err == nil && token.VerifiedBy(r.keys...) {
			t.Errorf("%s: verified", name)
		}
	}
}

func TestClaims(t *testing.T) {
	token, err := ParseToken(sign(t, "p256", jose.ES256, nil, `{
		"iss": "me", "ISS": "you", "sub": 7, "aud": ["a", 1, "b"], "exp": 1800000000, "iat": 1800000000.75, "nbf": 1.8e9,
		"soon": "soon", "huge": 1e400, "large": 1e18, "negative": -1, "nothing": null, "long": 99999999999999999999,
		"id": 12345678901234567890, "flag": true, "list": ["x", 2, false, null, {}],
		"kubernetes.io": {"namespace": "ns", "serviceaccount": {"uid": "u", "name": "sa"}},
		"a/b": "slash", "a": {"b": "nested", "c/d": {"e": "deep"}}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	c := token.Claims
	if c.Text("iss") != "me" || c.Text("sub") != "" || !slices.Equal(c.Audience(), []string{"a", "b"}) {
		t.Errorf("iss %q, sub %q, aud %q", c.Text("iss"), c.Text("sub"), c.Audience())
	}
	want := time.Unix(1_800_000_000, 0).UTC()
	for _, name := range []string{"exp", "iat", "nbf"} {
		if at, found, err := c.Time(name); !at.Equal(want) || !found || err != nil {
			t.Errorf("%s: %v, %v, %v", name, at, found, err)
		}
	}
	if _, found, err := c.Time("none"); found || err != nil {
		t.Errorf("a time that is not there: %v, %v", found, err)
	}
	for _, name := range []string{"soon", "huge", "large", "negative", "nothing", "long", "list"} {
		if at, _, err := c.Time(name); err == nil {
			t.Errorf("%s is a time: %v", name, at)
		}
	}
	for path, want := range map[string][]string{
		"iss": {"me"}, "id": {"12345678901234567890"}, "flag": {"true"}, "list": {"x", "2", "false"}, "nothing": nil, "none": nil,
		"kubernetes.io/namespace": {"ns"}, "kubernetes.io/serviceaccount/uid": {"u"}, "kubernetes.io": nil, "kubernetes.io/": nil,
		"a/b": {"slash"}, "a/c/d/e": {"deep"}, "a": nil, "": nil, "/": nil,
	} {
		value, _ := c.Lookup(path)
		if got := Texts(value); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestSignedPart(t *testing.T) {
	for raw, want := range map[string]string{"a.b.c": "a.b", "": "", "abc": "", ".": ""} {
		if got := SignedPart(raw); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// FuzzToken: whatever comes, nothing breaks, and a key that did not sign does
// not verify.
func FuzzToken(f *testing.F) {
	r, err := parseSet(set(f, jwk(f, "rsa", nil), jwk(f, "p256", nil), jwk(f, "ed25519", nil)))
	if err != nil {
		f.Fatal(err)
	}
	header, claims := []byte(`{"alg":"ES256","kid":"k"}`), []byte(`{"iss":"me"}`)
	whole := sign(f, "p256", jose.ES256, map[string]any{"kid": "k"}, string(claims))
	f.Add(header, claims, []byte{})
	f.Fuzz(func(t *testing.T, header, claims, signature []byte) {
		encode := base64.RawURLEncoding.EncodeToString
		raw := encode(header) + "." + encode(claims) + "." + encode(signature)
		token, err := ParseToken(raw)
		if err != nil {
			return
		}
		if raw != whole && token.VerifiedBy(r.keys...) {
			t.Errorf("verified: %s", raw)
		}
		if bytes.Contains(header, []byte(`"none"`)) && token.algorithm == "none" {
			t.Errorf("it is signed with nothing: %s", raw)
		}
		for name := range token.Claims {
			value, found := token.Claims.Lookup(name)
			if !found {
				t.Errorf("claim %q is not found", name)
			}
			Texts(value)
			if at, _, err := token.Claims.Time(name); err == nil && (at.Unix() < 0 || at.Year() > 9999) {
				t.Errorf("claim %q is the time %v", name, at)
			}
		}
	})
}
