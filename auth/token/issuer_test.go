package token

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/auth"
)

// A fixture is an Issuer with everything around it in the test's hands.
type fixture struct {
	*Issuer
	store *memory
	time  time.Time
	users map[string]auth.Identity
	down  error
}

var alice = auth.Identity{
	Subject: auth.Subject{Provider: "accounts", Name: "alice"},
	Groups:  []string{"dev"},
	Version: "v1",
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		store: &memory{},
		time:  time.Unix(1_800_000_000, 0).UTC(),
		users: map[string]auth.Identity{"alice": alice},
	}
	f.Issuer = f.another(t, Options{})
	return f
}

// another returns another Issuer on the same store.
func (f *fixture) another(t testing.TB, o Options) *Issuer {
	t.Helper()
	if o.Service == "" {
		o.Service = "registry.test"
	}
	o.Issuer = "berth"
	if o.Now == nil {
		o.Now = func() time.Time { return f.time }
	}
	o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	o.Resolve = func(_ context.Context, s auth.Subject) (auth.Identity, error) {
		if f.down != nil {
			return auth.Identity{}, f.down
		}
		id, ok := f.users[s.Name]
		if !ok {
			return auth.Identity{}, auth.ErrNoMatch
		}
		return id, nil
	}
	i, err := NewIssuer(context.Background(), f.store, o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (f *fixture) issue(t testing.TB, scopes ...auth.Scope) string {
	t.Helper()
	token, err := f.Issue(alice, scopes)
	if err != nil {
		t.Fatal(err)
	}
	return token.Value
}

// sign signs what it is told to with the issuer's own key.
func (f *fixture) sign(t testing.TB, header map[string]any, claims string) string {
	t.Helper()
	id, key := f.keys.Load().signing(f.time)
	h := map[string]any{"alg": "EdDSA", "kid": id, "typ": "JWT"}
	for k, v := range header {
		h[k] = v
	}
	return compact(t, h, claims, func(b []byte) []byte { return ed25519.Sign(key, b) })
}

func compact(t testing.TB, header map[string]any, claims string, sign func([]byte) []byte) string {
	t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode(h) + "." + encode([]byte(claims))
	return signed + "." + encode(sign([]byte(signed)))
}

func TestIssueVerify(t *testing.T) {
	f := newFixture(t)
	scopes := []auth.Scope{
		{Type: "repository", Name: "team/app", Actions: []string{"pull", "push"}},
		{Type: "registry", Name: "catalog", Actions: []string{"*"}},
	}
	token, err := f.Issue(alice, scopes)
	if err != nil {
		t.Fatal(err)
	}
	if token.ExpiresIn != 900 || !token.IssuedAt.Equal(f.time) || token.IssuedAt.Location() != time.UTC {
		t.Errorf("issued %+v", token)
	}
	want := Claims{
		Subject: alice.Subject, Version: "v1", Scopes: scopes,
		Issued: f.time, Expires: f.time.Add(15 * time.Minute),
	}
	for range 2 { // parsed, and remembered
		got, err := f.Verify(context.Background(), token.Value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Claims{})); diff != "" {
			t.Error(diff)
		}
	}

	anonymous, err := f.Issue(auth.Identity{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.Verify(context.Background(), anonymous.Value)
	if err != nil || !c.Subject.Anonymous() || len(c.Scopes) != 0 {
		t.Errorf("anonymous: %+v, %v", c, err)
	}
}

// TestIssueFormat checks what those read who verify tokens without us.
func TestIssueFormat(t *testing.T) {
	f := newFixture(t)
	var header, claims map[string]any
	for i, part := range strings.Split(f.issue(t), ".")[:2] {
		data, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, []any{&header, &claims}[i]); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]any{"alg": "EdDSA", "typ": "JWT", "kid": f.store.keys[0].ID}, header); diff != "" {
		t.Error(diff)
	}
	if id, _ := claims["jti"].(string); len(id) < 20 {
		t.Errorf("jti is %v", claims["jti"])
	}
	delete(claims, "jti")
	now := float64(f.time.Unix())
	want := map[string]any{
		"iss": "berth", "sub": "alice", "aud": "registry.test", "iat": now, "nbf": now, "exp": now + 900,
		"access": []any{}, "berth_provider": "accounts", "berth_version": "v1",
	}
	if list, ok := claims["aud"].([]any); ok && len(list) == 1 {
		claims["aud"] = list[0]
	}
	if diff := cmp.Diff(want, claims); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyTimes(t *testing.T) {
	f := newFixture(t)
	raw := f.issue(t)
	start := f.time
	for _, test := range []struct {
		after          time.Duration
		valid, expired bool
	}{
		{-61 * time.Second, false, false},
		{-60 * time.Second, true, false},
		{15*time.Minute - time.Second, true, false},
		{15 * time.Minute, true, true},
		{75 * time.Minute, true, true},
		{75*time.Minute + time.Second, false, false},
	} {
		f.time = start.Add(test.after)
		c, err := f.Verify(context.Background(), raw)
		if (err == nil) != test.valid || c.Expired != test.expired {
			t.Errorf("after %v: expired %v, %v", test.after, c.Expired, err)
		}
	}
	short := f.another(t, Options{Expiration: time.Second})
	if token, err := short.Issue(alice, nil); err != nil || token.ExpiresIn != 60 {
		t.Errorf("expires in %d s, %v", token.ExpiresIn, err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	f := newFixture(t)
	now := f.time.Unix()
	claims := func(change string, value string) string {
		m := map[string]string{
			"iss": `"berth"`, "sub": `"alice"`, "aud": `"registry.test"`, "jti": `"x"`, "access": `[]`,
			"berth_provider": `"accounts"`, "berth_version": `"v1"`,
			"exp": fmt.Sprint(now + 60), "iat": fmt.Sprint(now), "nbf": fmt.Sprint(now),
		}
		m[change] = value
		var pairs []string
		for k, v := range m {
			if k != "" && v != "" {
				pairs = append(pairs, fmt.Sprintf("%q:%s", k, v))
			}
		}
		return "{" + strings.Join(pairs, ",") + "}"
	}
	good := claims("", "")
	if _, err := f.Verify(context.Background(), f.sign(t, nil, good)); err != nil {
		t.Fatalf("the token that the others are made of: %v", err)
	}
	_, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, key := f.keys.Load().signing(f.time)
	public := key.Public().(ed25519.PublicKey)
	none := func([]byte) []byte { return nil }
	hmacWith := func(secret []byte) string {
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: secret, KeyID: id}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		o, err := s.Sign([]byte(good))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	strangerSigns := func(b []byte) []byte { return ed25519.Sign(stranger, b) }
	strangerJWK := jose.JSONWebKey{Key: stranger.Public(), KeyID: id}
	whole := f.sign(t, nil, good)

	tests := map[string]string{
		"empty":               "",
		"no token":            "x.y.z",
		"too large":           whole + strings.Repeat("A", maxToken),
		"alg none":            compact(t, map[string]any{"alg": "none", "kid": id}, good, none),
		"alg None":            compact(t, map[string]any{"alg": "None", "kid": id}, good, none),
		"no alg":              compact(t, map[string]any{"kid": id}, good, none),
		"signed with public":  hmacWith(append(public, make([]byte, 32)...)),
		"no signature":        strings.Join(strings.Split(whole, ".")[:2], ".") + ".",
		"stranger's":          compact(t, map[string]any{"alg": "EdDSA", "kid": id}, good, strangerSigns),
		"stranger's jwk":      compact(t, map[string]any{"alg": "EdDSA", "kid": id, "jwk": strangerJWK}, good, strangerSigns),
		"jwk alone":           compact(t, map[string]any{"alg": "EdDSA", "jwk": strangerJWK}, good, strangerSigns),
		"no kid":              f.sign(t, map[string]any{"kid": ""}, good),
		"path as kid":         f.sign(t, map[string]any{"kid": "../../dev/null"}, good),
		"query as kid":        f.sign(t, map[string]any{"kid": "' OR 1=1"}, good),
		"crit":                f.sign(t, map[string]any{"crit": []string{"x"}, "x": 1}, good),
		"other issuer":        f.sign(t, nil, claims("iss", `"other"`)),
		"other service":       f.sign(t, nil, claims("aud", `"other"`)),
		"no service":          f.sign(t, nil, claims("aud", "")),
		"no exp":              f.sign(t, nil, claims("exp", "")),
		"exp null":            f.sign(t, nil, claims("exp", "null")),
		"exp soon":            f.sign(t, nil, claims("exp", `"soon"`)),
		"exp 1e400":           f.sign(t, nil, claims("exp", "1e400")),
		"exp -1":              f.sign(t, nil, claims("exp", "-1")),
		"no iat":              f.sign(t, nil, claims("iat", "")),
		"iat to come":         f.sign(t, nil, claims("iat", fmt.Sprint(now+61))),
		"nbf to come":         f.sign(t, nil, claims("nbf", fmt.Sprint(now+61))),
		"provider, no sub":    f.sign(t, nil, claims("sub", `""`)),
		"access of odd shape": f.sign(t, nil, claims("access", `{"type":1}`)),
		"no object":           f.sign(t, nil, `[]`),
		"refresh token":       string(auth.RefreshForm) + strings.Repeat("A", 59),
	}
	for name, raw := range tests {
		if c, err := f.Verify(context.Background(), raw); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		} else if len(raw) > 20 && strings.Contains(err.Error(), raw[:20]) {
			t.Errorf("%s: the error holds the token", name)
		}
	}
}

func FuzzVerify(f *testing.F) {
	fix := newFixture(f)
	whole := fix.issue(f)
	ours, err := fix.Verify(context.Background(), whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add(whole[:len(whole)-4] + "AAAA")
	f.Add("..")
	f.Add(`{"payload":"e30","signatures":[{"protected":"e30","signature":""}]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := fix.Verify(context.Background(), raw)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", raw, err)
		}
		if err == nil && !cmp.Equal(c, ours, cmpopts.IgnoreUnexported(Claims{})) {
			t.Errorf("%q is valid, and says %+v", raw, c)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	f := newFixture(b)
	raw := f.issue(b, auth.Scope{Type: "repository", Name: "team/app", Actions: []string{"pull"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Verify(context.Background(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIssue(b *testing.B) {
	f := newFixture(b)
	scopes := []auth.Scope{{Type: "repository", Name: "team/app", Actions: []string{"pull", "push"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Issue(alice, scopes); err != nil {
			b.Fatal(err)
		}
	}
}
