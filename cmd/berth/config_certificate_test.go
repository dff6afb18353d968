package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/auth/certificate"
)

func TestFaultsOfCertificates(t *testing.T) {
	const own = "certificate: c, key: k"
	for _, tt := range []struct{ tls, users, want string }{
		{own + ", clientcas: [a, b]", "", ""},
		{own + ", clientauth: request-client-cert", "", ""},
		{own + ", clientcas: [a], clientauth: verify-client-cert-if-given", "user: san.uri, groups: subject.organizationalunit, crlfile: r", ""},
		{own + ", clientcas: [a]", "prefix: ci.example/", ""},
		{own + ", clientcas: [a]", "plain: true", ""},
		{own + ", clientauth: maybe", "", `http.tls.clientauth: "maybe" is none of request-client-cert, require-any-client-cert, verify-client-cert-if-given, require-and-verify-client-cert`},
		{"clientcas: [a]", "", "http.tls: clientcas and clientauth need certificate and key: without TLS there are no certificates"},
		{own + ", clientauth: require-and-verify-client-cert", "", "http.tls.clientauth: require-and-verify-client-cert needs clientcas, the authorities to verify by"},
		{own, "user: san.dns", "auth.certificate: it needs http.tls.clientcas, the authorities that vouch for clients"},
		{own + ", clientcas: [a], clientauth: require-any-client-cert", "user: san.dns", "auth.certificate: http.tls.clientauth require-any-client-cert does not verify certificates: anybody could make one of any name"},
		{own + ", clientcas: [a]", "user: cn", `auth.certificate.user: "cn" is none of [subject.commonname san.dns san.email san.uri]`},
		{own + ", clientcas: [a]", "groups: cn", `auth.certificate.groups: "cn" is not subject.organizationalunit`},
		{own + ", clientcas: [a]", "plain: true, prefix: x/", "auth.certificate.prefix: with plain: true names have none"},
		{own + ", clientcas: [a]", "prefix: token/", "auth.certificate.prefix: token/ is in front of other users' names"},
		{own + ", clientcas: [a]", "prefix: x", "auth.certificate.prefix: it must be a word and a slash, such as cert/"},
	} {
		text := "http: {tls: {" + tt.tls + "}}\n"
		if tt.users != "" {
			text += "auth: {certificate: {" + tt.users + "}}\n"
		}
		got := faults(t, text)
		if tt.want == "" && got == nil {
			continue
		}
		if len(got) != 1 || got[0][len("config.yml:1: "):] != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", text, got, tt.want)
		}
	}
}

func TestDefaultsOfCertificates(t *testing.T) {
	const text = "http: {tls: {certificate: c, key: k, clientcas: a}}\nauth: {certificate: }\n"
	cfg, _, err := parseConfig("config.yml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&certificateConfig{User: certificate.CommonName, Prefix: "cert/"}, cfg.Auth.Certificate); diff != "" {
		t.Error(diff)
	}
	if cfg.HTTP.TLS.ClientAuth != requireAndVerify || !cfg.authenticates() || cfg.basicOnly() {
		t.Errorf("clientauth %q, authenticates %v, Basic %v", cfg.HTTP.TLS.ClientAuth, cfg.authenticates(), cfg.basicOnly())
	}
}
