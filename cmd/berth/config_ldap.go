package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/ldap"
)

// ldapConfig is one directory of auth.ldap.
type ldapConfig struct {
	Name             string      `yaml:"name"`
	URLs             []string    `yaml:"urls"`
	StartTLS         bool        `yaml:"starttls"`
	Insecure         bool        `yaml:"insecure,omitempty"`
	CAFile           string      `yaml:"cafile,omitempty"`
	CertFile         string      `yaml:"certfile,omitempty"`
	KeyFile          string      `yaml:"keyfile,omitempty"`
	ServerName       string      `yaml:"servername,omitempty"`
	BindDN           string      `yaml:"binddn,omitempty"`
	BindPassword     auth.Secret `yaml:"bindpassword,omitempty"`
	BindPasswordFile string      `yaml:"bindpasswordfile,omitempty"`
	ActiveDirectory  bool        `yaml:"activedirectory,omitempty"`
	User             struct {
		Base   string `yaml:"base,omitempty"`
		Filter string `yaml:"filter,omitempty"`
		Name   string `yaml:"name,omitempty"`
		DN     string `yaml:"dn,omitempty"`
	} `yaml:"user,omitempty"`
	Group struct {
		Base   string `yaml:"base,omitempty"`
		Filter string `yaml:"filter,omitempty"`
		Name   string `yaml:"name,omitempty"`
		Nested bool   `yaml:"nested,omitempty"`
	} `yaml:"group,omitempty"`
	Interval time.Duration  `yaml:"interval"`
	Stale    *time.Duration `yaml:"stale"` // 0 is not at all
	Attempts int            `yaml:"attempts"`
	PoolSize int            `yaml:"poolsize"`
}

func (c *ldapConfig) setDefaults() {
	setDefault(&c.Interval, ldap.DefaultInterval)
	setDefault(&c.Attempts, ldap.DefaultAttempts)
	setDefault(&c.PoolSize, ldap.DefaultPoolSize)
	if c.Stale == nil {
		stale := ldap.DefaultStale
		c.Stale = &stale
	}
}

// options returns what the directory is made of.
func (c *ldapConfig) options(hasher *auth.Hasher, log *slog.Logger) ldap.Options {
	stale := *c.Stale
	if stale == 0 {
		stale = -1 // not at all
	}
	return ldap.Options{
		Name:             c.Name,
		URLs:             c.URLs,
		StartTLS:         c.StartTLS,
		Insecure:         c.Insecure,
		CAFile:           c.CAFile,
		CertFile:         c.CertFile,
		KeyFile:          c.KeyFile,
		ServerName:       c.ServerName,
		BindDN:           c.BindDN,
		BindPassword:     c.BindPassword,
		BindPasswordFile: c.BindPasswordFile,
		ActiveDirectory:  c.ActiveDirectory,
		User:             ldap.User(c.User),
		Group:            ldap.Group(c.Group),
		Interval:         c.Interval,
		Stale:            stale,
		Attempts:         c.Attempts,
		PoolSize:         c.PoolSize,
		Hasher:           hasher,
		Log:              log,
	}
}

// directoryName is what a provider can be called: its users' tokens say it, and
// logs and metrics do.
var directoryName = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$`)

// checkLDAP checks auth.ldap.
func (c *Config) checkLDAP(add func(path, format string, args ...any)) {
	taken := ownProviders()
	for i, dir := range c.Auth.LDAP {
		at := fmt.Sprintf("auth.ldap.%d", i)
		if !directoryName.MatchString(dir.Name) {
			add(at, "name: it must be of lower-case letters, digits, dots and dashes")
		} else if taken[dir.Name] {
			add(at, "name: another backend is called %s too", dir.Name)
		}
		taken[dir.Name] = true
		if dir.Stale != nil && *dir.Stale < 0 {
			add(at, "stale: it must not be negative")
		}
		if err := dir.options(nil, nil).Check(); err != nil && dir.Name != "" {
			for fault := range strings.Lines(err.Error()) {
				add(at, "%s", strings.TrimSpace(fault))
			}
		}
	}
}

// ldapWarnings returns what is accepted of auth.ldap and should not be so.
func (c *Config) ldapWarnings() (warnings []string) {
	for _, dir := range c.Auth.LDAP {
		for _, u := range dir.URLs {
			if dir.Insecure && !dir.StartTLS && strings.HasPrefix(u, "ldap://") {
				warnings = append(warnings, fmt.Sprintf("auth.ldap: passwords go to %s in clear text", u))
			}
		}
	}
	return warnings
}
