package main

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/test/authority"
)

// TestTokenOfNoPerson asks for personal tokens of who has no password.
func TestTokenOfNoPerson(t *testing.T) {
	dir := t.TempDir()
	p := newPlatform(t)
	authorities := writeFile(t, filepath.Join(dir, "ca.pem"), string(authority.PEM(authority.New(t, "root").Cert)))
	text := strings.Replace(configured(trusting, filepath.Join(dir, "data"), p), "  trust:\n", "  certificate: {user: subject.commonname}\n  trust:\n", 1) +
		"http: {tls: {certificate: c, key: k, clientcas: [" + authorities + "]}}\n"
	config := writeFile(t, filepath.Join(dir, "config.yml"), text)
	for user, want := range map[string]string{
		"ci/job:team/app": "gives the signed token (JWT) of its platform as the password",
		"cert/alice":      "make a robot: berth robot add",
		"alice":           "there is no user alice",
	} {
		stdout, stderr, code := command(t, "token", "add", "--config", config, "--user", user, "--name", "a")
		if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit %d\n%s%s", user, code, stdout, stderr)
		}
	}
}
