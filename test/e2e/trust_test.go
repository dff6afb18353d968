package e2e

import (
	"archive/tar"
	"bytes"
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

// craneAs runs crane as who has logged in with a password, and returns what it
// said.
func craneAs(t *testing.T, s *server, password string, args ...string) (string, error) {
	t.Helper()
	env := append(os.Environ(), "DOCKER_CONFIG="+t.TempDir())
	login := exec.Command("crane", "auth", "login", s.addr, "-u", "job", "--password-stdin")
	login.Stdin, login.Env = strings.NewReader(password), env
	if out, err := login.CombinedOutput(); err != nil {
		return string(out), err
	}
	cmd := exec.Command("crane", append(args, "--insecure")...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	return string(out), err
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
	layer := filepath.Join(dir, "layer.tar")
	write(t, layer, tarOf(t, "hello", "world"))
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
		out, err := craneAs(t, s, password, "append", "-f", layer, "-t", s.addr+"/"+repo+":v1")
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return err
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

// tarOf returns an archive with one file.
func tarOf(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
