package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/access"
	"berth/registry"
	"berth/server"
)

// TestReloadOfRules changes rules of a running registry, and leaves what is used of
// a limit where the limit stays.
func TestReloadOfRules(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	plain := "version: 0.1\nstorage: {filesystem: {rootdirectory: " + dir + "}}\n"
	r := &running{src: source{path: writeFile(t, path, plain)}, level: new(slog.LevelVar), log: slog.New(slog.DiscardHandler)}
	var err error
	if r.cfg, _, err = r.src.load(); err != nil {
		t.Fatal(err)
	}
	r.ruling = r.cfg
	if r.core, err = openCore(t.Context(), r.cfg, r.log, nil); err != nil {
		t.Fatal(err)
	}
	defer r.core.close()
	start := func() error {
		_, err := r.core.registry.StartUpload(t.Context(), "team/app", registry.UploadOptions{Size: 10})
		return err
	}
	const limits = "limits: [{of: pulls, per: address, rate: 1/s}]\n"
	var before *server.Limits
	for _, step := range []struct {
		name, text      string
		refused, limits bool
	}{
		{"as at the start", plain, false, false},
		{"rules come", plain + limits + "quotas: [{repositories: 'team/**', bytes: 5}]\n", true, true},
		{"what does not check", plain + "quotas: [{repositories: 'team/**'}]\n", true, true},
		{"more room", plain + limits + "quotas: [{repositories: 'team/**', bytes: 50}]\n", false, true},
		{"rules go", plain, false, false},
	} {
		digest := r.ruling.rulesDigest()
		writeFile(t, path, step.text)
		if err := r.tryReload(t.Context()); (err != nil) != (step.name == "what does not check") {
			t.Errorf("%s: %v", step.name, err)
		}
		if err := start(); (err != nil) != step.refused {
			t.Errorf("%s: an upload: %v", step.name, err)
		}
		now := r.limits.Load()
		if (now != nil) != step.limits || before != nil && now != nil && now != before {
			t.Errorf("%s: there are limits: %v, others than before: %v", step.name, now != nil, now != before)
		}
		if changed := r.ruling.rulesDigest() != digest; changed != (step.name != "as at the start" && step.name != "what does not check") {
			t.Errorf("%s: the digest of the rules is another: %v", step.name, changed)
		}
		before = now
	}
}

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
