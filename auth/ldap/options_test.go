package ldap

import (
	"log/slog"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
)

// sample returns Options that are good.
func sample(change func(*Options)) Options {
	o := Options{
		Name:  "corp",
		URLs:  []string{"ldaps://dc1.corp.test"},
		User:  User{Base: "ou=people,dc=corp,dc=test"},
		Group: Group{Base: "ou=groups,dc=corp,dc=test", Filter: "(member={dn})"},
		Log:   slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	return o
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // "" is good
	}{
		{"good", nil, ""},
		{"no name", func(o *Options) { o.Name = "" }, "name: the name is empty"},
		{"no URL", func(o *Options) { o.URLs = nil }, "urls: it is missing"},
		{"clear text", func(o *Options) { o.URLs = []string{"ldap://dc1.corp.test"} }, "in clear text"},
		{"clear text, wanted", func(o *Options) { o.URLs, o.Insecure = []string{"ldap://dc1.corp.test"}, true }, ""},
		{"clear text, to this machine", func(o *Options) { o.URLs = []string{"ldap://127.0.0.1:389", "ldap://[::1]", "ldap://localhost"} }, ""},
		{"StartTLS", func(o *Options) { o.URLs, o.StartTLS = []string{"ldap://dc1.corp.test"}, true }, ""},
		{"another scheme", func(o *Options) { o.URLs = []string{"http://dc1.corp.test"} }, "must be such as ldaps://"},
		{"no host", func(o *Options) { o.URLs = []string{"ldaps://"} }, "must be such as ldaps://"},
		{"a base in a URL", func(o *Options) { o.URLs = []string{"ldaps://dc1/dc=corp"} }, "must be such as ldaps://"},
		{"a password in a URL", func(o *Options) { o.URLs = []string{"ldaps://u:canary@dc1"} }, "use binddn"},
		{"no URL at all", func(o *Options) { o.URLs = []string{"ldaps://canary\x7f"} }, "a URL cannot be read"},
		{"half a certificate", func(o *Options) { o.CertFile = "c" }, "go together"},
		{"two passwords", func(o *Options) { o.BindDN, o.BindPassword, o.BindPasswordFile = "cn=a", "canary", "f" }, "leave one out"},
		{"no password", func(o *Options) { o.BindDN = "cn=a" }, "proves nothing"},
		{"only a password", func(o *Options) { o.BindPassword = "canary" }, "go together"},
		{"a negative number", func(o *Options) { o.Attempts = -1 }, "must not be negative"},
		{"no base", func(o *Options) { o.User.Base = "" }, "user.base: it is missing"},
		{"a base that is none", func(o *Options) { o.User.Base = "people" }, "user.base: it is no DN"},
		{"a filter for everybody", func(o *Options) { o.User.Filter = "(uid=*)" }, "everybody is the same user"},
		{"a filter that is none", func(o *Options) { o.User.Filter = "(uid={user}" }, "user.filter: it is no filter"},
		{"a template", func(o *Options) { o.User = User{DN: "uid={user},ou=people,dc=corp,dc=test"} }, ""},
		{"a UPN", func(o *Options) { o.User.DN = "{user}@corp.test" }, ""},
		{"a template of nobody", func(o *Options) { o.User.DN = "uid=bob,dc=corp" }, "{user} must stand in it once"},
		{"a template that is none", func(o *Options) { o.User.DN = "={user}" }, "user.dn: it is no DN"},
		{"a template and a search", func(o *Options) { o.User.DN, o.BindDN, o.BindPassword = "{user}@corp.test", "cn=a", "canary" }, "leave one out"},
		{"groups without a base", func(o *Options) { o.Group.Base = "" }, "group.base: it is missing"},
		{"groups of everybody", func(o *Options) { o.Group.Filter = "(cn=*)" }, "everybody is in every group"},
		{"groups by memberOf", func(o *Options) { o.Group = Group{} }, ""},
		{"nested memberOf", func(o *Options) { o.Group = Group{Nested: true} }, "group.nested: it needs"},
		{"nested names", func(o *Options) { o.Group.Filter, o.Group.Nested = "(memberUid={user})", true }, "groups are members by their DN"},
		{"Active Directory", func(o *Options) { o.ActiveDirectory, o.User, o.Group = true, User{}, Group{Nested: true} }, ""},
	} {
		err := sample(tt.change).Check()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "canary"):
			t.Errorf("%s: it shows a secret: %v", tt.name, err)
		}
	}
}

func TestParseURL(t *testing.T) {
	o := sample(func(o *Options) { o.Insecure = true })
	for raw, want := range map[string][2]string{
		"ldaps://dc1.corp.test":      {"dc1.corp.test:636", "dc1.corp.test"},
		"ldap://dc1.corp.test/":      {"dc1.corp.test:389", "dc1.corp.test"},
		"ldaps://[2001:db8::1]:3269": {"[2001:db8::1]:3269", "2001:db8::1"},
	} {
		s, err := o.parseURL(raw)
		if err != nil || s.addr != want[0] || s.name != want[1] {
			t.Errorf("%s: %+v, %v", raw, s, err)
		}
	}
	o.ServerName = "corp.test"
	if s, err := o.parseURL("ldaps://10.0.0.1"); err != nil || s.name != "corp.test" {
		t.Errorf("another name: %+v, %v", s, err)
	}
}

// mustNew returns a directory that no test talks through.
func mustNew(t testing.TB, change func(*Options)) *Directory {
	t.Helper()
	d, err := New(sample(change))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// FuzzUserFilter: whatever a user calls himself, the filter compares one
// attribute with exactly that.
func FuzzUserFilter(f *testing.F) {
	d := mustNew(f, nil)
	f.Fuzz(func(t *testing.T, said string) {
		if checkName(said) != nil {
			return
		}
		q, ok := d.userQuery(facts{}, said)
		if !ok {
			t.Fatalf("%q is no name", said)
		}
		p, err := goldap.CompileFilter(q.filter)
		if err != nil {
			t.Fatalf("%q: %q: %v", said, q.filter, err)
		}
		if p.Tag != goldap.FilterEqualityMatch || len(p.Children) != 2 || p.Children[1].Data.String() != said {
			t.Errorf("%q: %q", said, q.filter)
		}
	})
}

// FuzzTemplate: whatever a user calls himself, he binds under the same parent
// with that as the value of his RDN.
func FuzzTemplate(f *testing.F) {
	d := mustNew(f, func(o *Options) { o.User = User{DN: "uid={user},ou=people,dc=corp,dc=test"} })
	f.Fuzz(func(t *testing.T, said string) {
		if checkName(said) != nil {
			return
		}
		name := d.bindName(said)
		dn, err := goldap.ParseDN(name)
		if err != nil {
			t.Fatalf("%q: %q: %v", said, name, err)
		}
		if len(dn.RDNs) != 4 || len(dn.RDNs[0].Attributes) != 1 || dn.RDNs[0].Attributes[0].Value != said {
			t.Errorf("%q: %q", said, name)
		}
	})
}

// FuzzFirstRDN: of whatever a directory writes as a DN, a group's name is clean
// text, or there is none.
func FuzzFirstRDN(f *testing.F) {
	d := mustNew(f, nil)
	f.Fuzz(func(t *testing.T, dn string) {
		if name := d.groupName(firstRDN(dn, "cn"), dn); name != "" && strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q: %q", dn, name)
		}
		if foldDN(dn) != foldDN(strings.ToUpper(dn)) && isASCII(dn) && !strings.Contains(dn, `\`) && !strings.Contains(dn, "#") {
			t.Errorf("%q is another than in upper case", dn)
		}
	})
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e || r < ' ' })
}
