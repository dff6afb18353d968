package trust

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"berth/auth"
	"berth/auth/jwks"
)

// part encodes a part of a token.
func part(v string) string { return base64.RawURLEncoding.EncodeToString([]byte(v)) }

// with returns the token with another header, which its signature is not over.
func with(header string, token auth.Secret) auth.Secret {
	parts := strings.Split(token.Reveal(), ".")
	return auth.Secret(part(header) + "." + parts[1] + "." + parts[2])
}

// headed signs the claims of a token with a key and a header of the attacker's.
func headed(t *testing.T, key any, algorithm jose.SignatureAlgorithm, header map[string]any, token auth.Secret) auth.Secret {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Reveal(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	o := new(jose.SignerOptions)
	for k, v := range header {
		o.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return auth.Secret(raw)
}

// TestForged: nothing is believed that the issuer has not signed, whatever a
// header says about keys, and nobody is asked for any.
func TestForged(t *testing.T) {
	server := serveIssuer(t)
	f := newFixture(t)
	token := f.sign(t, f.now, nil)
	parts := strings.Split(token.Reveal(), ".")
	mine := newSigner(t, "mine")
	mineJWK := jose.JSONWebKey{Key: mine.key.Public(), KeyID: "k1"}
	tests := map[string]auth.Secret{
		"alg none":                 auth.Secret(part(`{"alg":"none","kid":"k1"}`) + "." + parts[1] + "."),
		"alg None":                 auth.Secret(part(`{"alg":"None","kid":"k1"}`) + "." + parts[1] + "."),
		"alg nOnE":                 auth.Secret(part(`{"alg":"nOnE","kid":"k1"}`) + "." + parts[1] + "." + parts[2]),
		"alg empty":                with(`{"alg":"","kid":"k1"}`, token),
		"no alg":                   with(`{"kid":"k1"}`, token),
		"another alg":              with(`{"alg":"RS256","kid":"k1"}`, token),
		"no signature":             auth.Secret(parts[0] + "." + parts[1] + "."),
		"another signature":        auth.Secret(parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2]))),
		"kid a path":               with(`{"alg":"ES256","kid":"../../dev/null"}`, token),
		"kid SQL":                  with(`{"alg":"ES256","kid":"' OR 1=1 --"}`, token),
		"kid unknown":              headed(t, f.key, jose.ES256, map[string]any{"kid": "k2"}, token),
		"kid of another case":      headed(t, f.key, jose.ES256, map[string]any{"kid": "K1"}, token),
		"kid of zeros":             headed(t, f.key, jose.ES256, map[string]any{"kid": "k1\x00"}, token),
		"another key, its kid":     headed(t, mine.key, jose.ES256, map[string]any{"kid": "k1"}, token),
		"another key, no kid":      headed(t, mine.key, jose.ES256, nil, token),
		"jwk":                      headed(t, mine.key, jose.ES256, map[string]any{"jwk": mineJWK}, token),
		"jwk and kid":              headed(t, mine.key, jose.ES256, map[string]any{"jwk": mineJWK, "kid": "k1"}, token),
		"jku":                      headed(t, mine.key, jose.ES256, map[string]any{"jku": server.URL, "kid": "k1"}, token),
		"x5u":                      headed(t, mine.key, jose.ES256, map[string]any{"x5u": server.URL, "kid": "k1"}, token),
		"crit":                     headed(t, f.key, jose.ES256, map[string]any{"kid": "k1", "crit": []string{"x"}, "x": true}, token),
		"claims of another token":  auth.Secret(parts[0] + "." + strings.Split(f.sign(t, f.now, claims{"ref": "x"}).Reveal(), ".")[1] + "." + parts[2]),
		"a JWE":                    auth.Secret(part(`{"alg":"dir","enc":"A128GCM","zip":"DEF"}`) + ".." + parts[1] + "." + parts[1] + ".AAAA"),
		"JSON":                     auth.Secret(`{"payload":"` + parts[1] + `","header":{"alg":"none"},"signature":""}`),
		"a claim twice":            f.signRaw(t, `{"iss":"`+github+`","iss":"`+github+`"}`),
		"a claim twice, deep":      f.signRaw(t, `{"iss":"`+github+`","a":{"b":1,"b":2}}`),
		"iss in another case":      f.signRaw(t, `{"ISS":"`+github+`"}`),
		"exp 1e400":                f.signRaw(t, `{"iss":"`+github+`","aud":"`+here+`","exp":1e400,"iat":1800000000,"repository_id":"1234","ref":"refs/heads/main","repository":"a"}`),
		"more behind the claims":   f.signRaw(t, `{"iss":"`+github+`"} {}`),
		"a payload that is a list": f.signRaw(t, `["`+github+`"]`),
	}
	for form, secret := range publicForms(t, f) {
		for _, algorithm := range []jose.SignatureAlgorithm{jose.HS256, jose.HS384, jose.HS512} {
			padded := append(append([]byte{}, secret...), make([]byte, max(0, 64-len(secret)))...)
			tests[form+" as a secret, "+string(algorithm)] = headed(t, padded, algorithm, map[string]any{"kid": "k1"}, token)
		}
	}
	for name, forged := range tests {
		c := from("192.0.2.1", forged)
		if !f.Recognizes(c) {
			continue // it is no password of anybody
		}
		if id, err := f.Authenticate(context.Background(), c); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s: %+v, %v", name, id, err)
		} else if name != "crit" && !strings.HasPrefix(name, "exp") && err.Error() != auth.ErrBadCredentials.Error() {
			t.Errorf("%s: the client is told %v", name, err)
		}
		if _, err := f.Explain(context.Background(), forged); err != nil && strings.Contains(err.Error(), parts[1]) {
			t.Errorf("%s: the explanation holds the token: %v", name, err)
		}
	}
	if n := server.asked.Load(); n != 0 {
		t.Errorf("a key was fetched from where a header said, %d times", n)
	}
	if _, err := f.Authenticate(context.Background(), from("192.0.2.1", token)); err != nil {
		t.Errorf("the token itself: %v", err)
	}
}

// publicForms returns what is published of a key, in each form that a careless
// reader may take for a secret.
func publicForms(t *testing.T, f *fixture) map[string][]byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(f.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	point, err := f.key.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return map[string][]byte{"DER": der, "PEM": block, "PEM, trimmed": block[:len(block)-1], "a point": point, "JWKS": keys(t, f.signer)}
}

// FuzzJWT: whatever stands in the place of a password, nothing breaks, and
// nobody is anybody by what the issuer did not sign.
func FuzzJWT(f *testing.F) {
	x := newFixture(f, func(r *Rule) { r.Replay = ReplayOff })
	whole := x.sign(f, x.now, nil)
	parts := strings.Split(whole.Reveal(), ".")
	var texts [2][]byte
	for i := range texts {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			f.Fatal(err)
		}
		texts[i] = text
	}
	f.Add(texts[0], texts[1], []byte("signature"))
	f.Fuzz(func(t *testing.T, header, payload, signature []byte) {
		encode := base64.RawURLEncoding.EncodeToString
		raw := auth.Secret(encode(header) + "." + encode(payload) + "." + encode(signature))
		c := from("192.0.2.1", raw)
		if id, err := x.Authenticate(context.Background(), c); err == nil && raw != whole {
			t.Errorf("%s is %+v", raw.Reveal(), id)
		}
		// The same claims as if the issuer had signed them: who they make of
		// the bearer is who the rule says.
		var said jwks.Claims
		if json.Unmarshal(payload, &said) != nil {
			return
		}
		signed := x.signRaw(t, string(payload))
		id, err := x.Authenticate(context.Background(), from("192.0.2.1", signed))
		if err == nil && (said.Text("iss") != github || auth.CheckName(id.Name) != nil || !strings.HasPrefix(id.Name, "github/ci:")) {
			t.Errorf("%s is %+v", payload, id)
		}
		if name := said.Text("repository"); err == nil && name != "" && id.Name != "github/ci:"+name {
			t.Errorf("%s is %+v", payload, id)
		}
		if e, err := x.Explain(context.Background(), signed); (err == nil) != (len(e.Rules) == 1) {
			t.Errorf("%s is explained as %+v, %v", payload, e, err)
		}
	})
}
