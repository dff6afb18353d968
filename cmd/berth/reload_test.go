package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/access"
)

// TestReloadKeepsWhatGuards edits the configuration of a running registry one
// step after the other, and asks after each what a user may do.
func TestReloadKeepsWhatGuards(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	const (
		plain = "version: 0.1\nauth: {accounts: {enabled: true}}\nstorage: {filesystem: {rootdirectory: DIR}}\n"
		rules = plain + "access: [{name: root, type: registry, action: '*'}]\n"
	)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(plain)
	r := &running{src: source{path: path}, level: new(slog.LevelVar), log: slog.New(slog.DiscardHandler)}
	var err error
	if r.cfg, _, err = r.src.load(); err != nil {
		t.Fatal(err)
	}
	r.ruling = r.cfg
	if r.core, err = openCore(t.Context(), r.cfg, r.log, nil); err != nil {
		t.Fatal(err)
	}
	defer r.core.close()

	user := &access.Caller{}
	user.Provider, user.Name = "accounts", "alice"
	for _, step := range []struct {
		name, text string
		refused    string
		allowed    bool
	}{
		{"as at the start", plain, "", true},
		{"rules come", rules, "", false},
		{"rules go", plain, "access:", false},
		{"an empty list of rules", plain + "access: []\n", "access:", false},
		{"all goes", "version: 0.1\nstorage: {filesystem: {rootdirectory: DIR}}\n", "auth:", false},
		{"cut in the middle", rules[:len(rules)-10], ":5:", false},
		{"emptied", "", "empty", false},
		{"rules again", rules, "", false},
	} {
		write(step.text)
		err := r.tryReload(t.Context())
		if step.refused == "" && err != nil || step.refused != "" && (err == nil || !strings.Contains(err.Error(), step.refused)) {
			t.Errorf("%s: %v, want an error with %q", step.name, err, step.refused)
		}
		d := r.core.policy.Load().Decide(access.Request{Caller: user, Action: access.Push, Repository: "team/app"})
		if d.Allow != step.allowed {
			t.Errorf("%s: a user may push: %v, want %v", step.name, d.Allow, step.allowed)
		}
	}
}
