package main

import (
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/oidc"
)

// An oidcConfig is one OpenID Connect provider.
type oidcConfig struct {
	Name             string        `yaml:"name"`
	Issuer           string        `yaml:"issuer"`
	ClientID         string        `yaml:"clientid"`
	ClientSecret     auth.Secret   `yaml:"clientsecret,omitempty"`
	ClientSecretFile string        `yaml:"clientsecretfile,omitempty"`
	Scopes           []string      `yaml:"scopes,omitempty"`
	Prompt           string        `yaml:"prompt,omitempty"`
	Username         string        `yaml:"username,omitempty"`
	Groups           string        `yaml:"groups,omitempty"`
	Plain            bool          `yaml:"plain"`
	CAFile           string        `yaml:"cafile,omitempty"`
	Interval         time.Duration `yaml:"interval,omitempty"`
	Stale            time.Duration `yaml:"stale,omitempty"`
	Lifetime         time.Duration `yaml:"lifetime,omitempty"`
}

const (
	maxProviderName = 32
	// leastInterval keeps a provider from being asked for every request.
	leastInterval = 10 * time.Second
)

// checkProvider says why a backend cannot have that name: it stands in names of
// users and in addresses.
func checkProvider(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	switch {
	case name == "":
		return fmt.Errorf("name is missing: it stands in front of the names of its users")
	case strings.Trim(name, letters) != "" || name[0] == '-' || len(name) > maxProviderName:
		return fmt.Errorf("%q must be at most %d small letters, digits and hyphens", name, maxProviderName)
	}
	return nil
}

func (c *Config) checkOIDC(add func(path, format string, args ...any)) {
	taken := ownProviders()
	for _, dir := range c.Auth.LDAP {
		taken[dir.Name] = true
	}
	for _, rule := range c.Auth.Trust {
		taken[rule.Name] = true
	}
	for i, o := range c.Auth.OIDC {
		at := func(key string) string { return fmt.Sprintf("auth.oidc.%d.%s", i, key) }
		if err := checkProvider(o.Name); err != nil {
			add(at("name"), "%v", err)
		} else if taken[o.Name] {
			add(at("name"), "another backend is called %s too", o.Name)
		}
		taken[o.Name] = true
		if err := oidc.CheckURL(o.Issuer); err != nil {
			add(at("issuer"), "%v", err)
		}
		if o.ClientID == "" {
			add(at("clientid"), "it is missing: the provider gives it when this registry is registered there")
		}
		if o.ClientSecret != "" && o.ClientSecretFile != "" {
			add(at("clientsecret"), "it is given twice: leave it out, as clientsecretfile is there")
		}
		for key, d := range map[string]time.Duration{"interval": o.Interval, "stale": o.Stale, "lifetime": o.Lifetime} {
			if d != 0 && d < leastInterval {
				add(at(key), "it must be at least %v", leastInterval)
			}
		}
		if o.Stale != 0 && o.Stale < o.Interval {
			add(at("stale"), "it must not be shorter than interval")
		}
	}
}

// options returns o as package oidc reads it.
func (o oidcConfig) options() (oidc.Options, error) {
	options := oidc.Options{
		Name: o.Name, Issuer: o.Issuer, ClientID: o.ClientID, Secret: o.secret, Scopes: o.Scopes, Prompt: o.Prompt,
		Username: o.Username, Groups: o.Groups, Plain: o.Plain, Interval: o.Interval, Stale: o.Stale, Lifetime: o.Lifetime,
	}
	if o.CAFile == "" {
		return options, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return options, fmt.Errorf("read auth.oidc %s, cafile: %w", o.Name, err)
	}
	options.CAs = x509.NewCertPool()
	if !options.CAs.AppendCertsFromPEM(pem) {
		return options, fmt.Errorf("auth.oidc %s: cafile %s holds no certificate in PEM", o.Name, o.CAFile)
	}
	return options, nil
}

// secret returns the client's secret as it is now. An empty file is an error: a
// client without a secret has none.
func (o oidcConfig) secret() (auth.Secret, error) {
	if o.ClientSecretFile == "" {
		return o.ClientSecret, nil
	}
	data, err := os.ReadFile(o.ClientSecretFile)
	if err != nil {
		return "", err
	}
	secret := auth.Secret(strings.TrimRight(string(data), "\r\n"))
	if secret == "" {
		return "", fmt.Errorf("the clientsecretfile %s is empty", o.ClientSecretFile)
	}
	return secret, nil
}
