package main

import "testing"

func TestFaultsOfIssuer(t *testing.T) {
	const pair = "certificate: c, key: k"
	for _, tt := range []struct{ issuer, want string }{
		{"services: [a.test, b.test], issuer: us, kid: libtrust, " + pair, ""},
		{"services: [a.test]", ""},
		{"expiration: -1s", "auth.issuer.expiration: it must not be negative"},
		{"services: [a.test, '']", "auth.issuer.services: a service has no name"},
		{"services: [a.test, a.test]", `auth.issuer.services: "a.test" is there twice, or is the name of this registry`},
		{"service: r.test, services: [r.test]", `auth.issuer.services: "r.test" is there twice, or is the name of this registry`},
		{"services: [berth]", `auth.issuer.services: "berth" is there twice, or is the name of this registry`},
		{"services: [a.test], certificate: c", "auth.issuer: certificate and key go together"},
		{"services: [a.test], key: k", "auth.issuer: certificate and key go together"},
		{"services: [a.test], kid: libtrust", "auth.issuer.kid: it names the key of a certificate: add certificate and key"},
		{"services: [a.test], kid: sha1, " + pair, `auth.issuer.kid: "sha1" is none of thumbprint, libtrust`},
		{pair, "auth.issuer: issuer, certificate, key and kid are for the tokens of other registries: name those under services"},
		{"issuer: us", "auth.issuer: issuer, certificate, key and kid are for the tokens of other registries: name those under services"},
	} {
		got := faults(t, "auth: {accounts: {enabled: true}, issuer: {"+tt.issuer+"}}\n")
		if tt.want == "" && got == nil {
			continue
		}
		if len(got) != 1 || got[0] != "config.yml:1: "+tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.issuer, got, tt.want)
		}
	}
}
