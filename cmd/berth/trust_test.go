package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/server"
)

// A platform signs tokens, as one that runs jobs does.
type platform struct {
	t   *testing.T
	key *ecdsa.PrivateKey
}

func newPlatform(t *testing.T) platform {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return platform{t, key}
}

// keys returns the platform's key set in JSON.
func (p platform) keys() string {
	p.t.Helper()
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k"}}})
	if err != nil {
		p.t.Fatal(err)
	}
	return string(data)
}

func (p platform) sign(claims map[string]any) string {
	p.t.Helper()
	now := time.Now()
	all := map[string]any{"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "jti": rand.Text()}
	maps.Copy(all, claims)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	data, err := json.Marshal(all)
	if err != nil {
		p.t.Fatal(err)
	}
	jws, err := signer.Sign(data)
	if err != nil {
		p.t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return raw
}

// job returns a token of a job of team/app.
func (p platform) job(ref string) string {
	return p.sign(map[string]any{
		"iss": "https://ci.test", "aud": "https://hub.test", "sub": "project-7", "project": "team/app", "ref": ref,
	})
}

// trusting is a configuration that trusts a platform; DATA and KEYS stand for
// where the data and the key set are.
const trusting = `
version: 0.1
storage: {filesystem: {rootdirectory: DATA}}
auth:
  accounts: {enabled: true}
  groups: {builders: ["ci/job:team/app"]}
  trust:
    - name: ci
      issuer: https://ci.test
      audience: https://hub.test
      match: {sub: project-7, ref: [refs/heads/main, refs/heads/next]}
      user: "job:{project}"
      groups: ci-jobs
      jwks: KEYS
access:
  - {group: ci-jobs, type: repository, repositories: ["team/**"], action: pull}
  - {group: builders, type: repository, repositories: ["team/app"], action: push}
`

func configured(text, data string, p platform) string {
	return strings.NewReplacer("DATA", data, "KEYS", p.keys()).Replace(text)
}

func TestTrustFaults(t *testing.T) {
	p := newPlatform(t)
	mustParse(t, configured(trusting, "/data", p))
	mustParse(t, configured(strings.Replace(trusting, "KEYS", "'KEYS'", 1), "/data", p)) // as a text
	const rule = "auth: {trust: [{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: s}, user: 'job:x'"
	const outside = "auth: {token: {realm: 'https://auth.test/token', service: s, issuer: i, rootcertbundle: b"
	for _, tt := range []struct{ text, want string }{
		{rule + "}]}", ""},
		{rule + ", groups: [a, b], maxage: 10m, replay: once, kind: other, jwksurl: 'https://ci.test/keys', cafile: f}]}", ""},
		{rule + ", maxage: soon}]}", "config.yml:1: auth.trust.0.maxage must be a duration such as 10s or 24h"},
		{rule + ", nothing: x}]}", "config.yml:1: unknown key auth.trust.0.nothing"},
		{rule + ", replay: twice}]}", `config.yml:1: auth.trust.0.replay: "twice" is none of address, once, off`},
		{rule + ", jwksfile: f, jwksurl: 'https://ci.test/keys'}]}", "config.yml:1: auth.trust.0.jwks: keys are given in more than one way"},
		{rule + ", jwks: {keys: [{kty: oct, k: AAAA}]}}]}", "config.yml:1: auth.trust.0.jwks: none of its keys is of use; number 1: it is symmetric: who verifies with it can sign with it too"},
		{strings.Replace(rule, "name: ci", "name: htpasswd", 1) + "}]}", "config.yml:1: auth.trust.0.name: another backend or rule is called htpasswd too"},
		{strings.Replace(rule, "audience: a, ", "", 1) + "}]}", "config.yml:1: auth.trust.0.audience: it is missing: without one, a token for somebody else would do here"},
		{strings.Replace(rule, "{sub: s}", "{ref: main}", 1) + "}]}", "config.yml:1: auth.trust.0.match: it needs one of the claims that nobody can take over: for an issuer of the kind other that is sub"},
		{rule + "}, {name: ci, issuer: 'https://ci.test', audience: b, match: {sub: s}, user: 'job:x'}]}", "config.yml:1: auth.trust.1.name: another backend or rule is called ci too"},

		{outside + "}}", ""},
		{outside + ", jwks: /keys.json, signingalgorithms: [RS256, EdDSA]}}", ""},
		{outside + ", jwks: 'https://auth.test/keys', autoredirect: true}}", ""},
		{"auth: {accounts: {enabled: true}, token: {autoredirect: true, service: s, issuer: i, jwks: f}}", ""},
		{strings.Replace(outside, "realm: 'https://auth.test/token', ", "", 1) + "}}", "config.yml:1: auth.token.realm: it is missing: the address of the token server"},
		{strings.Replace(outside, "https://auth.test/token", "auth.test", 1) + "}}", "config.yml:1: auth.token.realm: it must be a URL such as https://auth.example.org/token"},
		{strings.Replace(outside, "service: s, ", "", 1) + "}}", "config.yml:1: auth.token.service: it is missing: whom the tokens are for"},
		{strings.Replace(outside, "issuer: i, ", "", 1) + "}}", "config.yml:1: auth.token.issuer: it is missing: who signs the tokens"},
		{strings.Replace(outside, ", rootcertbundle: b", "", 1) + "}}", "config.yml:1: auth.token: rootcertbundle or jwks is missing: the keys that sign the tokens"},
		{outside + ", jwks: 'http://auth.test/keys'}}", "config.yml:1: auth.token.jwks: it must begin with https://"},
		{outside + ", signingalgorithms: [HS256]}}", "config.yml:1: auth.token.signingalgorithms: HS256 is symmetric: whoever verifies with it can sign with it too"},
		{outside + ", signingalgorithms: [none]}}", `config.yml:1: auth.token.signingalgorithms: "none" is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`},
		{outside + ", autoredirect: true, autoredirectpath: token}}", "config.yml:1: auth.token.autoredirectpath: it must begin with a /"},
		{"auth: {none: {}, token: {realm: 'https://a.test', service: s, issuer: i, jwks: f}}", "config.yml:1: auth: none excludes every other backend"},
	} {
		got := strings.Join(faults(t, tt.text), "\n")
		if got != tt.want {
			t.Errorf("%s:\n got %q\nwant %q", tt.text, got, tt.want)
		}
	}
	for _, env := range [][]string{
		{"REGISTRY_AUTH_TRUST=[{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: 7}, user: 'job:x'}]"},
		{"REGISTRY_AUTH_TOKEN={realm: 'https://a.test', service: s, issuer: i, rootcertbundle: b}"},
		{"REGISTRY_AUTH=token", "REGISTRY_AUTH_TOKEN_REALM=https://a.test", "REGISTRY_AUTH_TOKEN_SERVICE=s", "REGISTRY_AUTH_TOKEN_ISSUER=i",
			"REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE=b"},
	} {
		if got := faults(t, "version: 0.1\n", env...); got != nil {
			t.Errorf("%s: %q", env, got)
		}
	}
}

// TestBasicOnly: what else there is besides a password file ends the challenge
// of Distribution's password file.
func TestBasicOnly(t *testing.T) {
	for text, want := range map[string]bool{
		"auth: {htpasswd: {path: p}}": true,
		"auth: {htpasswd: {path: p}, trust: [{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: s}, user: 'job:x'}]}":       false,
		"auth: {htpasswd: {path: p}, token: {realm: 'https://a.test', service: s, issuer: i, rootcertbundle: b}}":                        false,
		"auth: {trust: [{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: s}, user: 'job:x'}], accounts: {enabled: true}}": false,
	} {
		if got := mustParse(t, text).basicOnly(); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// jobs runs a registry with the configuration, without a listener of its own.
func jobs(t *testing.T, text string) (r *running, url string, write func(string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	write = func(text string) { t.Helper(); writeFile(t, path, text) }
	write(text)
	r = &running{src: source{path: path}, level: new(slog.LevelVar), log: slog.New(slog.DiscardHandler), stdout: io.Discard}
	var err error
	if r.cfg, _, err = r.src.load(); err != nil {
		t.Fatal(err)
	}
	r.ruling = r.cfg
	if r.core, err = openCore(t.Context(), r.cfg, r.log, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.core.close() })
	r.metrics = newMetrics(r.core.verifier.Stats)
	s := httptest.NewServer(server.New(r.serverOptions()))
	t.Cleanup(s.Close)
	return r, s.URL, write
}

// ask sends a request with the credentials in the header, and returns its status and its
// body.
func ask(t *testing.T, method, url string, sign func(*http.Request)) (int, string) {
	t.Helper()
	q, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	sign(q)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func basic(password string) func(*http.Request) {
	return func(r *http.Request) { r.SetBasicAuth("any", password) }
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// TestJob is the life of a job: it logs in with its token, as docker does, and
// pushes; and a change of the rule that knew it ends that.
func TestJob(t *testing.T) {
	p := newPlatform(t)
	text := configured(trusting, filepath.Join(t.TempDir(), "data"), p)
	r, url, write := jobs(t, text)
	job := p.job("refs/heads/main")
	want := func(what string, status int, method, path string, sign func(*http.Request)) string {
		t.Helper()
		got, body := ask(t, method, url+path, sign)
		if got != status {
			t.Errorf("%s: %d %s, want %d", what, got, body, status)
		}
		return body
	}
	login := func(password string) string {
		t.Helper()
		body := want("login", http.StatusOK, http.MethodGet,
			"/auth/token?account=any&offline_token=true&scope=repository:team/app:pull,push+repository:team/other:pull,push", basic(password))
		var answer struct {
			Token   string `json:"token"`
			Scope   string `json:"scope"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.Scope != "repository:team/app:pull,push repository:team/other:pull" || answer.Refresh != "" {
			t.Errorf("scope %q, refresh token %q", answer.Scope, answer.Refresh)
		}
		return answer.Token
	}
	const upload = "/v2/team/app/blobs/uploads/"
	token := login(job)
	want("a push", http.StatusAccepted, http.MethodPost, upload, bearer(token))
	want("a push with the job's own token", http.StatusAccepted, http.MethodPost, upload, basic(job))
	want("a push elsewhere", http.StatusUnauthorized, http.MethodPost, "/v2/team/other/blobs/uploads/", bearer(token))
	want("a job of another branch", http.StatusUnauthorized, http.MethodGet, "/v2/", basic(p.job("refs/heads/dev")))
	want("a job of another platform", http.StatusUnauthorized, http.MethodGet, "/v2/", basic(newPlatform(t).job("refs/heads/main")))
	want("the name alone", http.StatusUnauthorized, http.MethodGet, "/v2/", func(q *http.Request) { q.SetBasicAuth("ci/job:team/app", "x") })

	if err := r.tryReload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after a reload of the same", http.StatusAccepted, http.MethodPost, upload, bearer(token))
	write(strings.Replace(text, "audience: https://hub.test", "audience: hub.test", 1) + "# next\n")
	if err := r.tryReload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("after a change of the rule", http.StatusUnauthorized, http.MethodPost, upload, bearer(token))
	want("the job's own token, too", http.StatusUnauthorized, http.MethodPost, upload, basic(job))
	write(strings.Replace(text, "sub: project-7, ", "", 1))
	if err := r.tryReload(t.Context()); err == nil || !strings.Contains(err.Error(), "auth.trust.0.match") {
		t.Errorf("a rule without a claim that stays: %v", err)
	}
	write(text)
	if err := r.tryReload(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("with the rule as it was", http.StatusAccepted, http.MethodPost, upload, bearer(token))
}

// TestOutsideTokens is Distribution's auth.token in a whole registry.
func TestOutsideTokens(t *testing.T) {
	p := newPlatform(t)
	dir := t.TempDir()
	keys := writeFile(t, filepath.Join(dir, "keys.json"), p.keys())
	_, url, _ := jobs(t, fmt.Sprintf(`
version: 0.1
storage: {filesystem: {rootdirectory: %s}}
auth: {token: {realm: 'https://auth.test/token', service: hub.test, issuer: auth.test, jwks: %s}}
`, filepath.Join(dir, "data"), keys))
	token := func(sub, repository string) string {
		return p.sign(map[string]any{"iss": "auth.test", "aud": "hub.test", "sub": sub, "access": []any{
			map[string]any{"type": "repository", "name": repository, "actions": []string{"pull", "push"}},
		}})
	}
	const upload = "/v2/team/app/blobs/uploads/"
	for _, test := range []struct {
		name   string
		sign   func(*http.Request)
		status int
	}{
		{"a token for it", bearer(token("alice", "team/app")), http.StatusAccepted},
		{"a token for nobody", bearer(token("", "team/app")), http.StatusAccepted},
		{"a token for another", bearer(token("alice", "team/other")), http.StatusUnauthorized},
		{"a token of another server", bearer(newPlatform(t).sign(map[string]any{"iss": "auth.test", "aud": "hub.test"})), http.StatusUnauthorized},
		{"no token", func(*http.Request) {}, http.StatusUnauthorized},
		{"a password", basic("secret"), http.StatusUnauthorized},
		{"the token as a password", basic(token("alice", "team/app")), http.StatusUnauthorized},
	} {
		if status, body := ask(t, http.MethodPost, url+upload, test.sign); status != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, status, body, test.status)
		}
	}
}

func TestExplainToken(t *testing.T) {
	p := newPlatform(t)
	dir := t.TempDir()
	config := writeFile(t, filepath.Join(dir, "config.yml"), configured(trusting, filepath.Join(dir, "data"), p))
	good := writeFile(t, filepath.Join(dir, "good.txt"), p.job("refs/heads/main")+"\n")
	other := writeFile(t, filepath.Join(dir, "other.txt"), p.job("refs/heads/dev"))
	words := writeFile(t, filepath.Join(dir, "words.txt"), "words")
	plain := writeFile(t, filepath.Join(dir, "plain.yml"), "auth: {accounts: {enabled: true}}\nstorage: {filesystem: {rootdirectory: "+filepath.Join(dir, "plain")+"}}\n")
	outside := writeFile(t, filepath.Join(dir, "outside.yml"), fmt.Sprintf("storage: {filesystem: {rootdirectory: %s}}\n"+
		"auth: {token: {realm: 'https://a.test', service: s, issuer: i, jwks: %s}}\n", filepath.Join(dir, "outside"), writeFile(t, filepath.Join(dir, "keys.json"), p.keys())))
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string // parts
	}{
		{"--jwt " + good, 0, "trust ci takes the token\n", ""},
		{"--jwt " + good, 0, "ok  claim ref: wanted refs/heads/main or refs/heads/next, found refs/heads/main\n", ""},
		{"--jwt " + good + " --action push team/app:v1", 0, "user ci/job:team/app of builders, ci-jobs, push team/app:v1: allowed, because a rule allows it\n", ""},
		{"--jwt " + good + " --action push team/other", 0, "push team/other: denied", ""},
		{"--jwt " + good + " --action admin", 0, "admin: denied", ""},
		{"--jwt " + good + " -o json --action pull team/app --from 10.0.0.1", 0, `"user": "ci/job:team/app"`, ""},
		{"--jwt " + other, 0, "no  claim ref: wanted refs/heads/main or refs/heads/next, found refs/heads/dev\n", ""},
		{"--jwt " + other + " --action push team/app", 0, "no rule of trust takes the token\n", ""},
		{"--jwt " + words, 1, "", "this is no signed token (JWT)"},
		{"--jwt " + good + "x", 1, "", "read the token"},
		{"--jwt " + good + " --action fly team/app", 1, "", "unknown action"},
		{"--jwt " + good + " --from 10.0.0.1", 1, "", "only with an action"},
		{"--jwt " + good + " --config " + plain, 1, "", "auth.trust"},
		{"--jwt " + good + " --action push", 2, "", "accepts 1 arg"},
		{"--jwt " + good + " team/app", 2, "", "is asked as --jwt FILE --action ACTION REPO"},
		{"--jwt " + good + " --ref X", 2, "", "ask one"},
		{"--jwt " + good + " --group a", 2, "", "--group does not go with --jwt"},
		{"--action push team/app", 2, "", "--action goes with --jwt"},
		{"token/bob push team/app --config " + outside, 1, "", "what token/bob may do, the tokens of the outside token server say"},
	} {
		args := append([]string{"access", "explain"}, strings.Fields(tt.args)...)
		if !strings.Contains(tt.args, "--config") {
			args = append(args, "--config", config)
		}
		stdout, stderr, code := command(t, args...)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
			t.Errorf("%s: exit %d\nstdout: %s\nstderr: %s", tt.args, code, stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "eyJ") {
			t.Errorf("%s: a part of the token is in\n%s%s", tt.args, stdout, stderr)
		}
	}
}
