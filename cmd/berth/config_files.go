package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"berth/auth"
	"berth/auth/htpasswd"
	"berth/auth/jwks"
	"berth/auth/ldap"
	"berth/auth/token"
	"berth/auth/trust"
)

// Consequences of a file that is not there, for people.
const (
	noStart = "the server does not start without it"
	noLogin = "the server starts, but nobody can log in by it until that is mended"
)

// A filePart is a part of the configuration that names files.
type filePart struct {
	files [][2]string // the key of each, and its path; "" is none
	// open makes of the files what `berth serve` does, by the same function, and
	// gives it back. It says what would be degraded; "" when nothing is.
	open func() (degraded string, err error)
	// late: the server starts without it.
	late bool
}

// checkFiles opens and parses every file that the configuration names as `berth
// serve` does. One that cannot be opened is no error: a configuration may be
// checked on another machine than the one that it is for.
func (c *Config) checkFiles() (warnings, faults []string) {
	var said bytes.Buffer // that the server would log
	log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: messageAlone}))
	for _, p := range c.fileParts(log) {
		missing := p.missing()
		warnings = append(warnings, missing...)
		if len(missing) > 0 {
			continue
		}
		degraded, err := p.open()
		switch {
		case err != nil && p.late:
			warnings = append(warnings, fmt.Sprintf("%s: %v; %s", p.files[0][0], err, noLogin))
		case err != nil:
			faults = append(faults, err.Error())
		case degraded != "":
			warnings = append(warnings, p.files[0][0]+": "+degraded)
		}
	}
	for line := range strings.Lines(said.String()) {
		warnings = append(warnings, strings.TrimSpace(line))
	}
	return warnings, faults
}

// missing returns a warning for each file of p that cannot be opened.
func (p filePart) missing() (warnings []string) {
	what := noStart
	if p.late {
		what = noLogin
	}
	for _, f := range p.files {
		if f[1] == "" {
			continue
		}
		file, err := os.Open(f[1])
		if err != nil {
			warnings = append(warnings, fmt.Sprintf("%s: %v; %s", f[0], err, what))
			continue
		}
		file.Close()
	}
	return warnings
}

// messageAlone leaves out of a record when it was and how grave.
func messageAlone(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// fileParts is the table of what the server makes of files.
func (c *Config) fileParts(log *slog.Logger) []filePart {
	hasher := auth.NewHasher(auth.HasherOptions{})
	parts := c.databasePart()
	if path := c.Auth.Htpasswd.Path; path != "" {
		parts = append(parts, filePart{files: [][2]string{{"auth.htpasswd.path", path}}, open: func() (string, error) {
			f, err := htpasswd.Open(path, hasher, htpasswd.Options{Log: log})
			if err != nil {
				return "", err
			}
			return f.Degraded(), nil
		}})
	}
	parts = append(parts, pairPart("http.tls", c.HTTP.TLS.Certificate, c.HTTP.TLS.Key, nil)...)
	parts = append(parts, pairPart("auth.issuer", c.Auth.Issuer.Certificate, c.Auth.Issuer.Key, func(pair *tls.Certificate) error {
		_, err := c.Auth.Issuer.signer(pair)
		return err
	})...)
	for i := range c.Auth.LDAP {
		parts = append(parts, c.directoryPart(i, hasher, log))
	}
	parts = append(parts, c.authoritiesPart()...)
	for i := range c.Auth.OIDC {
		parts = append(parts, c.providerParts(i)...)
	}
	for i := range c.Auth.Trust {
		parts = append(parts, c.trustParts(i, log)...)
	}
	if g := c.Storage.GCS; g != nil && g.KeyFile != "" {
		parts = append(parts, filePart{files: [][2]string{{"storage.gcs.keyfile", g.KeyFile}}, open: func() (string, error) {
			_, err := g.open(log)
			return "", err
		}})
	}
	return append(parts, c.outsidePart(log)...)
}

// pairPart is a certificate and its key.
func pairPart(section, certificate, key string, use func(*tls.Certificate) error) []filePart {
	if certificate == "" {
		return nil
	}
	return []filePart{{files: [][2]string{{section + ".certificate", certificate}, {section + ".key", key}}, open: func() (string, error) {
		pair, err := loadKeyPair(section, certificate, key, use)
		if err != nil {
			return "", err
		}
		return pair.Degraded(time.Now()), nil
	}}}
}

func (c *Config) directoryPart(i int, hasher *auth.Hasher, log *slog.Logger) filePart {
	dir, at := &c.Auth.LDAP[i], fmt.Sprintf("auth.ldap.%d.", i)
	files := [][2]string{{at + "cafile", dir.CAFile}, {at + "certfile", dir.CertFile}, {at + "keyfile", dir.KeyFile}, {at + "bindpasswordfile", dir.BindPasswordFile}}
	return filePart{files: files, open: func() (string, error) {
		d, err := dir.open(hasher, log)
		if err != nil {
			return "", err
		}
		return "", d.Close()
	}}
}

// open makes the directory. It does not have to answer now.
func (c *ldapConfig) open(hasher *auth.Hasher, log *slog.Logger) (*ldap.Directory, error) {
	d, err := ldap.New(c.options(hasher, log))
	if err != nil {
		return nil, fmt.Errorf("auth.ldap: %s: %w", c.Name, err)
	}
	return d, nil
}

func (c *Config) authoritiesPart() []filePart {
	if len(c.HTTP.TLS.ClientCAs) == 0 {
		return nil
	}
	var files [][2]string
	for _, path := range c.HTTP.TLS.ClientCAs {
		files = append(files, [2]string{"http.tls.clientcas", path})
	}
	files = append(files, [2]string{"auth.certificate.crlfile", c.crlFile()})
	return []filePart{{files: files, open: func() (string, error) {
		a, err := loadAuthorities(c.HTTP.TLS.ClientCAs, c.crlFile())
		if err != nil {
			return "", err
		}
		return a.Degraded(time.Now()), nil
	}}}
}

// crlFile returns the path of the revoked certificates of clients, or "".
func (c *Config) crlFile() string {
	if c.Auth.Certificate == nil {
		return ""
	}
	return c.Auth.Certificate.CRLFile
}

func (c *Config) providerParts(i int) []filePart {
	o, at := c.Auth.OIDC[i], fmt.Sprintf("auth.oidc.%d.", i)
	return []filePart{
		{files: [][2]string{{at + "cafile", o.CAFile}}, open: func() (string, error) {
			_, err := o.options()
			return "", err
		}},
		{files: [][2]string{{at + "clientsecretfile", o.ClientSecretFile}}, late: true, open: func() (string, error) {
			_, err := o.secret()
			return "", err
		}},
	}
}

func (c *Config) trustParts(i int, log *slog.Logger) []filePart {
	t, at := c.Auth.Trust[i], fmt.Sprintf("auth.trust.%d.", i)
	parts := []filePart{{files: [][2]string{{at + "jwksfile", t.JWKSFile}}, open: func() (string, error) {
		all, err := trust.New([]trust.Rule{t.rule()}, trust.Options{Log: log})
		if err != nil {
			return "", fmt.Errorf("auth.trust: %w", err)
		}
		return "", all.Close()
	}}}
	if t.CAFile == "" {
		return parts
	}
	return append(parts, filePart{files: [][2]string{{at + "cafile", t.CAFile}}, late: true, open: func() (string, error) {
		return "", jwks.Source{CAFile: t.CAFile}.CheckCAs()
	}})
}

func (c *Config) outsidePart(log *slog.Logger) []filePart {
	t := c.Auth.Token
	if t == nil {
		return nil
	}
	files := [][2]string{{"auth.token.rootcertbundle", t.RootCertBundle}}
	if !isURL(t.JWKS) {
		files = append(files, [2]string{"auth.token.jwks", t.JWKS})
	}
	return []filePart{{files: files, open: func() (string, error) {
		o, err := t.open(log)
		if err != nil {
			return "", err
		}
		return "", o.Close()
	}}}
}

// open makes what verifies the tokens of the outside token server.
func (t *tokenAuthConfig) open(log *slog.Logger) (*token.Outside, error) {
	o, err := token.NewOutside(t.outside(log))
	if err != nil {
		return nil, fmt.Errorf("auth.token: %w", err)
	}
	return o, nil
}
