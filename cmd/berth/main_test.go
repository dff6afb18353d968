package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandLines calls what needs no server and no data.
func TestCommandLines(t *testing.T) {
	t.Setenv("BERTH_DATA", t.TempDir())
	t.Setenv("REGISTRY_CONFIGURATION_PATH", "")
	for _, tt := range []struct {
		args           string
		code           int
		stdout, stderr string // parts
	}{
		{"", 0, "Available Commands", ""},
		{"version", 0, "berth dev", ""},
		{"help", 0, "berth user add alice", ""},
		{"help user add", 0, "berth user add NAME", ""},
		{"help nobody", 2, "", `unknown command "nobody"`},
		{"help user nobody", 2, "", `unknown command "nobody" for "berth user"`},
		{"completion bash", 0, "__complete", ""},
		{"completion zsh", 0, "compdef", ""},
		{"completion fish", 0, "complete -c berth", ""},
		{"completion powershell", 0, "Register-ArgumentCompleter", ""},
		{"completion tcsh", 2, "", `invalid argument "tcsh"`},
		{"completion", 2, "", "accepts 1 arg"},
		{"user list -o xml", 2, "", "it must be table or json"},
		{"token list -o yaml", 2, "", "it must be table or json"},
		{"gc nothing.yml", 1, "", "nothing.yml"},
		{"gc --grace soon", 2, "", "invalid argument"},
		{"gc -o xml", 2, "", "it must be table or json"},
		{"repo", 2, "", "name what to do"},
		{"repo delete", 2, "", "accepts 1 arg"},
		{"auth", 2, "", "name what to do"},
		{"auth test bob", 2, "", `"bob" is none of htpasswd, ldap, oidc`},
		{"auth test ldap corp", 2, "", "--user is needed"},
		{"auth test oidc sso --password-stdin", 2, "", "only for the provider"},
		{"import nothing.yml", 1, "", "nothing.yml"},
		{"import a.yml b.yml", 2, "", "accepts at most 1 arg"},
		{"export config.yml", 2, "", "accepts 2 arg"},
		{"export nothing.yml /tmp/nowhere", 1, "", "nothing.yml"},
		{"rebuild --into A", 1, "", "--into"},
		{"rebuild nothing.yml", 1, "", "nothing.yml"},
		{"scrub --rate fast", 1, "", "--rate"},
		{"scrub nothing.yml", 1, "", "nothing.yml"},
		{"backup nothing.yml", 1, "", "nothing.yml"},
		{"backup a.yml b.yml", 2, "", "accepts at most 1 arg"},
		{"restore nothing.yml", 1, "", "nothing.yml"},
		{"restore -o yaml", 2, "", "it must be table or json"},
		{"import docker-auth", 2, "", "accepts 1 arg"},
		{"import docker-auth nothing.yml", 1, "", "nothing.yml"},
		{"nothing", 2, "", `unknown command "nothing"`},
		{"serve --nothing", 2, "", "unknown flag"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			stdout, stderr, code := command(t, strings.Fields(tt.args)...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
			}
		})
	}
}

// TestEveryCommandHasAnExample walks all of them, those that are not available
// yet excepted.
func TestEveryCommandHasAnExample(t *testing.T) {
	commands := newRootCommand().Commands()
	for len(commands) > 0 {
		c := commands[0]
		commands = append(commands[1:], c.Commands()...)
		if !c.Hidden && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has the example %q", c.CommandPath(), c.Example)
		}
	}
}

func TestUsersThatAreNotLetIn(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", filepath.Join(dir, "data"))
	path := writeFile(t, filepath.Join(dir, "config.yml"), "auth: {htpasswd: {realm: r, path: p}}\n")
	_, stderr, code := command(t, "user", "list", "--config", path)
	if code != 1 || !strings.Contains(stderr, "accounts: {enabled: true}") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

func TestDataThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	config := fmt.Sprintf("storage: {filesystem: {rootdirectory: %q}}\n", dir)
	t.Setenv("REGISTRY_CONFIGURATION_PATH", writeFile(t, filepath.Join(t.TempDir(), "config.yml"), config))
	for _, want := range []string{"no registry has kept its data in " + dir, ""} {
		_, stderr, code := command(t, "token", "list")
		if code != 0 || !strings.Contains(stderr, want) || want == "" && stderr != "" {
			t.Errorf("exit %d: %s", code, stderr)
		}
	}
}

func TestClientAddress(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "127.0.0.1:5000",
		"http: {addr: ':8080'}":                 "127.0.0.1:8080",
		"http: {addr: '0.0.0.0:80'}":            "127.0.0.1:80",
		"http: {addr: '[::]:80'}":               "127.0.0.1:80",
		"http: {addr: 'r.example:80'}":          "r.example:80",
		"http: {host: 'https://r.example.org'}": "r.example.org",
		"http: {addr: /run/s, net: unix}":       "",
	} {
		if got := mustParse(t, "version: 0.1\n"+text).clientAddress(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestAwait(t *testing.T) {
	if line, err := await(t.Context(), func() (string, error) { return "line", nil }); line != "line" || err != nil {
		t.Errorf("got %q, %v", line, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	never := make(chan struct{})
	defer close(never)
	cancel()
	if _, err := await(ctx, func() (string, error) { <-never; return "", nil }); !errors.Is(err, errInterrupted) {
		t.Errorf("got %v", err)
	}
}
