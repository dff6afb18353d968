package main

import (
	"cmp"
	"crypto/tls"
	"time"

	"berth/auth/token"
)

// issuerConfig is auth.issuer: the built-in token server.
type issuerConfig struct {
	Service    string        `yaml:"service,omitempty"`
	Expiration time.Duration `yaml:"expiration,omitempty"`
	// Services are other registries whose token server this is. What follows is
	// of their tokens alone.
	Services    []string `yaml:"services,omitempty"`
	Issuer      string   `yaml:"issuer,omitempty"`
	Certificate string   `yaml:"certificate,omitempty"`
	Key         string   `yaml:"key,omitempty"`
	KID         string   `yaml:"kid,omitempty"`
}

// check reports what is wrong with the section, each fault under its key.
func (c *issuerConfig) check(add func(path, format string, args ...any)) {
	const section = "auth.issuer."
	if c.Expiration < 0 {
		add(section+"expiration", "it must not be negative")
	}
	seen := map[string]bool{c.Service: true}
	for _, s := range c.Services {
		switch {
		case s == "":
			add(section+"services", "a service has no name")
		case seen[s]:
			add(section+"services", "%q is there twice, or is the name of this registry", s)
		}
		seen[s] = true
	}
	if (c.Certificate == "") != (c.Key == "") {
		add("auth.issuer", "certificate and key go together")
	}
	if c.Certificate == "" && c.KID != "" {
		add(section+"kid", "it names the key of a certificate: add certificate and key")
	}
	if id := token.KeyID(c.KID); id != "" && id != token.Thumbprint && id != token.Libtrust {
		add(section+"kid", "%q is none of %s, %s", c.KID, token.Thumbprint, token.Libtrust)
	}
	if len(c.Services) == 0 && c.Issuer+c.Certificate+c.KID != "" {
		add("auth.issuer", "issuer, certificate, key and kid are for the tokens of other registries: name those under services")
	}
}

// signer returns what signs with a pair as the section says.
func (c *issuerConfig) signer(pair *tls.Certificate) (*token.Signer, error) {
	return token.NewSigner(pair, cmp.Or(token.KeyID(c.KID), token.Thumbprint))
}
