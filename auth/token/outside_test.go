package token

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"berth/auth"
	"berth/auth/jwks"
)

// TestOutsideShapes has the tokens of token servers in the field, by the ways
// in which they call for a key.
func TestOutsideShapes(t *testing.T) {
	w := newWorld(t)
	v := w.outside(t)
	want := Claims{
		Subject: auth.Subject{Provider: "token", Name: "token/alice"},
		Scopes:  []auth.Scope{{Type: "repository", Name: "team/app", Actions: []string{"pull", "push"}}},
		Issued:  w.time.UTC(), Expires: w.time.Add(5 * time.Minute).UTC(),
	}
	leafJWK := jose.JSONWebKey{Key: w.leaf.key.Public(), Certificates: []*x509.Certificate{w.leaf.cert, w.root.cert}}
	for shape, raw := range map[string]string{
		"docker_auth, libtrust":   token(t, w.self, kid(w.self.libtrust(t)), w.claims(nil)),
		"docker_auth, RFC 7638":   token(t, w.self, kid(w.self.thumbprint(t)), w.claims(nil)),
		"GitLab":                  token(t, w.self, kid(w.self.libtrust(t)), w.claims(map[string]any{"auth_type": "gitlab_or_ldap"})),
		"Keycloak":                token(t, w.self, kid(w.self.libtrust(t)), w.claims(map[string]any{"typ": "Bearer", "azp": "registry.example.org"})),
		"a key set":               token(t, w.set, kid("set-1"), w.claims(nil)),
		"x5c of the bundle":       token(t, w.self, x5c(w.self), w.claims(nil)),
		"x5c of an authority":     token(t, w.leaf, x5c(w.leaf), w.claims(nil)),
		"x5c with its authority":  token(t, w.leaf, x5c(w.leaf, w.root), w.claims(nil)),
		"x5c and an unknown name": token(t, w.leaf, map[string]any{"kid": "other", "x5c": x5c(w.leaf)["x5c"]}, w.claims(nil)),
		"jwk with certificates":   token(t, w.leaf, map[string]any{"jwk": leafJWK}, w.claims(nil)),
		"jwk of the bundle":       token(t, w.self, map[string]any{"jwk": jose.JSONWebKey{Key: w.self.key.Public()}}, w.claims(nil)),
		"jwk of the key set":      token(t, w.set, map[string]any{"jwk": jose.JSONWebKey{Key: w.set.key.Public()}}, w.claims(nil)),
		"aud of several":          token(t, w.set, kid("set-1"), w.claims(map[string]any{"aud": []string{"other", "registry.example.org"}})),
	} {
		got, err := v.Verify(context.Background(), raw)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Claims{})); err != nil || diff != "" {
			t.Errorf("%s: %v %s", shape, err, diff)
		}
	}
}

func TestOutsideClaims(t *testing.T) {
	w := newWorld(t)
	v := w.outside(t)
	verify := func(changes map[string]any) (Claims, error) {
		return v.Verify(context.Background(), token(t, w.set, kid("set-1"), w.claims(changes)))
	}
	access := func(entries ...any) map[string]any { return map[string]any{"access": entries} }
	for name, test := range map[string]struct {
		changes map[string]any
		user    string
		scopes  string
	}{
		"nobody":            {map[string]any{"sub": ""}, "", "repository:team/app:pull,push"},
		"no sub":            {map[string]any{"sub": nil}, "", "repository:team/app:pull,push"},
		"no access":         {map[string]any{"access": nil}, "token/alice", ""},
		"no nbf and no iat": {map[string]any{"nbf": nil, "iat": nil}, "token/alice", "repository:team/app:pull,push"},
		"the catalog":       {access(map[string]any{"type": "registry", "name": "catalog", "actions": []string{"*"}}), "token/alice", "registry:catalog:*"},
		"an unknown type":   {access(map[string]any{"type": "robots", "name": "x", "actions": []string{"*"}}), "token/alice", ""},
		"no actions":        {access(map[string]any{"type": "repository", "name": "x"}), "token/alice", "repository:x:"},
		"a minute late":     {map[string]any{"exp": w.time.Unix() - 59}, "token/alice", "repository:team/app:pull,push"},
		"a minute early":    {map[string]any{"nbf": w.time.Unix() + 60, "iat": w.time.Unix() + 60}, "token/alice", "repository:team/app:pull,push"},
		"claims of ours":    {map[string]any{"berth_provider": "accounts", "berth_credential": "x"}, "token/alice", "repository:team/app:pull,push"},
	} {
		c, err := verify(test.changes)
		var scopes []string
		for _, s := range c.Scopes {
			scopes = append(scopes, s.String())
		}
		if err != nil || c.Subject.Name != test.user || c.Subject.Anonymous() != (c.Subject == auth.Subject{}) || strings.Join(scopes, " ") != test.scopes || c.Expired {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	for name, changes := range map[string]map[string]any{
		"another issuer":        {"iss": "auth.example.com"},
		"another service":       {"aud": "registry.example.com"},
		"no service":            {"aud": nil},
		"no exp":                {"exp": nil},
		"exp soon":              {"exp": "soon"},
		"exp -1":                {"exp": -1},
		"exp far beyond":        {"exp": 1e300},
		"run out long ago":      {"exp": w.time.Add(-expiredUse - time.Second).Unix()},
		"nbf ahead":             {"nbf": w.time.Unix() + 61},
		"nbf never":             {"nbf": "never"},
		"iat ahead":             {"iat": w.time.Unix() + 61},
		"iat no time":           {"iat": true},
		"sub a number":          {"sub": 7},
		"sub with a line break": {"sub": "a\nb"},
		"sub too long":          {"sub": strings.Repeat("x", 250)},
		"access a text":         {"access": "repository:team/app:*"},
		"access of texts":       access("repository:team/app:*"),
	} {
		if c, err := verify(changes); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if c, err := verify(map[string]any{"exp": w.time.Unix() - 60}); err != nil || !c.Expired {
		t.Errorf("for an upload that was begun: %+v, %v", c, err)
	}
}

// TestOutsideChanges: keys change while berth runs.
func TestOutsideChanges(t *testing.T) {
	w := newWorld(t)
	var down atomic.Bool
	served := w.set.jwks(t, "url-1")
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		rw.Write(served)
	}))
	defer server.Close()
	down.Store(true)
	v := w.outside(t, func(o *OutsideOptions) { o.Keys = &jwks.Source{URL: server.URL} })
	byURL := token(t, w.set, kid("url-1"), w.claims(nil))
	verify := func(raw string) error {
		_, err := v.Verify(context.Background(), raw)
		return err
	}
	if err := verify(byURL); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("while the keys are not known: %v", err)
	}
	if err := verify(token(t, w.leaf, map[string]any{"kid": "x", "x5c": x5c(w.leaf)["x5c"]}, w.claims(nil))); err != nil {
		t.Errorf("by certificate, meanwhile: %v", err)
	}
	if v.Degraded() == "" {
		t.Error("all is well")
	}
	down.Store(false)
	w.time = w.time.Add(10 * time.Second)
	if err := verify(byURL); err != nil {
		t.Errorf("when they are: %v", err)
	}
	next := w.certify(t, ecKey(t), nil, nil)
	byNext := token(t, next, kid(next.libtrust(t)), w.claims(nil))
	if err := verify(byNext); !errors.Is(err, ErrInvalid) {
		t.Errorf("a certificate that is not in the bundle: %v", err)
	}
	w.write(t, "bundle.pem", next.pem())
	if err := v.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := verify(byNext); err != nil {
		t.Errorf("when it is: %v", err)
	}
	if err := verify(token(t, w.self, kid(w.self.libtrust(t)), w.claims(nil))); !errors.Is(err, ErrInvalid) {
		t.Errorf("one that is in it no more: %v", err)
	}
	w.write(t, "bundle.pem", nil)
	if v.Reload() == nil {
		t.Error("an empty bundle is taken")
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { v.Run(ctx) })
	cancel()
	running.Wait()
	if err := verify(byNext); err != nil || v.Degraded() == "" {
		t.Errorf("after an edit that is of no use: %v, degraded %q", err, v.Degraded())
	}
}

// TestOutsideSubjects: the names of outside tokens are nobody else's.
func TestOutsideSubjects(t *testing.T) {
	v := newWorld(t).outside(t)
	ctx := context.Background()
	want := auth.Subject{Provider: "token", Name: "token/alice"}
	for _, s := range []auth.Subject{want, {Name: "token/alice"}} {
		if id, err := v.Resolve(ctx, s); err != nil || id.Subject != want {
			t.Errorf("%+v: %+v, %v", s, id, err)
		}
	}
	for _, s := range []auth.Subject{{Name: "alice"}, {}, {Provider: "accounts", Name: "token/alice"}, {Provider: "token", Name: "token/alice", Credential: "x"}} {
		if id, err := v.Resolve(ctx, s); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%+v: %+v, %v", s, id, err)
		}
	}
	if _, err := v.Authenticate(ctx, auth.Credentials{User: "token/alice", Password: "x"}); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a password: %v", err)
	}
	if _, err := v.Authenticate(ctx, auth.Credentials{User: "alice", Password: "x"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("a user: %v", err)
	}
}

func TestOutsideOptions(t *testing.T) {
	w := newWorld(t)
	for name, o := range map[string]OutsideOptions{
		"no issuer":  {Service: "s", Certificates: w.path("bundle.pem")},
		"no service": {Issuer: "i", Certificates: w.path("bundle.pem")},
		"no keys":    {Issuer: "i", Service: "s"},
		"no file":    {Issuer: "i", Service: "s", Certificates: w.path("none")},
		"no JSON":    {Issuer: "i", Service: "s", Certificates: w.path("bundle.pem"), Keys: &jwks.Source{File: w.path("bundle.pem")}},
		"no PEM":     {Issuer: "i", Service: "s", Certificates: w.path("keys.json")},
	} {
		if v, err := NewOutside(o); err == nil {
			t.Errorf("%s: %+v", name, v)
		}
	}
}
