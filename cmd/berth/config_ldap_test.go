package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/test/directory"
)

// corp is a directory as the documentation has it.
const corp = `
auth:
  ldap:
    - name: corp
      urls: [ldaps://dc1.corp.test, ldaps://dc2.corp.test]
      starttls: false
      cafile: /etc/berth/corp-ca.pem
      binddn: CN=berth,OU=Service,DC=corp,DC=test
      bindpasswordfile: /run/secrets/ldap
      activedirectory: true
      user:  {base: "DC=corp,DC=test", filter: "(uid={user})", name: uid}
      group: {base: "DC=corp,DC=test", filter: "(member={dn})", name: cn, nested: true}
`

func TestLDAPConfig(t *testing.T) {
	cfg, warnings, err := parseConfig("config.yml", []byte(corp), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 || !cfg.authenticates() || cfg.basicOnly() {
		t.Errorf("warnings %q, authenticates %v, basic only %v", warnings, cfg.authenticates(), cfg.basicOnly())
	}
	o := cfg.Auth.LDAP[0].options(nil, nil)
	if o.Interval != 5*time.Minute || o.Stale != time.Hour || o.Attempts != 5 || o.PoolSize != 8 || !o.Group.Nested || o.User.Name != "uid" {
		t.Errorf("%+v", o)
	}
	if got, faults := cfg.checkFiles(); len(faults) > 0 || len(got) != 2 || !strings.Contains(got[0], "auth.ldap.0.cafile") || !strings.Contains(got[1], "auth.ldap.0.bindpasswordfile") {
		t.Errorf("files that are missing: %q", got)
	}
	if data, err := cfg.render("yaml"); err != nil || !strings.Contains(string(data), "stale: 1h0m0s") {
		t.Errorf("shown as %s, %v", data, err)
	}
}

func TestLDAPConfigInVariables(t *testing.T) {
	cfg, _, err := parseConfig("config.yml", []byte("version: 0.1"), []string{
		`REGISTRY_AUTH_LDAP=[{name: corp, urls: [ldap://dc1], binddn: cn=a, user: {base: dc=corp}, stale: 0s}]`,
		"REGISTRY_AUTH_LDAP_0_BINDPASSWORD=0123",
		"REGISTRY_AUTH_LDAP_0_INSECURE=true",
		"REGISTRY_AUTH_LDAP_0_GROUP_NAME=ou",
	})
	if err != nil {
		t.Fatal(err)
	}
	o := cfg.Auth.LDAP[0].options(nil, nil)
	if o.Stale >= 0 || o.BindPassword.Reveal() != "0123" || o.Group.Name != "ou" {
		t.Errorf("%+v", o)
	}
	if got := cfg.warnings(); !slices.ContainsFunc(got, func(w string) bool { return strings.Contains(w, "ldap://dc1 in clear text") }) {
		t.Errorf("warnings %q", got)
	}
	data, err := cfg.render("json")
	if err != nil || strings.Contains(string(data), "0123") {
		t.Errorf("shown as %s, %v", data, err)
	}
}

func TestLDAPFaults(t *testing.T) {
	const rest = `, urls: [ldaps://dc1], user: {base: "dc=corp"}`
	for text, want := range map[string]string{
		"[{}]":                                           "auth.ldap.0: name: it must be of lower-case letters",
		"[{name: Corp" + rest + "}]":                     "auth.ldap.0: name: it must be of lower-case letters",
		"[{name: a/b" + rest + "}]":                      "auth.ldap.0: name: it must be of lower-case letters",
		"[{name: htpasswd" + rest + "}]":                 "auth.ldap.0: name: another backend is called htpasswd too",
		"[{name: a, urls: [ldaps://dc1]}]":               "auth.ldap.0: user.base: it is missing",
		"[{name: a" + rest + ", stale: -1s}]":            "auth.ldap.0: stale: it must not be negative",
		"[{name: a" + rest + ", bind: x}]":               "unknown key auth.ldap.0.bind",
		"[{name: a" + rest + "}, {name: a" + rest + "}]": "auth.ldap.1: name: another backend is called a too",
	} {
		got := faults(t, "auth: {ldap: "+text+"}")
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s:\n got %q\nwant %s", text, got, want)
		}
	}
}

// TestLDAPGate is a directory as the last of several backends.
func TestLDAPGate(t *testing.T) {
	s := directory.StartOpenLDAP(t)
	s.AddGroup("developers", s.AddUser("alice", "alice-secret"))
	dir := t.TempDir()
	secret := filepath.Join(dir, "ldap")
	if err := os.WriteFile(secret, []byte(s.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := parseConfig("config.yml", fmt.Appendf(nil, `
storage: {filesystem: {rootdirectory: %q}}
auth:
  accounts: {enabled: true}
  groups: {readers: [alice]}
  ldap:
    - name: corp
      urls: [%q]
      cafile: %q
      binddn: %q
      bindpasswordfile: %q
      user: {base: %q}
      group: {base: %[6]q, filter: "(member={dn})"}
`, dir, s.TLSURL, s.CAFile, s.BindDN, secret, s.BaseDN), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err := openCore(t.Context(), cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	id, err := c.verifier.Verify(t.Context(), auth.Credentials{User: "ALICE", Password: "alice-secret"})
	if err != nil || id.Name != "alice" || id.Provider != "corp" || !slices.Equal(id.Groups, []string{"developers", "readers"}) {
		t.Errorf("%+v, %v", id, err)
	}
	if _, err := c.verifier.Verify(t.Context(), auth.Credentials{User: "alice", Password: "wrong"}); err == nil {
		t.Error("a wrong password")
	}
	if err := c.accounts.Add(t.Context(), "alice", "her-account", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.verifier.Verify(t.Context(), auth.Credentials{User: "alice", Password: "alice-secret"}); err == nil {
		t.Error("the first backend that knows a name does not own it")
	}
}
