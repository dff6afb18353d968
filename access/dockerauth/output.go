package dockerauth

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"berth/access"
)

// maxTests bounds the questions that become tests of the new configuration.
const maxTests = 60

// config is the configuration of berth.
type config struct {
	Version     string    `yaml:"version"`
	HTTP        *httpKeys `yaml:"http,omitempty"`
	Auth        authKeys  `yaml:"auth"`
	Access      []flow    `yaml:"access"`
	AccessTests []flow    `yaml:"accesstests"`
}

type httpKeys struct {
	Addr string   `yaml:"addr,omitempty"`
	Net  string   `yaml:"net,omitempty"`
	TLS  *tlsKeys `yaml:"tls,omitempty"`
}

type tlsKeys struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

type authKeys struct {
	Htpasswd *htpasswdKeys       `yaml:"htpasswd,omitempty"`
	Accounts *accountsKeys       `yaml:"accounts,omitempty"`
	Groups   map[string][]string `yaml:"groups,omitempty"`
	LDAP     []*ldapSection      `yaml:"ldap,omitempty"`
	Issuer   *issuerKeys         `yaml:"issuer,omitempty"`
}

type htpasswdKeys struct {
	Realm string `yaml:"realm"`
	Path  string `yaml:"path"`
}

type accountsKeys struct {
	Enabled bool `yaml:"enabled"`
}

type issuerKeys struct {
	Services    []string `yaml:"services,omitempty,flow"`
	Issuer      string   `yaml:"issuer,omitempty"`
	Expiration  string   `yaml:"expiration,omitempty"`
	Certificate string   `yaml:"certificate,omitempty"`
	Key         string   `yaml:"key,omitempty"`
	KID         string   `yaml:"kid,omitempty"`
}

type ruleKeys struct {
	Name         []string `yaml:"name,omitempty"`
	Group        []string `yaml:"group,omitempty"`
	Type         string   `yaml:"type"`
	Repositories []string `yaml:"repositories,omitempty"`
	From         []string `yaml:"from,omitempty"`
	Effect       string   `yaml:"effect,omitempty"`
	Action       []string `yaml:"action"`
	Comment      string   `yaml:"comment,omitempty"`
}

type testKeys struct {
	User       string   `yaml:"user"`
	Groups     []string `yaml:"groups,omitempty"`
	Action     string   `yaml:"action"`
	Repository string   `yaml:"repository"`
	From       string   `yaml:"from,omitempty"`
	Expect     string   `yaml:"expect"`
}

// A flow is a value that is written on one line.
type flow struct{ value any }

// MarshalYAML implements yaml.Marshaler.
func (f flow) MarshalYAML() (any, error) {
	n := new(yaml.Node)
	err := n.Encode(f.value)
	n.Style = yaml.FlowStyle
	return n, err
}

// result writes what the translation came to.
func (t *translation) result(name string) (*Result, error) {
	r := new(Result)
	c := config{Version: "0.1", Auth: t.auth(), HTTP: t.http()}
	for _, user := range t.users {
		if user.name != "" {
			r.Htpasswd = append(r.Htpasswd, user.name+":"+*t.f.Users[user.name].Password+"\n"...)
		}
	}
	for _, rule := range t.rules {
		c.Access = append(c.Access, flow{keysOf(rule)})
	}
	for _, test := range t.tests() {
		c.AccessTests = append(c.AccessTests, flow{test})
	}
	t.note("the list of repositories (catalog) is no right of its own: everybody is shown the names of what he may pull, and no others")
	body, err := yaml.Dump(c, yaml.WithV3Defaults(), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Made of %s, a configuration of docker_auth, by `berth import docker-auth`.\n", oneLine(filepath.Base(name)))
	for _, n := range t.notes {
		fmt.Fprintf(&b, "# - %s\n", oneLine(n))
	}
	b.Write(body)
	r.Config, r.Notes = b.Bytes(), t.notes
	return r, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func (t *translation) http() *httpKeys {
	s := t.f.Server
	if s.RealIPHeader != "" {
		t.note("server.real_ip_header is not taken over: name the proxy in http.trustedproxies")
	}
	if s.PathPrefix != "" || s.HSTS || s.TLSMinVersion+s.TLSMinVersionOlder != "" || len(s.TLSCurves)+len(s.TLSCipherSuites) > 0 {
		t.note("server: of its keys addr, net, certificate and key are taken over, and no others")
	}
	if s.Addr == "" && s.Certificate == "" {
		return nil
	}
	k := &httpKeys{Addr: s.Addr, Net: s.Net}
	if s.Certificate != "" {
		k.TLS = &tlsKeys{s.Certificate, s.Key}
	}
	return k
}

func (t *translation) auth() authKeys {
	var a authKeys
	groups := make(map[string][]string)
	for _, c := range t.users {
		if c.name == "" {
			continue
		}
		a.Htpasswd = &htpasswdKeys{"berth", t.o.Htpasswd}
		for _, g := range t.groupsOf(c) {
			groups[g] = append(groups[g], c.name)
		}
	}
	a.Groups = groups
	if t.open {
		a.LDAP = []*ldapSection{t.f.LDAP.section(t.note)}
	}
	if a.Htpasswd == nil && a.LDAP == nil {
		a.Accounts = &accountsKeys{true}
	}
	a.Issuer = t.issuer()
	return a
}

// issuer returns the token server that takes the place of docker_auth.
func (t *translation) issuer() *issuerKeys {
	token := t.f.Token
	if len(t.o.Services) == 0 {
		if token.Issuer != "" {
			t.note("berth takes the place of docker_auth for other registries only where they are named: with --service, as in their auth.token.service")
		}
		return nil
	}
	k := &issuerKeys{Services: t.o.Services, Issuer: token.Issuer, Certificate: token.Certificate, Key: token.Key}
	if token.Expiration > 0 {
		k.Expiration = fmt.Sprintf("%ds", token.Expiration)
	}
	if k.Certificate == "" {
		k.Certificate, k.Key = t.f.Server.Certificate, t.f.Server.Key
	}
	if k.Certificate != "" && !token.DisableLegacyKeyID {
		k.KID = "libtrust"
	}
	t.note("the token server is at /auth/token, and no longer at /auth: write so in auth.token.realm of the registries")
	return k
}

func keysOf(r access.Rule) ruleKeys {
	k := ruleKeys{
		Name: r.Names, Group: r.Groups, Type: r.Type, Repositories: r.Repositories, Action: r.Actions, Comment: oneLine(r.Comment),
	}
	if r.Deny {
		k.Effect = "deny"
	}
	for _, network := range r.From {
		k.From = append(k.From, network.String())
	}
	return k
}

// tests returns questions whose answers the new configuration must keep: of each
// entry, and of each that is behind it, one that both match.
func (t *translation) tests() []testKeys {
	var tests []testKeys
	asked := make(map[source]bool)
	for _, q := range t.asked {
		s := source{-1, -1}
		if len(q.matched) > 0 {
			s.entry = q.matched[0]
		}
		if len(q.matched) > 1 {
			s.behind = q.matched[1]
		}
		if asked[s] || q.caller.later || len(tests) >= maxTests {
			continue
		}
		asked[s] = true
		for _, action := range effects() {
			test := testKeys{User: q.caller.name, Groups: t.groupsOf(q.caller), Action: action.String(), Repository: string(q.name), Expect: "deny"}
			if test.User == "" {
				test.User = nobody
			}
			if slices.ContainsFunc(t.f.ACL, func(e *entry) bool { return e.Match.IP != nil }) {
				test.From = q.addr.String()
			}
			if s.entry >= 0 && t.f.ACL[s.entry].grants(action.String()) {
				test.Expect = "allow"
			}
			tests = append(tests, test)
		}
	}
	return tests
}
