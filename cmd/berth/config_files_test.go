package main

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/test/authority"
)

// firstVersion returns a list of revoked certificates as openssl ca makes one
// without crl_extensions.
func firstVersion(t *testing.T, a *authority.Authority) string {
	t.Helper()
	// RFC 5280, section 5.1, without a version.
	type signed struct {
		Algorithm pkix.AlgorithmIdentifier
		Issuer    pkix.RDNSequence
		This      time.Time
		Next      time.Time
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	der, err := asn1.Marshal(struct {
		Signed    signed
		Algorithm pkix.AlgorithmIdentifier
		Value     asn1.BitString
	}{
		signed{algorithm, a.Cert.Subject.ToRDNSequence(), time.Now().UTC(), time.Now().UTC().Add(time.Hour)},
		algorithm,
		asn1.BitString{Bytes: []byte{0}, BitLength: 8},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// TestFilesAreChecked: what `config check` says of a file, `serve` does with it.
func TestFilesAreChecked(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	file := func(name, text string) string { return writeFile(t, path(name), text) }
	root, other := authority.New(t, "root"), authority.New(t, "other")
	authority.Write(t, path("cert"), path("key"), root.Key, root.Cert)
	authority.Write(t, path("othercert"), path("otherkey"), other.Key, other.Cert)
	file("text", "text\n")
	file("empty", "")
	file("crl1", firstVersion(t, root))
	file("crl", string(root.List(t, nil)))
	file("users", "alice:"+"$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\n")
	file("plain", "alice:{SHA}x\n")
	file("jwks", newPlatform(t).keys())
	const (
		clients = "http: {tls: {certificate: DIR/cert, key: DIR/key, clientcas: [DIR/cert]}}\nauth: {certificate: {user: subject.commonname, crlfile: DIR/"
		pair    = "auth: {accounts: {enabled: true}, issuer: {services: [s], issuer: i, certificate: DIR/cert, key: DIR/"
		corp    = "auth: {ldap: [{name: corp, urls: ['ldaps://dc1.test'], binddn: cn=a, bindpasswordfile: DIR/users, user: {base: dc=test}, cafile: DIR/"
		job     = "auth: {trust: [{name: ci, issuer: 'https://ci.test', audience: a, match: {sub: s}, user: 'job:x', "
		outside = "auth: {token: {realm: 'https://auth.test/token', service: s, issuer: i, "
		sso     = "auth: {oidc: [{name: sso, issuer: 'https://sso.test', clientid: berth, "
	)
	for _, tt := range []struct {
		text        string
		fault, warn string // of the two commands; of `config check`
	}{
		{"auth: {htpasswd: {path: DIR/users}}", "", ""},
		{"auth: {htpasswd: {path: DIR/text}}", "line 1 is not of the form user:hash", ""},
		{"auth: {htpasswd: {path: DIR/empty}}", "", "auth.htpasswd.path: read the password file " + path("empty") + ": it holds no users"},
		{"auth: {htpasswd: {path: DIR/plain}}", "", "the password is kept as SHA-1"},
		{clients + "crl}}", "", ""},
		{clients + "crl1}}", "must be of version 2", ""},
		{clients + "empty}}", "is empty", ""},
		{clients + "text}}", "read a list of revoked certificates", ""},
		{pair + "key}}", "", ""},
		{pair + "otherkey}}", "load auth.issuer.certificate and key", ""},
		{corp + "cert}]}", "", ""},
		{corp + "text}]}", "it holds no certificate in PEM", ""},
		{strings.Replace(corp, "DIR/users", "DIR/empty", 1) + "cert}]}", "auth.ldap: corp: ", ""},
		{corp + "cert, certfile: DIR/cert, keyfile: DIR/otherkey}]}", "read certfile and keyfile", ""},
		{job + "jwksfile: DIR/jwks}]}", "", ""},
		{job + "jwksfile: DIR/text}]}", "auth.trust: trust ci", ""},
		{job + "jwksurl: 'https://ci.test', cafile: DIR/text}]}", "", "holds no certificate in PEM; " + noLogin},
		{outside + "rootcertbundle: DIR/cert}}", "", ""},
		{outside + "rootcertbundle: DIR/text}}", "auth.token: ", ""},
		{outside + "jwks: DIR/text}}", "auth.token: ", ""},
		{sso + "cafile: DIR/text}]}", "cafile " + path("text") + " holds no certificate in PEM", ""},
		{sso + "clientsecretfile: DIR/text}]}", "", ""},
		{sso + "clientsecretfile: DIR/empty}]}", "", "is empty; " + noLogin},
		{sso + "clientsecretfile: DIR/absent}]}", "", "no such file or directory; " + noLogin},
	} {
		text := "storage: inmemory\n" + strings.ReplaceAll(tt.text, "DIR", dir) + "\n"
		want := tt.fault + tt.warn
		stdout, stderr, code := command(t, "config", "check", file("config.yml", text))
		if (code != 0) != (tt.fault != "") || !strings.Contains(stderr, want) || want == "" && stderr != "" {
			t.Errorf("%s\nexit %d: %s%s", text, code, stdout, stderr)
		}
		c, err := openCore(t.Context(), mustParse(t, text), slog.New(slog.DiscardHandler), nil)
		if err == nil {
			err = c.close()
		}
		if (err != nil) != (tt.fault != "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s\nserve: %v", text, err)
		}
	}
}
