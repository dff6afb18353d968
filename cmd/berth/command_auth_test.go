package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/crypto/bcrypt"
)

func TestAuthTestHtpasswd(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("secret-1"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "htpasswd")
	writeFile(t, file, "# users\nuser1:"+string(hash)+"\nold:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
	config := writeFile(t, filepath.Join(dir, "config.yml"), "auth: {htpasswd: {realm: r, path: "+file+"}}\n")
	lost := writeFile(t, filepath.Join(dir, "lost.yml"), "auth: {htpasswd: {realm: r, path: "+file+"-lost}}\n")
	for _, tt := range []struct {
		config, args, stdin string
		code                int
		want                []string
	}{
		{config, "--user user1", "", 0, []string{"users: 2", "line 2", "bcrypt, cost 4", "htpasswd -B -C 10", "ok: user1 is in the file, and may log in"}},
		{config, "--user user1 --password-stdin", "secret-1\n", 0, []string{"ok    password", "ok: user1 would get in"}},
		{config, "--user user1 --password-stdin", "secret-2\n", 1, []string{"FAIL  password", "failed: password: wrong user name or password"}},
		{config, "--user old", "", 1, []string{"line 3", "FAIL  hash", "SHA-1", "htpasswd -B"}},
		{config, "--user USER1", "", 1, []string{"FAIL  user", "USER1 is not in the file", "letter by letter"}},
		{lost, "--user user1", "", 1, []string{"FAIL  file", "there is no password file"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			args := append([]string{"auth", "test", "htpasswd", "--config", tt.config}, strings.Fields(tt.args)...)
			stdout, stderr, code := commandWith(t, tt.stdin, args...)
			if code != tt.code {
				t.Errorf("exit %d: %s", code, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in\n%s", want, stdout)
				}
			}
			if strings.Contains(stdout+stderr, "secret-") || strings.Contains(stdout+stderr, string(hash)) {
				t.Errorf("it tells a secret:\n%s%s", stdout, stderr)
			}
		})
	}

	none := writeFile(t, filepath.Join(dir, "none.yml"), "auth: {accounts: {enabled: true}}\n")
	for _, kind := range backendKinds {
		_, stderr, code := command(t, "auth", "test", kind, "--config", none, "--user", "user1")
		if want := "auth." + kind + " is not configured"; code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
	stdout, stderr, code := command(t, "auth", "test", "htpasswd", "--config", config, "--user", "user1", "-o", "json")
	var r trial
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != 0 || !r.OK || r.Kind != "htpasswd" || len(r.Steps) != 4 {
		t.Errorf("exit %d, %v: %s%s", code, err, stdout, stderr)
	}
}

// TestAuthTestProvider asks a provider that is in order, and others that are
// not.
func TestAuthTestProvider(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	const good = `{"issuer": "$BASE", "authorization_endpoint": "$BASE/login", "token_endpoint": "$BASE/token", "jwks_uri": "$BASE/keys"}`
	for _, tt := range []struct {
		name            string
		discovery, keys string
		ahead           time.Duration
		ok              bool
		want            []string
	}{
		{"good", good, string(keys), 0, true, []string{"logins at ", "TLS 1.3", "certificate: ", "keys for signatures: 1 (ES256)", "ok    clock"}},
		{"clock a little off", good, string(keys), 20 * time.Second, true, []string{"differs by ", "warning: "}},
		{"clock far off", good, string(keys), -time.Hour, false, []string{"FAIL  clock", "tokens are refused"}},
		{"another issuer", strings.Replace(good, `"$BASE"`, `"https://other.test"`, 1), string(keys), 0, false, []string{"FAIL  issuer", "https://other.test"}},
		{"not a provider", "<html>", string(keys), 0, false, []string{"FAIL  discovery", "openid-configuration"}},
		{"no token endpoint", strings.Replace(good, "token_endpoint", "x", 1), string(keys), 0, false, []string{"no token_endpoint"}},
		{"no keys", good, `{"keys": []}`, 0, false, []string{"FAIL  keys", "none of the keys"}},
		{"endless keys", good, strings.Repeat(" ", maxProviderAnswer+1), 0, false, []string{"FAIL  keys", "larger than"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var base string
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Date", time.Now().Add(tt.ahead).UTC().Format(http.TimeFormat))
				text := tt.keys
				if r.URL.Path == "/.well-known/openid-configuration" {
					text = strings.ReplaceAll(tt.discovery, "$BASE", base)
				}
				fmt.Fprint(w, text)
			}))
			defer server.Close()
			base = server.URL
			p := providerTrial{trial: &trial{Kind: "oidc"}, client: server.Client(), issuer: base}
			p.run(t.Context())
			p.conclude()
			text := p.text()
			if p.OK != tt.ok {
				t.Errorf("ok: %v", p.OK)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in\n%s", want, text)
				}
			}
		})
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	p := providerTrial{trial: &trial{Kind: "oidc"}, client: http.DefaultClient, issuer: server.URL}
	p.run(t.Context())
	p.conclude()
	if p.OK || !strings.Contains(p.text(), "certificate") {
		t.Errorf("a certificate that nobody vouches for:\n%s", p.text())
	}
}

// TestAuthTestOIDC asks the provider that a configuration names.
func TestAuthTestOIDC(t *testing.T) {
	var base string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "authorization_endpoint": "a", "token_endpoint": "b", "jwks_uri": "%s/keys", "keys": []}`, base, base)
	}))
	defer server.Close()
	base = server.URL
	config := writeFile(t, filepath.Join(t.TempDir(), "config.yml"),
		"auth: {oidc: [{name: sso, issuer: "+base+", clientid: berth}]}\n")
	stdout, stderr, code := command(t, "auth", "test", "oidc", "sso", "--config", config)
	if code != 1 || !strings.Contains(stdout, "ok    issuer") || !strings.Contains(stdout, "FAIL  keys") || !strings.Contains(stdout, "without TLS") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	_, stderr, code = command(t, "auth", "test", "oidc", "other", "--config", config)
	if code != 1 || !strings.Contains(stderr, `auth.oidc has no "other", only sso`) {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
