package dockerauth

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"berth/auth"
)

// A file is the configuration of docker_auth: the keys that mean something here,
// and those that are refused by name.
type file struct {
	Server struct {
		Addr               string   `yaml:"addr"`
		Net                string   `yaml:"net"`
		PathPrefix         string   `yaml:"path_prefix"`
		Certificate        string   `yaml:"certificate"`
		Key                string   `yaml:"key"`
		HSTS               bool     `yaml:"hsts"`
		TLSMinVersion      string   `yaml:"tls_min_version"`
		TLSCurves          []string `yaml:"tls_curve_preferences"`
		TLSCipherSuites    []string `yaml:"tls_cipher_suites"`
		RealIPHeader       string   `yaml:"real_ip_header"`
		RealIPPos          int      `yaml:"real_ip_pos"`
		LetsEncrypt        any      `yaml:"letsencrypt"`
		TLSMinVersionOlder string   `yaml:"tls_minimum_version"`
	} `yaml:"server"`
	Token struct {
		Issuer             string `yaml:"issuer"`
		Expiration         int    `yaml:"expiration"` // seconds
		Certificate        string `yaml:"certificate"`
		Key                string `yaml:"key"`
		DisableLegacyKeyID bool   `yaml:"disable_legacy_key_id"`
	} `yaml:"token"`
	Users map[string]*user `yaml:"users"`
	LDAP  *directory       `yaml:"ldap_auth"`
	ACL   []*entry         `yaml:"acl"`

	Google any `yaml:"google_auth"`
	GitHub any `yaml:"github_auth"`
	OIDC   any `yaml:"oidc_auth"`
	GitLab any `yaml:"gitlab_auth"`
	Mongo  any `yaml:"mongo_auth"`
	XORM   any `yaml:"xorm_auth"`
	Ext    any `yaml:"ext_auth"`
	Plugin any `yaml:"plugin_authn"`

	ACLMongo    any `yaml:"acl_mongo"`
	ACLXORM     any `yaml:"acl_xorm"`
	ExtAuthz    any `yaml:"ext_authz"`
	PluginAuthz any `yaml:"plugin_authz"`
	Casbin      any `yaml:"casbin_authz"`

	compiled expressions
}

type user struct {
	Password *string             `yaml:"password"`
	Labels   map[string][]string `yaml:"labels"`
}

// An entry is one entry of the list of rules.
type entry struct {
	Match   *match    `yaml:"match"`
	Actions *[]string `yaml:"actions"`
	Comment string    `yaml:"comment"`

	number, line int
	from         netip.Prefix // of Match.IP; the zero one is none
}

type match struct {
	Account *string           `yaml:"account"`
	Type    *string           `yaml:"type"`
	Name    *string           `yaml:"name"`
	IP      *string           `yaml:"ip"`
	Service *string           `yaml:"service"`
	Labels  map[string]string `yaml:"labels"`
}

// String names the entry, for people.
func (e *entry) String() string {
	s := fmt.Sprintf("acl entry %d (line %d)", e.number, e.line)
	if e.Comment != "" {
		s += fmt.Sprintf(", %q", e.Comment)
	}
	return s
}

// read reads a configuration. Other than docker_auth it takes nothing for granted
// that it does not know: an unknown key may have been meant to narrow a rule.
func read(name string, data []byte) (*file, error) {
	f := &file{compiled: make(expressions)}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(f); err != nil {
		return nil, prefixed(name, err)
	}
	var tree struct {
		ACL []yaml.Node `yaml:"acl"`
	}
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return nil, prefixed(name, err)
	}
	var errs []error
	for i, e := range f.ACL {
		if e == nil {
			return nil, prefixed(name, fmt.Errorf("line %d: an entry of acl is empty", tree.ACL[i].Line))
		}
		e.number, e.line = i+1, tree.ACL[i].Line
		errs = append(errs, e.check())
	}
	errs = append(errs, f.refused(), f.checkUsers())
	if len(f.ACL) == 0 {
		errs = append(errs, errors.New("there is no acl: nobody may do anything, which needs no rules"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, prefixed(name, err)
	}
	return f, nil
}

// prefixed puts the name of the file in front of every line of an error.
func prefixed(name string, err error) error {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = filepath.Base(name) + ": " + line
	}
	return errors.New(strings.Join(lines, "\n"))
}

// refused returns an error for each section that has no equal, which says what
// there is in its place.
func (f *file) refused() error {
	var errs []error
	for _, s := range []struct {
		key     string
		section any
		instead string
	}{
		{"google_auth", f.Google, "write auth.oidc with issuer: https://accounts.google.com"},
		{"github_auth", f.GitHub, "people log in by auth.oidc (GitHub is no issuer of it: put one such as Dex in front), its workflows by auth.trust"},
		{"oidc_auth", f.OIDC, "write auth.oidc"},
		{"gitlab_auth", f.GitLab, "write auth.oidc with the address of GitLab as issuer, and auth.trust for its jobs"},
		{"mongo_auth", f.Mongo, "export its users, whose passwords are bcrypt hashes, into a file for auth.htpasswd"},
		{"xorm_auth", f.XORM, "export its users, whose passwords are bcrypt hashes, into a file for auth.htpasswd"},
		{"ext_auth", f.Ext, "berth runs no programs: keep users in auth.htpasswd, auth.accounts, auth.ldap or auth.oidc"},
		{"plugin_authn", f.Plugin, "berth loads no plugins: keep users in auth.htpasswd, auth.accounts, auth.ldap or auth.oidc"},
		{"acl_mongo", f.ACLMongo, "write its entries under acl, in the order of seq"},
		{"acl_xorm", f.ACLXORM, "write its entries under acl, in their order"},
		{"ext_authz", f.ExtAuthz, "berth asks no programs: write rules under access"},
		{"plugin_authz", f.PluginAuthz, "berth loads no plugins: write rules under access"},
		{"casbin_authz", f.Casbin, "write rules under access"},
		{"server.letsencrypt", f.Server.LetsEncrypt, "berth has no certificates of Let's Encrypt yet: name server.certificate and key"},
	} {
		if s.section != nil {
			errs = append(errs, fmt.Errorf("%s has no equal: %s", s.key, s.instead))
		}
	}
	return errors.Join(errs...)
}

// checkUsers refuses users who could not log in as they do now.
func (f *file) checkUsers() error {
	var errs []error
	for _, name := range sorted(f.Users) {
		u := f.Users[name]
		if u == nil {
			u = new(user)
			f.Users[name] = u
		}
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("user %q: "+format, append([]any{name}, args...)...))
		}
		if name == "" {
			if u.Password != nil || len(u.Labels) > 0 {
				bad("who is not logged in has neither a password nor labels")
			}
			continue
		}
		if err := auth.CheckName(name); err != nil {
			bad("%w", err)
		}
		if strings.ContainsAny(name, ":\r\n") || strings.TrimSpace(name) != name || strings.HasPrefix(name, "#") {
			bad("a password file cannot hold the name")
		}
		switch {
		case u.Password == nil || *u.Password == "":
			bad("he has no password, so that anybody can log in as him: give him one, or take him out")
		default:
			if _, err := auth.HashCost(*u.Password); err != nil {
				bad("the password is no bcrypt hash: make one with htpasswd -nB")
			}
		}
		for _, values := range u.Labels {
			for _, v := range values {
				if err := auth.CheckName(v); err != nil {
					bad("label %q: %w", v, err)
				} else if strings.Contains(v, "${") {
					bad("label %q: a label stands for itself", v)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// check refuses what an entry cannot mean, or not here.
func (e *entry) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: "+format, append([]any{e}, args...)...))
	}
	if e.Match == nil {
		bad("match is missing: write match: {} for everything")
		e.Match = new(match)
	}
	if e.Actions == nil {
		bad("actions is missing: write [] for none")
		e.Actions = new([]string)
	}
	known := []string{"pull", "push", "delete"}
	for _, a := range *e.Actions {
		if a == "*" && len(*e.Actions) > 1 {
			bad("actions: \"*\" stands alone")
		} else if a != "*" && !slices.Contains(known, a) {
			bad("actions: %q is none of %s, \"*\"", a, strings.Join(known, ", "))
		}
	}
	if e.Match.Service != nil {
		bad("service: rules are the same for all services here: leave it out, or run a berth for each")
	}
	if ip := e.Match.IP; ip != nil {
		prefix, err := netip.ParsePrefix(*ip)
		if addr, errAddr := netip.ParseAddr(*ip); errAddr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || prefix.Addr().Is4In6() || prefix.Addr().Zone() != "" {
			bad("ip: %q is neither an address nor a network such as 10.0.0.0/8", *ip)
		}
		e.from = prefix.Masked()
	}
	return errors.Join(errs...)
}
