package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// A platform runs jobs and signs their tokens. It publishes its keys by
// discovery, unless it is down.
type platform struct {
	*httptest.Server
	key  *ecdsa.PrivateKey
	down atomic.Bool
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &platform{key: key}
	p.Server = httptest.NewServer(http.HandlerFunc(p.publish))
	t.Cleanup(p.Close)
	return p
}

func (p *platform) publish(w http.ResponseWriter, r *http.Request) {
	var document any
	switch {
	case p.down.Load():
		w.WriteHeader(http.StatusBadGateway)
		return
	case strings.HasPrefix(r.URL.Path, "/.well-known/"):
		document = map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"}
	default:
		document = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k"}}}
	}
	_ = json.NewEncoder(w).Encode(document)
}

// job returns the token of a new job of a project.
func (p *platform) job(t *testing.T, project, ref string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(signer).Claims(map[string]any{
		"iss": p.URL, "aud": "hub.test", "sub": "id-of-" + project, "project": project, "ref": ref,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": rand.Text(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// craneAs runs crane as who has logged in at addr with a password.
func craneAs(t *testing.T, addr, user, password string, args ...string) error {
	t.Helper()
	env := append(os.Environ(), "DOCKER_CONFIG="+t.TempDir())
	login := exec.Command("crane", "auth", "login", addr, "-u", user, "--password-stdin")
	login.Stdin, login.Env = strings.NewReader(password), env
	if out, err := login.CombinedOutput(); err != nil {
		return fmt.Errorf("log in: %w: %s", err, out)
	}
	cmd := exec.Command("crane", append(args, "--insecure")...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// layerFile returns the path of a layer.
func layerFile(t *testing.T) string {
	t.Helper()
	layer, err := layerOf("hello.txt", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "layer.tar")
	write(t, path, string(layer))
	return path
}

// TestKeyless: a job pushes with nothing but the token of its platform, to where
// it may, and only while its rule says so.
func TestKeyless(t *testing.T) {
	need(t, "crane")
	p := newPlatform(t)
	p.down.Store(true)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`
version: 0.1
storage: {filesystem: {rootdirectory: %s}}
auth:
  accounts: {enabled: true}
  trust:
    - {name: ci, issuer: %q, audience: hub.test, match: {sub: id-of-app, ref: main}, user: "job:{project}", groups: jobs}
access:
  - {group: jobs, type: repository, repositories: ["team/**"], action: [pull, push]}
`, filepath.Join(dir, "data"), p.URL)
	write(t, config, text)
	layer := layerFile(t)
	s, err := launch(dir, []string{"serve", config}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	push := func(password, repo string) error {
		t.Helper()
		return craneAs(t, s.addr, "job", password, "append", "-f", layer, "-t", s.addr+"/"+repo+":v1")
	}
	if err := push(p.job(t, "app", "main"), "team/app"); err == nil || strings.Contains(err.Error(), "401") {
		t.Errorf("while nobody knows the platform's keys: %v", err)
	}
	p.down.Store(false)
	time.Sleep(11 * time.Second) // until it is asked again
	if err := push(p.job(t, "app", "main"), "team/app"); err != nil {
		t.Errorf("with them: %v", err)
	}
	p.down.Store(true)
	for _, test := range []struct {
		name, password, repo string
		want                 string // in what crane says; "" is that it works
	}{
		{"to another place of the team", p.job(t, "app", "main"), "team/other", ""},
		{"elsewhere", p.job(t, "app", "main"), "docs", "401"},
		{"from another branch", p.job(t, "app", "dev"), "team/app", "no rule of trust takes this token"},
		{"of another project", p.job(t, "other", "main"), "team/app", "no rule of trust takes this token"},
		{"with a password", "secret", "team/app", "wrong user name or password"},
	} {
		err := push(test.password, test.repo)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	job := (&client{base: s.url(), user: "any", password: p.job(t, "app", "main")}).bearer(t, "repository:team/app:pull")
	job.expect(t, http.StatusOK, "GET", "/v2/team/app/manifests/v1")
	write(t, config, strings.Replace(text, "ref: main", "ref: [main, next]", 1))
	eventually(t, "the end of a bearer of a rule that was changed", func() bool {
		return job.do(t, "GET", "/v2/team/app/manifests/v1", nil, nil).status == http.StatusUnauthorized
	})
	if err := push(p.job(t, "app", "next"), "team/app"); err != nil {
		t.Errorf("by the rule as it is now: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestOutsideTokenServer has two berths: the one is the token server of the
// other, which knows a key of it and nothing else.
func TestOutsideTokenServer(t *testing.T) {
	need(t, "crane")
	layer := layerFile(t)
	for name, by := range map[string]struct{ key, kid string }{
		"RSA signed by itself": {"RSA", ""}, "P-256 of an authority": {"P-256", ""}, "P-384 by libtrust": {"P-384", "libtrust"}, "the key of berth": {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir, "issuer.yml"); err != nil {
				t.Fatal(err)
			}
			var env []string
			trusted := "rootcertbundle: " + filepath.Join(dir, "roots.pem")
			if by.key != "" {
				env = append(writeSigner(t, dir, by.key), "REGISTRY_AUTH_ISSUER_KID="+by.kid)
			}
			s, err := launch(dir, []string{"serve", filepath.Join(dir, "issuer.yml")}, env)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.stop)
			if by.key == "" {
				trusted = "jwks: " + s.url() + "/auth/jwks"
			}
			// crane asks localhost for tokens, and no address of a network of one's own.
			realm := strings.Replace(s.url(), "127.0.0.1", "localhost", 1) + "/auth/token"
			peer := startDistribution(t, "berth", fmt.Sprintf("auth: {token: {realm: %q, service: registry.example.org, issuer: tokens.example.org, %s}}\n", realm, trusted))
			tryOutside(t, peer, layer)
		})
	}
}

// tryOutside does at the peer what the rules of its token server allow, and what
// they do not.
func tryOutside(t *testing.T, peer, layer string) {
	for _, test := range []struct {
		name, user, password string
		args                 []string
		want                 string // in what crane says; "" is that it works
	}{
		{"who may", "user1", "secret1", []string{"append", "-f", layer, "-t", peer + "/team/app:v1"}, ""},
		{"the catalog", "user1", "secret1", []string{"catalog", peer}, ""},
		{"who may pull", "user2", "secret2", []string{"manifest", peer + "/team/app:v1"}, ""},
		{"and not push", "user2", "secret2", []string{"append", "-f", layer, "-t", peer + "/team/app:v2"}, "401"},
		{"nor list", "user2", "secret2", []string{"catalog", peer}, "DENIED"},
		{"a wrong password", "user2", "wrong", []string{"manifest", peer + "/team/app:v1"}, "UNAUTHORIZED"},
	} {
		err := craneAs(t, peer, test.user, test.password, test.args...)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}
