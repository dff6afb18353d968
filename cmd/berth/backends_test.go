package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/auth"
	"berth/auth/ldap"
	"berth/test/directory"
	"berth/test/issuer"
)

// TestReloadDirectories changes the directories of a running registry one step
// after the other, and asks after each whether bob of one of them is let in.
func TestReloadDirectories(t *testing.T) {
	lab := directory.StartOpenLDAP(t)
	lab.AddUser("bob", "bob-secret")
	start, corp := configuredLab(t, lab)
	var log bytes.Buffer
	r, write := reloading(t, start, slog.New(slog.NewTextHandler(&log, nil)))
	login := func() error {
		_, err := r.core.verifier.Verify(t.Context(), auth.Credentials{User: "bob", Password: "bob-secret"})
		return err
	}
	was := func() *ldap.Directory {
		if l := r.core.lineup.Load(); len(l.directories) > 0 {
			return l.directories[0].Directory
		}
		return nil
	}
	unknown := errors.New("down")
	const rules = "access: [{name: bob, type: registry, action: pull}]\n"
	for _, step := range []struct {
		name, text string
		refused    string // part of the error of the reload
		kept       bool   // it is the same directory as before
		want       error  // of the login; unknown is any other than a wrong password
	}{
		{"none", start, "", true, auth.ErrBadCredentials},
		{"one comes", start + corp, "", false, nil},
		{"the same", start + corp, "", true, nil},
		{"other rules", start + corp + rules, "", true, nil},
		{"one that cannot be made", start + strings.Replace(corp, "name: corp", "name: corp, cafile: /not/there", 1) + rules, "cafile", true, nil},
		{"one that does not check", start + strings.Replace(corp, "name: corp", "name: CORP", 1) + rules, "name", true, nil},
		{"a rule of trust that cannot be used", start + strings.Replace(corp, "5m", "6m", 1) + "  trust: [{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: s}, user: 'job:x', jwksfile: /not/there}]\n" +
			rules, "auth.trust", true, nil},
		{"other settings", start + strings.Replace(corp, "5m", "6m", 1) + rules, "", false, nil},
		{"another server, which is not there", start + strings.Replace(corp, lab.URL, "ldap://127.0.0.1:1", 1) + rules, "", false, unknown},
		{"it goes", start + rules, "", false, auth.ErrBadCredentials},
		{"it is back", start + corp + rules, "", false, nil},
	} {
		write(step.text)
		before := was()
		err := r.tryReload(t.Context())
		if step.refused == "" && err != nil || step.refused != "" && (err == nil || !strings.Contains(err.Error(), step.refused)) {
			t.Errorf("%s: %v, want an error with %q", step.name, err, step.refused)
		}
		if kept := was() == before; kept != step.kept {
			t.Errorf("%s: the same directory: %v", step.name, kept)
		}
		err = login()
		if step.want == unknown && (err == nil || errors.Is(err, auth.ErrBadCredentials)) || step.want != unknown && !errors.Is(err, step.want) {
			t.Errorf("%s: bob is answered %v, want %v", step.name, err, step.want)
		}
		down := slices.Contains(r.health.degraded(), "auth.ldap.corp")
		if down != (step.want == unknown) {
			t.Errorf("%s: degraded: %q", step.name, r.health.degraded())
		}
	}
	r.health.tell(r.log)
	if strings.Contains(log.String(), lab.Password) {
		t.Error("the log holds the password of the directory")
	}
}

// configuredLab returns a configuration with accounts, and what to put behind
// that for the directory.
func configuredLab(t *testing.T, lab *directory.OpenLDAP) (start, corp string) {
	start = fmt.Sprintf("version: 0.1\nhttp: {draintimeout: 10s}\nstorage: {filesystem: {rootdirectory: %s}}\nauth:\n  accounts: {enabled: true}\n", t.TempDir())
	corp = fmt.Sprintf("  ldap: [{name: corp, interval: 5m, urls: ['%s'], binddn: '%s', bindpassword: %s, user: {base: '%s'}}]\n",
		lab.URL, lab.BindDN, lab.Password, lab.BaseDN)
	return start, corp
}

// reloading returns a registry that listens nowhere, and a function that writes
// its configuration.
func reloading(t *testing.T, text string, log *slog.Logger) (*running, func(string)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yml")
	writeFile(t, path, text)
	r := &running{src: source{path: path}, level: new(slog.LevelVar), log: log}
	var err error
	if r.cfg, _, err = r.src.load(); err != nil {
		t.Fatal(err)
	}
	r.ruling = r.cfg
	if r.core, err = openCore(t.Context(), r.cfg, log, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.core.close() })
	r.health.watchAll(r.core.problems)
	return r, func(text string) { t.Helper(); writeFile(t, path, text) }
}

// TestReloadProviders: a provider stays the same for as long as it has the same
// users, whatever else changes about it.
func TestReloadProviders(t *testing.T) {
	sso := issuer.New(t)
	start := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nauth:\n  accounts: {enabled: true}\n", t.TempDir())
	provider := fmt.Sprintf("  oidc: [{name: sso, issuer: '%s', clientid: c, clientsecret: canary, plain: false}]\n", sso.URL)
	r, write := reloading(t, start, slog.New(slog.DiscardHandler))
	advice := func(password auth.Secret) string {
		_, err := r.core.verifier.Verify(t.Context(), auth.Credentials{User: "sso/bob", Password: password})
		return err.Error()
	}
	for _, step := range []struct {
		name, text string
		kept       bool
		known      bool
	}{
		{"none", start, true, false},
		{"one comes", start + provider, false, true},
		{"other settings", start + strings.Replace(provider, "clientid: c", "clientid: d, interval: 1m", 1), true, true},
		{"plain names", start + strings.Replace(provider, "plain: false", "plain: true", 1), true, false},
		{"another issuer", start + strings.Replace(provider, "http:", "https:", 1), false, true},
		{"it goes", start, false, false},
	} {
		write(step.text)
		before := r.core.providers()
		if err := r.tryReload(t.Context()); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if now := r.core.providers(); slices.Equal(now, before) != step.kept {
			t.Errorf("%s: before %v, now %v", step.name, before, now)
		}
		told := advice(auth.Secret(step.name)) // a wrong one is remembered, and not what was told
		if known := strings.Contains(told, "personal token"); known != step.known {
			t.Errorf("%s: told %q", step.name, told)
		}
	}
}

// TestReloadWaits: what only a start takes over is named, for as long as it
// waits.
func TestReloadWaits(t *testing.T) {
	var log bytes.Buffer
	start := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nauth:\n  accounts: {enabled: true}\n", t.TempDir())
	r, write := reloading(t, start, slog.New(slog.NewTextHandler(&log, nil)))
	for _, step := range []struct{ text, want string }{
		{start, ""},
		{start + "log: {level: debug}\naccess: []\naccesstests: []\n", ""},
		{start + "access: []\nhttp: {draintimeout: 5s, debug: {addr: '127.0.0.1:1'}}\n", `"http.draintimeout, http.debug.addr"`},
		{start + "  issuer: {expiration: 1m}\n  token: {realm: 'https://a.test', service: s, issuer: i, jwks: 'https://a.test/keys'}\naccess: []\n", `"auth.issuer.expiration, auth.token"`},
		{start + "  htpasswd: {path: p}\naccess: []\n", `"auth.htpasswd.realm, auth.htpasswd.path"`},
		{strings.Replace(start, "accounts: {enabled: true}", "oidc: [{name: sso, issuer: 'https://a.test', clientid: c}]", 1) + "access: []\n", "auth.accounts.enabled"},
		{start + "access: []\n", ""},
	} {
		write(step.text)
		log.Reset()
		if err := r.tryReload(t.Context()); err != nil {
			t.Errorf("%s: %v", step.text, err)
		}
		_, got, _ := strings.Cut(log.String(), "at the next start\" keys=")
		if got, _, _ = strings.Cut(got, "\n"); got != step.want {
			t.Errorf("%s\nwaits: %s, want %s", step.text, got, step.want)
		}
		if degraded := slices.Contains(r.health.degraded(), "restart"); degraded != (step.want != "") {
			t.Errorf("%s\ndegraded: %q", step.text, r.health.degraded())
		}
	}
}
