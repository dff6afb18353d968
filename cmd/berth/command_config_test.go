package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// command runs a command line of berth and returns what it prints and how it
// would exit.
func command(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return commandWith(t, "", args...)
}

// commandWith is command with that on standard input.
func commandWith(t *testing.T, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	root := newRootCommand()
	root.SetIn(strings.NewReader(stdin))
	var out, errOut bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errOut)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	switch {
	case err == nil:
		return out.String(), errOut.String(), 0
	case errors.As(err, new(*failure)):
		return out.String(), errOut.String() + err.Error(), 1
	}
	return out.String(), errOut.String() + err.Error(), 2
}

// writeFile makes a file with those contents and returns its path.
func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const secretive = `
http: {secret: canary-1}
redis: {password: canary-2, sentinelpassword: canary-3}
proxy: {password: canary-4}
notifications: {endpoints: [{disabled: true, url: "https://a:canary-5@b", headers: {Authorization: [canary-6]}}]}
log: {hooks: [{disabled: true, options: {smtp: {password: canary-7}}}]}
`

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string { return writeFile(t, filepath.Join(dir, name), text) }
	const rule = "auth: {accounts: {enabled: true}}\naccess: [{name: bob, type: registry, action: pull}]\n"
	good := file("good.yml", rule+"accesstests: [{user: bob, action: pull, repository: a, expect: allow}]\n")
	tests := file("tests.yml", rule+"accesstests: [{user: bob, action: push, repository: a, expect: allow}]\n")
	bad := file("bad.yml", "auht: {}\n")
	unreadable := file("unreadable.yml", "auth: {htpasswd: {realm: r, path: "+filepath.Join(dir, "absent")+"}}\n")
	warned := file("warned.yml", secretive)
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // parts
	}{
		{"good", []string{"check", good}, 0, "good.yml is good", ""},
		{"flag", []string{"check", "--config", good}, 0, "good.yml is good", ""},
		{"both", []string{"check", good, "--config", good}, 0, "good.yml is good", ""},
		{"two files", []string{"check", good, "--config", bad}, 1, "", "two configurations are given"},
		{"warnings", []string{"check", warned}, 0, "is good", "warning: redis is not used"},
		{"tests", []string{"check", tests}, 1, "", "accesstests 1 (line 3)"},
		{"bad", []string{"check", bad}, 1, "", "bad.yml:1: unknown key auht, did you mean auth?"},
		{"absent", []string{"check", filepath.Join(dir, "absent.yml")}, 1, "", "absent.yml"},
		{"too many", []string{"check", good, good}, 2, "", ""},
		{"no verb", nil, 2, "", "name what to do"},
		{"help", []string{"check", "--help"}, 0, "berth config check config.yml", ""},
		{"show", []string{"show", good}, 0, "access:\n  - name:\n      - bob\n", ""},
		{"show bad", []string{"show", bad}, 1, "", "unknown key"},
		{"show as", []string{"show", good, "-o", "xml"}, 2, "", "it must be yaml or json"},
		{"show as JSON", []string{"show", good, "-o", "json"}, 0, `"accounts": {`, ""},
		{"no password file", []string{"check", unreadable}, 0, "is good", "warning: auth.htpasswd.path: open "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stdout, stderr, code := command(t, append([]string{"config"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
			if code != 0 && stdout != "" {
				t.Errorf("stdout of a failure: %s", stdout)
			}
		})
	}
}

func TestConfigShowHidesSecrets(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "config.yml"), secretive)
	for _, format := range []string{"yaml", "json"} {
		stdout, stderr, code := command(t, "config", "show", path, "-o", format)
		if code != 0 || strings.Contains(stdout+stderr, "canary") {
			t.Errorf("exit %d\n%s%s", code, stdout, stderr)
		}
		if n := strings.Count(stdout, "***"); n != 7 {
			t.Errorf("%d secrets are shown as ***, want 7:\n%s", n, stdout)
		}
	}
}

// TestConfigShowLoads gives what show prints back to it.
func TestConfigShowLoads(t *testing.T) {
	for _, text := range []string{
		"version: 0.1\n",
		"storage: inmemory\nlog: {fields: {a: [1, {b: c}]}}\n",
		"auth: {htpasswd: {realm: r, path: p}}\n",
		"auth: {accounts: {enabled: true}, issuer: {expiration: 5m}}\naccess: [{name: '*', type: repository, repositories: ['{user}/**'], from: 10.0.0.1, action: '*'}]\n" +
			"accesstests: [{user: a, action: pull, repository: 'a/b', from: 10.0.0.1, expect: allow}]\n",
		"http: {headers: {A: b}, draintimeout: 90s, trustedproxies: '::1', tls: {certificate: c, key: k}, debug: {addr: ':1', prometheus: {enabled: true}}}\n",
	} {
		cfg := mustParse(t, text)
		shown, err := cfg.render("yaml")
		if err != nil {
			t.Fatal(err)
		}
		again, err := mustParse(t, string(shown)).render("yaml")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(shown, again) {
			t.Errorf("%s shows as\n%s\nand then as\n%s", text, shown, again)
		}
		asJSON, err := cfg.render("json")
		if err != nil || !json.Valid(asJSON) {
			t.Errorf("%s: %v", asJSON, err)
		}
	}
}
