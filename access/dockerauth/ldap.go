package dockerauth

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// A directory is the section about LDAP.
type directory struct {
	Addr               string                `yaml:"addr"`
	TLS                string                `yaml:"tls"`
	InsecureSkipVerify bool                  `yaml:"insecure_tls_skip_verify"`
	CACertificate      string                `yaml:"ca_certificate"`
	BaseDN             string                `yaml:"base"`
	BindDN             string                `yaml:"bind_dn"`
	BindPasswordFile   string                `yaml:"bind_password_file"`
	Filter             string                `yaml:"filter"`
	InitialBindAsUser  bool                  `yaml:"initial_bind_as_user"`
	Labels             map[string]*attribute `yaml:"labels"`
}

// An attribute is where the values of a label come from.
type attribute struct {
	Attribute string `yaml:"attribute"`
	ParseCN   bool   `yaml:"parse_cn"`
	LowerCase bool   `yaml:"lower_case"`
}

// check refuses what a directory cannot be asked here.
func (d *directory) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("ldap_auth: "+format, args...))
	}
	if d.Addr == "" || d.BaseDN == "" || d.Filter == "" {
		bad("addr, base and filter are needed")
	}
	if d.TLS != "" && d.TLS != "none" && d.TLS != "always" && d.TLS != "starttls" {
		bad("tls: %q is none of none, always, starttls", d.TLS)
	}
	if d.InsecureSkipVerify {
		bad("insecure_tls_skip_verify has no equal: name the certificate of its authority as ca_certificate")
	}
	if d.InitialBindAsUser {
		bad("initial_bind_as_user has no equal: write user.dn of auth.ldap")
	}
	if rest := strings.ReplaceAll(d.Filter, placeholder, ""); rest == d.Filter || strings.Contains(rest, "${") {
		bad("filter: it must hold ${account}, and nothing else that stands for something")
	}
	for _, name := range sorted(d.Labels) {
		a := d.Labels[name]
		if a == nil || !strings.EqualFold(a.Attribute, "memberOf") || !a.ParseCN {
			bad("labels: %s: of attributes only memberOf, with parse_cn: true, has an equal: the groups of the user", name)
		}
	}
	return errors.Join(errs...)
}

// ldapSection is one of auth.ldap.
type ldapSection struct {
	Name             string   `yaml:"name"`
	URLs             []string `yaml:"urls,flow"`
	StartTLS         bool     `yaml:"starttls,omitempty"`
	Insecure         bool     `yaml:"insecure,omitempty"`
	CAFile           string   `yaml:"cafile,omitempty"`
	BindDN           string   `yaml:"binddn,omitempty"`
	BindPasswordFile string   `yaml:"bindpasswordfile,omitempty"`
	User             ldapUser `yaml:"user,flow"`
}

type ldapUser struct {
	Base   string `yaml:"base"`
	Filter string `yaml:"filter"`
	Name   string `yaml:"name"`
}

// section returns the directory as berth is told of it.
func (d *directory) section(note func(format string, args ...any)) *ldapSection {
	s := &ldapSection{
		Name:             "ldap",
		StartTLS:         d.TLS == "starttls",
		Insecure:         d.TLS == "" || d.TLS == "none",
		CAFile:           d.CACertificate,
		BindDN:           d.BindDN,
		BindPasswordFile: d.BindPasswordFile,
		User:             ldapUser{d.BaseDN, strings.ReplaceAll(d.Filter, placeholder, userWord), nameAttribute(d.Filter)},
	}
	scheme, host := "ldap://", d.Addr
	if d.TLS == "always" {
		scheme = "ldaps://"
	}
	if _, _, err := net.SplitHostPort(host); err != nil {
		note("ldap_auth: addr has no port, so that it is the usual one")
	}
	s.URLs = []string{scheme + host}
	note("auth.ldap: the name of a user is what the attribute %s of the directory says, in lower case, and no longer what he typed", s.User.Name)
	if len(d.Labels) > 0 {
		note("auth.ldap: the groups of a user are those that memberOf names, by their common names in lower case")
	}
	if s.Insecure {
		note("auth.ldap: passwords go over the network as they are: use tls")
	}
	return s
}

// nameAttribute returns the attribute that a filter compares with what the user
// calls himself.
func nameAttribute(filter string) string {
	before, _, _ := strings.Cut(filter, "="+placeholder)
	if i := strings.LastIndexByte(before, '('); i >= 0 && i+1 < len(before) {
		return before[i+1:]
	}
	return "uid"
}
