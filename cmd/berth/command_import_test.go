package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImportDockerAuth translates a configuration of every kind of thing that has
// an equal, and checks what comes out as `berth config check` does.
func TestImportDockerAuth(t *testing.T) {
	const hash = "$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC"
	dir := t.TempDir()
	from := writeFile(t, filepath.Join(dir, "auth.yml"), `
server: {addr: ":5001", certificate: /certs/server.pem, key: /certs/server.key, real_ip_header: X-Forwarded-For}
token: {issuer: Acme, expiration: 900}
users:
  admin: {password: "`+hash+`"}
  bob: {password: "`+hash+`", labels: {team: [dev]}}
  "": {}
acl:
  - {match: {account: admin}, actions: ["*"], comment: "runs it"}
  - {match: {ip: 10.0.0.0/8, labels: {team: dev}, name: "dev/*"}, actions: [pull, push]}
  - {match: {account: "/.+/", name: "${account}/*"}, actions: ["*"]}
  - {match: {account: "/.+/", type: registry, name: catalog}, actions: ["*"]}
  - {match: {name: "secret/*"}, actions: []}
  - {match: {}, actions: [pull]}
`)
	to := filepath.Join(dir, "config.yml")
	users := filepath.Join(dir, "htpasswd")
	args := []string{"import", "docker-auth", from, "--admin", "admin", "--service", "registry.example.org", "--htpasswd", users}
	stdout, stderr, code := command(t, args...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	for _, note := range []string{"http.trustedproxies", "/auth/token", "catalog"} {
		if !strings.Contains(stderr, note) || !strings.Contains(stdout, note) {
			t.Errorf("no note of %s: %s", note, stderr)
		}
	}
	data, err := os.ReadFile(users)
	if err != nil || string(data) != "admin:"+hash+"\nbob:"+hash+"\n" {
		t.Errorf("the password file: %q, %v", data, err)
	}
	writeFile(t, to, stdout)
	out, stderr, code := command(t, "config", "check", to)
	if code != 0 || !strings.Contains(out, "is good") {
		t.Fatalf("exit %d: %s%s\n%s", code, out, stderr, stdout)
	}
	cfg := mustParse(t, stdout)
	if i := cfg.Auth.Issuer; i.Issuer != "Acme" || i.KID != "libtrust" || i.Certificate != "/certs/server.pem" || i.Services[0] != "registry.example.org" || i.Expiration.String() != "15m0s" {
		t.Errorf("issuer %+v", i)
	}
	if cfg.HTTP.Addr != ":5001" || cfg.HTTP.TLS.Certificate != "/certs/server.pem" || cfg.Auth.Htpasswd.Path != users || len(cfg.AccessTests) < 10 {
		t.Errorf("%+v", cfg)
	}

	if _, stderr, code = command(t, args...); code != 1 || !strings.Contains(stderr, "is there already") {
		t.Errorf("a password file that is there: exit %d: %s", code, stderr)
	}
	stdout, _, code = command(t, "import", "docker-auth", from)
	if code == 0 || stdout != "" {
		t.Errorf("without an admin: exit %d: %s", code, stdout)
	}
}

// TestImportDockerAuthComment: without a file, the users are a comment.
func TestImportDockerAuthComment(t *testing.T) {
	const hash = "$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC"
	from := writeFile(t, filepath.Join(t.TempDir(), "auth.yml"), "users: {bob: {password: "+hash+"}}\nacl: [{match: {}, actions: [pull]}]\n")
	stdout, stderr, code := command(t, "import", "docker-auth", from)
	if code != 0 || !strings.HasSuffix(stdout, "# The users, for /etc/berth/htpasswd:\n# bob:"+hash+"\n") {
		t.Errorf("exit %d: %s%s", code, stderr, stdout)
	}
	mustParse(t, stdout)
}

// TestImportDockerAuthDirectory: a directory becomes one of auth.ldap.
func TestImportDockerAuthDirectory(t *testing.T) {
	from := writeFile(t, filepath.Join(t.TempDir(), "auth.yml"), `
ldap_auth:
  addr: ldap.example.com:389
  tls: starttls
  base: o=example.com
  bind_dn: cn=berth,o=example.com
  bind_password_file: /run/secrets/ldap
  filter: (&(uid=${account})(objectClass=person))
  labels: {groups: {attribute: memberOf, parse_cn: true, lower_case: true}}
acl:
  - {match: {labels: {groups: admins}}, actions: ["*"]}
  - {match: {account: "/.+/", name: "/^${account}/.+$/"}, actions: ["*"]}
  - {match: {account: "/.+/", name: "secret/*"}, actions: []}
  - {match: {account: "/.+/"}, actions: [pull]}
`)
	stdout, stderr, code := command(t, "import", "docker-auth", from)
	if code == 0 || !strings.Contains(stderr, "acl entry 3 (line 13)") {
		t.Fatalf("an exception for admins: exit %d: %s%s", code, stderr, stdout)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, from, strings.Replace(string(text), `  - {match: {account: "/.+/", name: "secret/*"}, actions: []}`+"\n", "", 1))
	if stdout, stderr, code = command(t, "import", "docker-auth", from); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	cfg := mustParse(t, stdout)
	dir := cfg.Auth.LDAP[0]
	if dir.URLs[0] != "ldap://ldap.example.com:389" || !dir.StartTLS || dir.User.Filter != "(&(uid={user})(objectClass=person))" || dir.User.Name != "uid" || dir.BindPasswordFile != "/run/secrets/ldap" {
		t.Errorf("%+v", dir)
	}
}
