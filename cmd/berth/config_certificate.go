package main

import (
	"crypto/tls"
	"regexp"
	"slices"
	"strings"

	"berth/auth/certificate"
)

// certificateConfig is auth.certificate: users by the certificates that their
// clients show.
type certificateConfig struct {
	User    certificate.Field `yaml:"user"`
	Prefix  string            `yaml:"prefix,omitempty"`
	Plain   bool              `yaml:"plain,omitempty"`
	Groups  string            `yaml:"groups,omitempty"`
	CRLFile string            `yaml:"crlfile,omitempty"`
}

// unitsOfSubject is the one place where groups may come from.
const unitsOfSubject = "subject.organizationalunit"

func (c *certificateConfig) setDefaults() {
	setDefault(&c.User, certificate.CommonName)
	if !c.Plain {
		setDefault(&c.Prefix, "cert/")
	}
}

// checkCertificate checks auth.certificate.
func (c *Config) checkCertificate(add func(path, format string, args ...any)) {
	a := c.Auth.Certificate
	if a == nil {
		return
	}
	a.check(&c.HTTP.TLS, add)
	taken := ownProviders()
	for _, t := range c.Auth.Trust {
		taken[t.Name] = true
	}
	for _, o := range c.Auth.OIDC {
		taken[o.Name] = true
	}
	if word := strings.TrimSuffix(a.Prefix, "/"); taken[word] && word != certificate.Provider {
		add("auth.certificate.prefix", "%s is in front of other users' names", a.Prefix)
	}
}

// check reports what is wrong with the section, each fault under its key.
func (c *certificateConfig) check(files *tlsFiles, add func(path, format string, args ...any)) {
	const section = "auth.certificate."
	if fields := certificate.Fields(); !slices.Contains(fields, c.User) {
		add(section+"user", "%q is none of %v", string(c.User), fields)
	}
	if c.Groups != "" && c.Groups != unitsOfSubject {
		add(section+"groups", "%q is not %s", c.Groups, unitsOfSubject)
	}
	switch {
	case c.Plain && c.Prefix != "":
		add(section+"prefix", "with plain: true names have none")
	case !c.Plain && !regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*/$`).MatchString(c.Prefix):
		add(section+"prefix", "it must be a word and a slash, such as cert/")
	}
	switch mode, _ := clientAuth(files.ClientAuth); {
	case len(files.ClientCAs) == 0:
		add("auth.certificate", "it needs http.tls.clientcas, the authorities that vouch for clients")
	case mode < tls.VerifyClientCertIfGiven:
		add("auth.certificate", "http.tls.clientauth %s does not verify certificates: anybody could make one of any name", files.ClientAuth)
	}
}

// requireAndVerify is http.tls.clientauth where there are clientcas.
const requireAndVerify = "require-and-verify-client-cert"

// clientAuth returns what a value of http.tls.clientauth asks for, and false for
// an unknown one.
func clientAuth(value string) (tls.ClientAuthType, bool) {
	switch value {
	case "":
		return tls.NoClientCert, true
	case "request-client-cert":
		return tls.RequestClientCert, true
	case "require-any-client-cert":
		return tls.RequireAnyClientCert, true
	case "verify-client-cert-if-given":
		return tls.VerifyClientCertIfGiven, true
	case requireAndVerify:
		return tls.RequireAndVerifyClientCert, true
	}
	return 0, false
}

// checkClients reports what is wrong with the keys about certificates of clients.
func (f *tlsFiles) checkClients(add func(path, format string, args ...any), oneOf func(path, value string, values ...string)) {
	mode, known := clientAuth(f.ClientAuth)
	switch {
	case !known:
		oneOf("http.tls.clientauth", f.ClientAuth, "request-client-cert", "require-any-client-cert", "verify-client-cert-if-given", requireAndVerify)
	case f.Certificate == "" && f.ClientAuth != "":
		add("http.tls", "clientcas and clientauth need certificate and key: without TLS there are no certificates")
	case mode >= tls.VerifyClientCertIfGiven && len(f.ClientCAs) == 0:
		add("http.tls.clientauth", "%s needs clientcas, the authorities to verify by", f.ClientAuth)
	}
}
