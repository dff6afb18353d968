package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/auth/jwks"
	"berth/auth/token"
	"berth/auth/trust"
)

// trustConfig is one rule of auth.trust.
type trustConfig struct {
	Name     string              `yaml:"name,omitempty"`
	Kind     string              `yaml:"kind,omitempty"`
	Issuer   string              `yaml:"issuer,omitempty"`
	Audience string              `yaml:"audience,omitempty"`
	Match    map[string][]string `yaml:"match,omitempty"`
	User     string              `yaml:"user,omitempty"`
	Groups   []string            `yaml:"groups,omitempty"`
	MaxAge   time.Duration       `yaml:"maxage,omitempty"`
	Replay   string              `yaml:"replay,omitempty"`
	// JWKS is a key set, as YAML or as a text in JSON.
	JWKS     any    `yaml:"jwks,omitempty"`
	JWKSFile string `yaml:"jwksfile,omitempty"`
	JWKSURL  string `yaml:"jwksurl,omitempty"`
	CAFile   string `yaml:"cafile,omitempty"`
}

// rule returns the rule as package trust reads it.
func (t trustConfig) rule() trust.Rule {
	return trust.Rule{
		Name:     t.Name,
		Kind:     t.Kind,
		Issuer:   t.Issuer,
		Audience: t.Audience,
		Match:    t.Match,
		User:     t.User,
		Groups:   t.Groups,
		MaxAge:   t.MaxAge,
		Replay:   t.Replay,
		Keys:     jwks.Source{JSON: t.keys(), File: t.JWKSFile, URL: t.JWKSURL, CAFile: t.CAFile},
	}
}

// keys returns the key set of the configuration in JSON. What cannot be written
// so is found to be none.
func (t trustConfig) keys() []byte {
	switch keys := t.JWKS.(type) {
	case nil:
		return nil
	case string:
		return []byte(keys)
	default:
		data, err := json.Marshal(keys)
		if err != nil {
			return []byte("null")
		}
		return data
	}
}

func (c *Config) trustRules() []trust.Rule {
	rules := make([]trust.Rule, 0, len(c.Auth.Trust))
	for _, t := range c.Auth.Trust {
		rules = append(rules, t.rule())
	}
	return rules
}

func (c *Config) checkTrust(add func(path, format string, args ...any)) {
	taken := ownProviders()
	for _, dir := range c.Auth.LDAP {
		taken[dir.Name] = true
	}
	for i, t := range c.Auth.Trust {
		at := fmt.Sprintf("auth.trust.%d.", i)
		for _, f := range t.rule().Faults() {
			add(at+f.Key, "%s", f.Text)
		}
		if t.Name != "" && taken[t.Name] {
			add(at+"name", "another backend or rule is called %s too", t.Name)
		}
		taken[t.Name] = true
	}
}

// isURL reports whether auth.token.jwks is an address and no path.
func isURL(s string) bool { return strings.Contains(s, "://") }

func (c *Config) checkOutside(add func(path, format string, args ...any)) {
	t := c.Auth.Token
	if t == nil {
		return
	}
	realm, err := url.Parse(t.Realm)
	switch {
	case t.Realm == "" && !t.AutoRedirect:
		add("auth.token.realm", "it is missing: the address of the token server")
	case t.Realm != "" && (err != nil || realm.Host == "" || realm.Scheme != "http" && realm.Scheme != "https"):
		add("auth.token.realm", "it must be a URL such as https://auth.example.org/token")
	}
	if t.Service == "" {
		add("auth.token.service", "it is missing: whom the tokens are for")
	}
	if t.Issuer == "" {
		add("auth.token.issuer", "it is missing: who signs the tokens")
	}
	if t.RootCertBundle == "" && t.JWKS == "" {
		add("auth.token", "rootcertbundle or jwks is missing: the keys that sign the tokens")
	}
	if isURL(t.JWKS) {
		if err := (jwks.Source{URL: t.JWKS}).Check(); err != nil {
			add("auth.token.jwks", "%v", err)
		}
	}
	for _, name := range t.SigningAlgorithms {
		switch {
		case strings.HasPrefix(name, "HS"):
			add("auth.token.signingalgorithms", "%s is symmetric: whoever verifies with it can sign with it too", name)
		case !slices.Contains(jwks.Algorithms(), name):
			add("auth.token.signingalgorithms", "%q is none of %s", name, strings.Join(jwks.Algorithms(), ", "))
		}
	}
	if t.AutoRedirect && !strings.HasPrefix(t.AutoRedirectPath, "/") {
		add("auth.token.autoredirectpath", "it must begin with a /")
	}
}

// outside returns the options of the outside token server.
func (t *tokenAuthConfig) outside(log *slog.Logger) token.OutsideOptions {
	o := token.OutsideOptions{
		Issuer:       t.Issuer,
		Service:      t.Service,
		Certificates: t.RootCertBundle,
		Algorithms:   t.SigningAlgorithms,
		Log:          log,
	}
	switch {
	case isURL(t.JWKS):
		o.Keys = &jwks.Source{URL: t.JWKS}
	case t.JWKS != "":
		o.Keys = &jwks.Source{File: t.JWKS}
	}
	return o
}
