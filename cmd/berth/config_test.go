package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/access"
	"berth/auth"
	"berth/oci"
)

// mustParse returns the configuration of a file with that text, which has no
// faults and no warnings.
func mustParse(t *testing.T, text string, env ...string) *Config {
	t.Helper()
	cfg, warnings, err := parseConfig("config.yml", []byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	return cfg
}

func TestDefaults(t *testing.T) {
	cfg := mustParse(t, `
auth: {accounts: {enabled: true}}
access: [{name: bob, type: registry, action: pull}]
`)
	got := []any{
		cfg.Version, cfg.Log.Level, cfg.Log.Formatter, cfg.HTTP.Addr, cfg.HTTP.Net, cfg.HTTP.TLS.MinimumTLS,
		cfg.storageDriver(), cfg.dataDir(), cfg.databasePath(), cfg.Storage.Delete.Enabled,
		cfg.Catalog.MaxEntries, cfg.Tags.MaxTags, cfg.Auth.Issuer.Service, cfg.Auth.Issuer.Expiration,
	}
	want := []any{
		"0.1", "info", "text", ":5000", "tcp", "tls1.2",
		"filesystem", "/var/lib/registry", "/var/lib/registry/berth.db", false,
		1000, 1000, "berth", 15 * time.Minute,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBuiltIn(t *testing.T) {
	for _, tt := range []struct {
		env  []string
		root string
	}{
		{nil, "berth-data"},
		{[]string{"BERTH_DATA=/srv/a \"b\""}, `/srv/a "b"`},
		{[]string{"BERTH_DATA=/srv", "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=/other"}, "/other"},
	} {
		cfg, warnings, err := loadConfig("", tt.env)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%v, warnings %q", err, warnings)
		}
		if cfg.HTTP.Addr != "127.0.0.1:5000" || cfg.dataDir() != tt.root || !cfg.Storage.Delete.Enabled || !cfg.Auth.Accounts.Enabled {
			t.Errorf("%q: %+v", tt.env, cfg)
		}
		if may(t, cfg, "admin", access.Admin) != true || may(t, cfg, "bob", access.Pull) {
			t.Errorf("%q: the rules are not those of the built-in configuration", tt.env)
		}
	}
}

// may answers by the policy of cfg; user "" is anonymous.
func may(t *testing.T, cfg *Config, user string, action access.Action) bool {
	t.Helper()
	p, err := cfg.policy()
	if err != nil {
		t.Fatal(err)
	}
	r := access.Request{
		Caller:     &access.Caller{Identity: auth.Identity{Subject: auth.Subject{Name: user}}},
		Action:     action,
		Repository: oci.Name("team/app"),
		Tags:       []oci.Tag{"v1"},
	}
	return p.Decide(r).Allow
}

func TestPolicy(t *testing.T) {
	const htpasswd = "auth: {htpasswd: {realm: basic-realm, path: /etc/docker/registry/htpasswd}}\n"
	for _, tt := range []struct {
		name, text            string
		anonymous, bob, admin bool // may push, push, administer
		basic                 bool
	}{
		{"no auth", "version: 0.1\n", true, true, false, false},
		{"auth: none", "auth: none\n", true, true, false, false},
		{"auth alone", htpasswd, false, true, false, true},
		{"auth with an issuer", "auth: {htpasswd: {path: /x}, issuer: {service: berth}}\n", false, true, false, false},
		{"accounts", "auth: {accounts: {enabled: on}}\n", false, true, false, false},
		{"rules", htpasswd + "access:\n  - {name: bob, type: registry, action: '*'}\n", false, true, true, false},
		{"an empty list of rules", htpasswd + "access: []\n", false, false, false, false},
		{"no rules at all", htpasswd + "access:\n", false, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _, err := parseConfig("config.yml", []byte(tt.text), nil)
			if err != nil {
				t.Fatal(err)
			}
			got := []bool{may(t, cfg, "", access.Push), may(t, cfg, "bob", access.Push), may(t, cfg, "bob", access.Admin), cfg.basicOnly()}
			if want := []bool{tt.anonymous, tt.bob, tt.admin, tt.basic}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestTutorial(t *testing.T) {
	cfg := mustParse(t, `
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/docker/registry/htpasswd
access:
  - name: anonymous
    type: registry
    action: pull
  - name: user1
    type: registry
    action: [pull, push]
`)
	if !may(t, cfg, "", access.Pull) || may(t, cfg, "", access.Push) || !may(t, cfg, "user1", access.Push) || may(t, cfg, "user2", access.Push) {
		t.Error("the rules of the tutorial do not hold")
	}
	if cfg.Auth.Htpasswd.Realm != "basic-realm" || cfg.basicOnly() {
		t.Errorf("auth: %+v", cfg.Auth)
	}
}

func TestRules(t *testing.T) {
	cfg := mustParse(t, `
auth: {accounts: {enabled: true}, groups: {devs: [alice]}}
access:
  - {name: alice, group: [devs, ops], type: repository, repositories: "team/**", tags: "dev-*", from: [10.0.0.0/8, 192.0.2.1],
     action: [pull, push], comment: team builds}
  - name: "*"
    type: repository
    repositories: ["secret/**", "{user}/*"]
    effect: deny
    action: "*"
accesstests:
  - {user: alice, groups: ops, action: push, repository: "team/app:dev-1", from: 10.1.2.3, expect: allow}
`)
	rules := []access.Rule{
		{
			Names: []string{"alice"}, Groups: []string{"devs", "ops"}, Type: "repository", Repositories: []string{"team/**"}, Tags: []string{"dev-*"},
			From:    []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")},
			Actions: []string{"pull", "push"}, Comment: "team builds", Line: 4,
		},
		{Names: []string{"*"}, Type: "repository", Repositories: []string{"secret/**", "{user}/*"}, Deny: true, Actions: []string{"*"}, Line: 6},
	}
	tests := []access.Test{{
		User: "alice", Groups: []string{"ops"}, Action: "push", Repository: "team/app:dev-1", From: netip.MustParseAddr("10.1.2.3"),
		Expect: "allow", Line: 12,
	}}
	equal := []cmp.Option{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })}
	if diff := cmp.Diff(rules, cfg.rules(), equal...); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(tests, cfg.tests(), equal...); diff != "" {
		t.Error(diff)
	}
	if _, err := cfg.policy(); err != nil {
		t.Error(err)
	}
	cfg.AccessTests[0].From = nil
	if _, err := cfg.policy(); err == nil || !strings.Contains(err.Error(), "accesstests 1 (line 12)") {
		t.Errorf("a test that does not hold: %v", err)
	}
}

// TestImages loads what the images registry:2 and registry:3 hold.
func TestImages(t *testing.T) {
	for _, tt := range []struct {
		file, level, debug string
		remove             bool
	}{
		{"registry2.yml", "info", "", false},
		{"registry3.yml", "debug", ":5001", true},
	} {
		cfg, warnings, err := loadConfig(filepath.Join("testdata", tt.file), nil)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %v, warnings %q", tt.file, err, warnings)
			continue
		}
		got := []any{cfg.HTTP.Addr, cfg.dataDir(), cfg.Log.Level, cfg.HTTP.Debug.Addr, cfg.Storage.Delete.Enabled, cfg.Health.StorageDriver.Interval}
		if diff := cmp.Diff([]any{":5000", "/var/lib/registry", tt.level, tt.debug, tt.remove, 10 * time.Second}, got); diff != "" {
			t.Errorf("%s: %s", tt.file, diff)
		}
	}
}

func TestValues(t *testing.T) {
	cfg := mustParse(t, `
loglevel: WARN
log: {accesslog: {disabled: yes}, formatter: json, reportcaller: "true"}
http:
  secret: 0123
  draintimeout: 60000000000
  relativeurls: off
  trustedproxies: 10.0.0.1
  headers: {X-One: a, X-Two: [b, 1]}
  tls: &files {certificate: a.pem, key: b.pem}
  h2c: {enabled: On}
storage: {filesystem: {rootdirectory: /data}}
metadata: {sqlite: {path: /db/berth.sqlite}}
catalog: {maxentries: 0x10}
tags: {maxtags: 5000}
`)
	got := []any{
		cfg.Log.Level, cfg.Log.AccessLog.Disabled, cfg.Log.ReportCaller, cfg.HTTP.Secret.Reveal(), cfg.HTTP.DrainTimeout, cfg.HTTP.RelativeURLs,
		cfg.HTTP.TrustedProxies[0].String(), cfg.HTTP.Headers, cfg.HTTP.TLS.Key, cfg.HTTP.H2C.Enabled,
		cfg.storageDriver(), cfg.dataDir(), cfg.databasePath(), cfg.Catalog.MaxEntries, cfg.Tags.MaxTags,
	}
	want := []any{
		"warn", true, true, "0123", time.Minute, false,
		"10.0.0.1/32", map[string][]string{"X-One": {"a"}, "X-Two": {"b", "1"}}, "b.pem", true,
		"filesystem", "/data", "/db/berth.sqlite", 16, 1000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAliases(t *testing.T) {
	cfg := mustParse(t, `
auth: {accounts: {enabled: true}, groups: {a: &users [alice, bob], b: *users}}
access:
  - &rule {name: alice, type: registry, action: pull}
  - {<<: *rule, name: bob}
`)
	if diff := cmp.Diff([]string{"alice", "bob"}, cfg.Auth.Groups["b"]); diff != "" {
		t.Error(diff)
	}
	if r := cfg.Access[1]; r.Name[0] != "bob" || r.Type != "registry" {
		t.Errorf("merged: %+v", r)
	}
}

func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"redis: {addrs: [r:6379]}":                                  "redis is not used",
		"redis: {addr: r, pool: {maxidle: 1}}":                      "redis is not used",
		"storage: {maintenance: {uploadpurging: {enabled: false}}}": "uploads that nobody goes on with stay",
		"access: []": "access is empty",
		"access: [{name: bob, type: registry, action: pull}]":                                          "access without auth",
		"auth: none\nredis: {password: x}":                                                             "redis is not used",
		"auth: {accounts: {enabled: true}}\naccess: [{name: anonymous, type: registry, action: push}]": "access rule 1",
	} {
		_, warnings, err := parseConfig("config.yml", []byte(text), nil)
		if err != nil || len(warnings) == 0 || !strings.Contains(warnings[0], want) {
			t.Errorf("%s: %v, warnings %q", text, err, warnings)
		}
	}
}

func TestFindConfig(t *testing.T) {
	variable := []string{"A=b", "REGISTRY_CONFIGURATION_PATH=/from/variable.yml"}
	for _, tt := range []struct {
		args, env []string
		files     map[string]error
		want      string
	}{
		{[]string{"given.yml"}, variable, nil, "given.yml"},
		{nil, variable, nil, "/from/variable.yml"},
		{nil, nil, map[string]error{"/etc/distribution/config.yml": nil, "/etc/docker/registry/config.yml": nil, "/etc/berth/config.yml": nil}, "/etc/berth/config.yml"},
		{nil, nil, map[string]error{"/etc/distribution/config.yml": nil, "/etc/docker/registry/config.yml": nil}, "/etc/docker/registry/config.yml"},
		{nil, nil, map[string]error{"/etc/distribution/config.yml": nil}, "/etc/distribution/config.yml"},
		{nil, nil, map[string]error{"/etc/berth/config.yml": fs.ErrPermission, "/etc/distribution/config.yml": nil}, "/etc/berth/config.yml"},
		{nil, []string{"REGISTRY_CONFIGURATION_PATH="}, nil, ""},
	} {
		got := findConfig(tt.args, tt.env, func(path string) (fs.FileInfo, error) {
			err, ok := tt.files[path]
			if !ok {
				err = fs.ErrNotExist
			}
			return nil, err
		})
		if got != tt.want {
			t.Errorf("findConfig(%q, %q, %v) = %q, want %q", tt.args, tt.env, tt.files, got, tt.want)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, _, err := loadConfig(filepath.Join(t.TempDir(), "absent.yml"), nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "absent.yml") {
		t.Errorf("got %v", err)
	}
}

// TestDataOfANode: what is in PostgreSQL and an object store leaves a node a
// folder of its own.
func TestDataOfANode(t *testing.T) {
	for storage, want := range map[string]string{"filesystem: {}": defaultRoot, "gcs: {bucket: b}": "/srv/node1"} {
		text := "storage: {" + storage + "}\nmetadata: {postgres: {url: 'postgres://127.0.0.1/berth'}}\n"
		cfg, _, err := parseConfig("config.yml", []byte(text), []string{"BERTH_DATA=/srv/node1"})
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.dataDir(); got != want {
			t.Errorf("%s: %s, want %s", storage, got, want)
		}
	}
}
