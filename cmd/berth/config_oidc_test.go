package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/auth"
)

const goodOIDC = "auth: {oidc: [{name: sso, issuer: 'https://sso.test', clientid: berth}]}"

func TestOIDCIsChecked(t *testing.T) {
	if got := faults(t, goodOIDC); got != nil {
		t.Errorf("%q", got)
	}
	for change, want := range map[string]string{
		"name: sso => name: ''":                                                "auth.oidc.0.name: name is missing",
		"name: sso => name: SSO":                                               "small letters, digits and hyphens",
		"name: sso => name: a/b":                                               "small letters, digits and hyphens",
		"name: sso => name: -a":                                                "small letters, digits and hyphens",
		"name: sso => name: htpasswd":                                          "another backend is called htpasswd too",
		"'https://sso.test' => 'http://sso.test'":                              "auth.oidc.0.issuer: it must begin with https://",
		"'https://sso.test' => sso.test":                                       "auth.oidc.0.issuer: it must be a URL",
		"clientid: berth => plain: true":                                       "auth.oidc.0.clientid: it is missing",
		"berth} => berth, interval: 1s}":                                       "auth.oidc.0.interval: it must be at least 10s",
		"berth} => berth, interval: 2h, stale: 1h}":                            "auth.oidc.0.stale: it must not be shorter than interval",
		"berth} => berth, lifetime: -1h}":                                      "auth.oidc.0.lifetime",
		"berth} => berth, usrname: email}":                                     "did you mean username?",
		"berth} => berth, clientsecret: a, clientsecretfile: b}":               "auth.oidc.0.clientsecret: it is given twice",
		"berth} => berth}, {name: sso, issuer: 'https://a.test', clientid: c}": "auth.oidc.1.name: another backend is called sso too",
	} {
		from, to, _ := strings.Cut(change, " => ")
		got := faults(t, strings.Replace(goodOIDC, from, to, 1))
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q", change, got)
		}
	}
}

func TestOIDCAuthenticates(t *testing.T) {
	cfg := mustParse(t, goodOIDC)
	if !cfg.authenticates() || cfg.basicOnly() || cfg.hasPasswords() {
		t.Errorf("authenticates %v, basicOnly %v, hasPasswords %v", cfg.authenticates(), cfg.basicOnly(), cfg.hasPasswords())
	}
}

// TestOIDCSecret: the file of the secret can change.
func TestOIDCSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	o := oidcConfig{Name: "sso", ClientSecretFile: path}
	if _, err := o.secret(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []auth.Secret{"one", "two"} {
		writeFile(t, path, want.Reveal()+"\n")
		if got, err := o.secret(); err != nil || got != want {
			t.Errorf("%v", err)
		}
	}
	if got, err := (oidcConfig{ClientSecret: "three"}).secret(); err != nil || got != "three" {
		t.Errorf("%v", err)
	}
	o.CAFile = writeFile(t, path+".pem", "no certificate")
	if _, err := o.options(); err == nil {
		t.Error("any file is a CA")
	}
	o = oidcConfig{Name: "sso", Interval: time.Minute, Plain: true}
	if got, err := o.options(); err != nil || got.Interval != time.Minute || !got.Plain || got.CAs != nil {
		t.Errorf("%+v, %v", got, err)
	}
}
