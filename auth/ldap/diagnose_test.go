package ldap

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"

	"berth/auth"
	"berth/test/directory"
)

// TestDiagnose is what whoever sets up a directory is told.
func TestDiagnose(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("Alice", "alice-secret")
	developers := s.AddGroup("developers", alice)
	s.AddGroup("staff", developers)
	other := directory.StartOpenLDAP(t)
	secret, wrong := auth.Secret("alice-secret"), auth.Secret("wrong-secret")
	nested := func(o *Options) { o.Group.Nested = true }
	for _, tt := range []struct {
		name     string
		change   func(*Options)
		user     string
		password *auth.Secret
		ok       bool
		want     []string // parts of the report
	}{
		{"right", nested, "alice", &secret, true, []string{
			"connect to ldaps://", "TLS 1.3", "CN=test directory, signed by CN=test authority, good until", "for: localhost, 127.0.0.1",
			"bind as cn=berth", "paged results: yes", "filter: (uid=alice)", "dn: uid=Alice,ou=people", "name: alice (uid: Alice)", "identifier: entryuuid:",
			"developers: direct", "staff: nested, via developers", "bind as the user",
		}},
		{"found", nil, "ALICE", nil, true, []string{"developers: direct"}},
		{"wrong", nil, "alice", &wrong, false, []string{"wrong password"}},
		{"nobody", nil, "bob", nil, false, []string{"no entry is found"}},
		{"another filter", nil, "a*", nil, false, []string{`filter: (uid=a\\2a)`}},
		{"memberOf", func(o *Options) { o.Group = Group{} }, "alice", nil, true, []string{"developers: memberOf of the user"}},
		{"another base", func(o *Options) { o.User.Base = "ou=persons,dc=corp,dc=test" }, "alice", nil, false, []string{"No Such Object", "there is no such base"}},
		{"another authority", func(o *Options) { o.CAFile = other.CAFile }, "alice", nil, false, []string{"signed by CN=test authority", "set cafile"}},
		{"another name", func(o *Options) { o.ServerName = "dc1" }, "alice", nil, false, []string{"for: localhost", "set servername"}},
		{"another password", func(o *Options) { o.BindPassword = wrong }, "alice", nil, false, []string{"refuses binddn and its password"}},
		{"clear text", func(o *Options) { o.URLs = []string{s.URL} }, "alice", nil, true, []string{"in clear text"}},
		{"no Active Directory", func(o *Options) {
			o.ActiveDirectory, o.User.Filter, o.User.Name, o.Group.Filter = true, "(uid={user})", "uid", "(member={dn})"
		}, "alice", nil, true, []string{"it is no Active Directory"}},
		{"one server of two", func(o *Options) { o.URLs = []string{"ldaps://127.0.0.1:1", s.TLSURL} }, "alice", nil, true, []string{"connection refused"}},
		{"direct", func(o *Options) {
			o.BindDN, o.BindPassword, o.Group = "", "", Group{}
			o.User = User{DN: "uid={user},ou=people," + s.BaseDN}
		}, "alice", &secret, true, []string{"bind as: uid=alice,ou=people", "developers: memberOf"}},
		{"direct, without a password", func(o *Options) {
			o.BindDN, o.BindPassword, o.User = "", "", User{DN: "uid={user},ou=people," + s.BaseDN}
		}, "alice", nil, false, []string{"without binddn"}},
	} {
		d := open(t, s, tt.change)
		report := d.Diagnose(t.Context(), tt.user, tt.password)
		data, err := json.MarshalIndent(report, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, part := range tt.want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q in %s", tt.name, part, text)
			}
		}
		if report.OK != tt.ok {
			t.Errorf("%s: ok is %v in %s", tt.name, report.OK, text)
		}
		for _, canary := range []string{"alice-secret", "wrong-secret", s.Password} {
			if strings.Contains(text, canary) {
				t.Errorf("%s: the report holds a password: %s", tt.name, text)
			}
		}
		if tt.name == "right" && !slices.Equal(report.Groups, []string{"developers", "staff"}) {
			t.Errorf("groups are %q", report.Groups)
		}
	}
}

// TestDiagnoseNoIdentifier: who sets up a directory is told that it does not tell
// a user from the next of his name.
func TestDiagnoseNoIdentifier(t *testing.T) {
	t.Parallel()
	f := startFake(t, func(io.Writer, int64, *ber.Packet) bool { return false })
	report := openFake(t, f, nil).Diagnose(t.Context(), "alice", nil)
	if !slices.ContainsFunc(report.Steps, func(s Step) bool { return strings.Contains(s.Warning, "entryUUID") }) || !report.OK {
		t.Errorf("%+v", report)
	}
}
