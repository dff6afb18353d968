//go:build linux

package ldap_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/auth/ldap"
	"berth/test/directory"
)

// TestActiveDirectory asks a domain controller of Samba's.
func TestActiveDirectory(t *testing.T) {
	ad := directory.StartSamba(t)
	for _, tt := range []struct {
		name string
		test func(*testing.T, *directory.Samba)
	}{
		{"names", testADNames},
		{"groups", testADGroups},
		{"primary group", testADPrimary},
		{"special characters", testADSpecial},
		{"accounts that may not", testADAccounts},
		{"password", testADPassword},
		{"binding without a search", testADDirect},
		{"connections", testADConnections},
		{"report", testADReport},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, ad) })
	}
}

// openAD returns the domain as a backend.
func openAD(t *testing.T, ad *directory.Samba, change func(*ldap.Options)) *ldap.Directory {
	t.Helper()
	o := ldap.Options{
		Name:            "corp",
		URLs:            []string{ad.TLSURL},
		CAFile:          ad.CAFile,
		BindDN:          ad.BindDN,
		BindPassword:    auth.Secret(ad.Password),
		ActiveDirectory: true,
		Group:           ldap.Group{Nested: true},
		Interval:        10 * time.Millisecond, // tests see what they have changed
	}
	if change != nil {
		change(&o)
	}
	d, err := ldap.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ldap.Patient(d)
	t.Cleanup(func() { d.Close() })
	return d
}

func login(d *ldap.Directory, user, password string) (auth.Identity, error) {
	return d.Authenticate(context.Background(), auth.Credentials{User: user, Password: auth.Secret(password)})
}

// everybody is in these groups: the first is the primary group of users, which is
// a member of the second.
var everybody = []string{"domain users", "users"}

// with returns the groups of who is in these and, as everybody, in the two.
func with(groups ...string) []string {
	groups = append(groups, everybody...)
	slices.Sort(groups)
	return groups
}

// mustLogin returns who user is, who must get in.
func mustLogin(t *testing.T, d *ldap.Directory, user, password string) auth.Identity {
	t.Helper()
	id, err := login(d, user, password)
	if err != nil {
		t.Fatalf("%s: %v", user, err)
	}
	return id
}

// resolved returns what the directory says of a name once it says so, and waits
// for that: an answer may be as old as the interval.
func resolved(t *testing.T, d *ldap.Directory, name string, so func(auth.Identity, error) bool) auth.Identity {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		id, err := d.Resolve(t.Context(), auth.Subject{Provider: "corp", Name: name})
		if so(id, err) {
			return id
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still %+v, %v", name, id, err)
		}
	}
}

func testADNames(t *testing.T, ad *directory.Samba) {
	ad.AddUser(directory.SambaUser{CN: "Bob Builder", Name: "Bob", Password: "secret-bob"})
	d := openAD(t, ad, func(o *ldap.Options) { o.Attempts = 50 })
	for _, said := range []string{"bob", "BOB", "Bob@corp.test", "bob@CORP.TEST", `CORP\bob`, `corp\BOB`} {
		if id := mustLogin(t, d, said, "secret-bob"); id.Name != "bob" || id.Provider != "corp" {
			t.Errorf("%s is %+v", said, id)
		}
		if _, err := login(d, said, "wrong-"+said); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%s with a wrong password: %v", said, err)
		}
	}
	for _, said := range []string{
		"bob ", " bob", "ｂｏｂ", "b*", "*", "bob)(sAMAccountName=*", `OTHER\bob`, `CORP\CORP\bob`, "bob@other.test",
		"Bob Builder", "CN=Bob Builder,CN=Users," + ad.BaseDN, "nobody", "",
	} {
		id, err := login(d, said, "secret-bob")
		if err == nil && id.Name != "bob" {
			t.Errorf("%q is let in as %q", said, id.Name)
		}
		if err != nil && !errors.Is(err, auth.ErrNoMatch) && !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func testADGroups(t *testing.T, ad *directory.Samba) {
	carol := ad.AddUser(directory.SambaUser{CN: "carol", Password: "secret-carol"})
	inner := ad.AddGroup("Inner", carol)
	middle := ad.AddGroup("Middle", inner)
	outer := ad.AddGroup("Outer", middle)
	ad.AddMember(inner, outer) // a circle
	ad.AddGroup("Unrelated")

	nested := openAD(t, ad, nil)
	id := mustLogin(t, nested, "carol", "secret-carol")
	if want := with("inner", "middle", "outer"); !slices.Equal(id.Groups, want) {
		t.Errorf("carol is in %q, want %q", id.Groups, want)
	}
	direct := openAD(t, ad, func(o *ldap.Options) { o.Group.Nested = false })
	if id := mustLogin(t, direct, "carol", "secret-carol"); !slices.Equal(id.Groups, []string{"domain users", "inner"}) {
		t.Errorf("carol is directly in %q", id.Groups)
	}

	version := id.Version
	ad.RemoveMember(middle, inner)
	id = resolved(t, nested, "carol", func(id auth.Identity, err error) bool { return err == nil && len(id.Groups) == len(everybody)+1 })
	if !slices.Equal(id.Groups, with("inner")) || id.Version != version {
		t.Errorf("after the removal of a group carol is %+v, and was of version %q", id, version)
	}
	ad.RemoveMember(inner, carol)
	resolved(t, nested, "carol", func(id auth.Identity, err error) bool { return err == nil && slices.Equal(id.Groups, everybody) })
}

// testADPrimary has a user whose primary group is another one: Active Directory
// does not count him among its members.
func testADPrimary(t *testing.T, ad *directory.Samba) {
	ivan := ad.AddUser(directory.SambaUser{CN: "ivan", Password: "secret-ivan"})
	staff := ad.AddGroup("Staff", ivan)
	ad.AddGroup("All Staff", staff)
	ad.SetPrimaryGroup(ivan, staff)

	for name, tt := range map[string]struct {
		change func(*ldap.Options)
		want   []string
	}{
		"nested":   {nil, with("staff", "all staff")},
		"direct":   {func(o *ldap.Options) { o.Group.Nested = false }, []string{"domain users", "staff"}},
		"a filter": {func(o *ldap.Options) { o.Group.Filter = "(&(cn=*staff)(member={dn}))" }, []string{"all staff", "staff"}},
		"a base":   {func(o *ldap.Options) { o.Group.Base = "CN=Builtin," + ad.BaseDN }, []string{"users"}},
		"level by level": {func(o *ldap.Options) { o.Group.Filter = "(&(objectClass=group)(|(member={dn})(uniqueMember={dn})))" },
			with("staff", "all staff")},
	} {
		d := openAD(t, ad, tt.change)
		if id := mustLogin(t, d, "ivan", "secret-ivan"); !slices.Equal(id.Groups, tt.want) {
			t.Errorf("%s: ivan is in %q, want %q", name, id.Groups, tt.want)
		}
	}
	var all []string
	for _, s := range openAD(t, ad, nil).Diagnose(t.Context(), "ivan", nil).Steps {
		all = append(all, s.Detail...)
	}
	for _, want := range []string{"staff: primary group", "all staff: nested, via staff", "domain users: direct"} {
		if !slices.Contains(all, want) {
			t.Errorf("%q is not in %q", want, all)
		}
	}
}

// testADSpecial has names that mean something in DNs and in filters.
func testADSpecial(t *testing.T, ad *directory.Samba) {
	odd := ad.AddUser(directory.SambaUser{CN: `Smith, "Dave" (ops) * \ <#1>; a=b+c`, Name: "dave", Password: "secret-dave"})
	plain := ad.AddUser(directory.SambaUser{CN: "Smith", Name: "smith", Password: "secret-smith"})
	outer := make([]string, 0, 2)
	for _, cn := range []string{`Ops, (all) * \ day`, "#hash = plus + <less>"} {
		outer = append(outer, ad.AddGroup("over "+cn, ad.AddGroup(cn, odd)))
	}
	ad.AddGroup("ops", plain)

	d := openAD(t, ad, nil)
	id := mustLogin(t, d, "dave", "secret-dave")
	want := []string{"#hash = plus + <less>", `ops, (all) * \ day`, "over #hash = plus + <less>", `over ops, (all) * \ day`}
	if want := with(want...); !slices.Equal(id.Groups, want) {
		t.Errorf("dave is in %q, want %q", id.Groups, want)
	}
	if id := mustLogin(t, d, "smith", "secret-smith"); !slices.Equal(id.Groups, with("ops")) {
		t.Errorf("smith is in %q", id.Groups)
	}
	ad.Delete(outer[0])
	resolved(t, d, "dave", func(id auth.Identity, err error) bool { return err == nil && len(id.Groups) == len(everybody)+3 })
}

// testADAccounts has users whose password is right and who may not log in. The
// audit is told why, and the client only what a right password proves.
func testADAccounts(t *testing.T, ad *directory.Samba) {
	d := openAD(t, ad, nil)
	for _, tt := range []struct {
		name, code string
		change     func(*directory.Samba, string)
		told       bool
	}{
		{"disabled", "533", (*directory.Samba).Disable, false},
		{"locked", "775", (*directory.Samba).Lock, false},
		{"expired", "701", (*directory.Samba).Expire, false},
		{"must-change", "773", (*directory.Samba).MustChange, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dn := ad.AddUser(directory.SambaUser{CN: tt.name, Password: "secret"})
			mustLogin(t, d, tt.name, "secret")
			tt.change(ad, dn)
			fresh := openAD(t, ad, nil) // which remembers nothing of before
			_, err := login(fresh, tt.name, "secret")
			var rejected *auth.RejectedError
			switch {
			case !errors.As(err, &rejected):
				t.Errorf("login: %v", err)
			case !strings.Contains(rejected.Reason, tt.code):
				t.Errorf("the reason is %q, want %s in it", rejected.Reason, tt.code)
			case (rejected.Told != "") != tt.told:
				t.Errorf("the client is told %q", rejected.Told)
			}
			for _, d := range []*ldap.Directory{d, fresh} {
				resolved(t, d, tt.name, func(_ auth.Identity, err error) bool { return errors.Is(err, auth.ErrBadCredentials) })
			}
		})
	}
	t.Run("deleted", func(t *testing.T) {
		dn := ad.AddUser(directory.SambaUser{CN: "deleted", Password: "secret"})
		mustLogin(t, d, "deleted", "secret")
		ad.Delete(dn)
		resolved(t, d, "deleted", func(_ auth.Identity, err error) bool { return errors.Is(err, auth.ErrNoMatch) })
	})
	t.Run("enabled again", func(t *testing.T) {
		dn := ad.AddUser(directory.SambaUser{CN: "again", Password: "secret"})
		before := mustLogin(t, d, "again", "secret").Version
		ad.Disable(dn)
		resolved(t, d, "again", func(_ auth.Identity, err error) bool { return errors.Is(err, auth.ErrBadCredentials) })
		ad.Enable(dn)
		id := resolved(t, d, "again", func(_ auth.Identity, err error) bool { return err == nil })
		if id.Subject.Name != "again" || before == "" {
			t.Errorf("%+v, of version %q before", id, before)
		}
	})
}

func testADPassword(t *testing.T, ad *directory.Samba) {
	dn := ad.AddUser(directory.SambaUser{CN: "erin", Password: "secret-old"})
	d := openAD(t, ad, nil)
	before := mustLogin(t, d, "erin", "secret-old").Version
	time.Sleep(20 * time.Millisecond) // the directory tells times of changes apart
	ad.SetPassword(dn, "secret-new")
	resolved(t, d, "erin", func(id auth.Identity, err error) bool { return err == nil && id.Version != before })
	if _, err := login(d, "erin", "secret-older"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a password that never was: %v", err)
	}
	after := mustLogin(t, d, "erin", "secret-new").Version
	if after == before {
		t.Errorf("the version is %q before and after", before)
	}

	// Another account of the same name is another user.
	ad.Delete(dn)
	ad.AddUser(directory.SambaUser{CN: "erin", Password: "secret-new"})
	resolved(t, d, "erin", func(id auth.Identity, err error) bool { return err == nil && id.Version != after })
}

// testADDirect binds users by their principal name, without a service account.
func testADDirect(t *testing.T, ad *directory.Samba) {
	frank := ad.AddUser(directory.SambaUser{CN: "Frank F", Name: "frank", Password: "secret-frank"})
	ad.AddGroup("franks", frank)
	for _, template := range []string{"{user}@corp.test", `CORP\{user}`} {
		d := openAD(t, ad, func(o *ldap.Options) {
			o.BindDN, o.BindPassword, o.User.DN = "", "", template
		})
		if id := mustLogin(t, d, "Frank", "secret-frank"); id.Name != "frank" || !slices.Equal(id.Groups, with("franks")) {
			t.Errorf("by %s frank is %+v", template, id)
		}
		if _, err := login(d, "frank", "wrong"); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("by %s with a wrong password: %v", template, err)
		}
	}
}

// testADConnections tries what is, and what is not, to be trusted with a
// password.
func testADConnections(t *testing.T, ad *directory.Samba) {
	ad.AddUser(directory.SambaUser{CN: "grace", Password: "secret-grace"})
	for _, tt := range []struct {
		name   string
		change func(*ldap.Options)
		ok     bool
	}{
		{"StartTLS", func(o *ldap.Options) { o.URLs, o.StartTLS = []string{ad.URL}, true }, true},
		{"the name in the certificate", func(o *ldap.Options) { o.ServerName = "dc1.corp.test" }, true},
		{"a second server", func(o *ldap.Options) { o.URLs = []string{"ldaps://127.0.0.1:1", ad.TLSURL} }, true},
		{"another authority", func(o *ldap.Options) { o.CAFile = "" }, false},
		{"another name", func(o *ldap.Options) { o.ServerName = "dc2.corp.test" }, false},
		{"StartTLS with another name", func(o *ldap.Options) {
			o.URLs, o.StartTLS, o.ServerName = []string{ad.URL}, true, "dc2.corp.test"
		}, false},
		{"clear text, which the domain forbids", func(o *ldap.Options) { o.URLs = []string{ad.URL} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openAD(t, ad, tt.change)
			id, err := login(d, "grace", "secret-grace")
			switch {
			case tt.ok && (err != nil || id.Name != "grace"):
				t.Errorf("%+v, %v", id, err)
			case !tt.ok && (err == nil || errors.Is(err, auth.ErrNoMatch) || errors.Is(err, auth.ErrBadCredentials)):
				t.Errorf("it is answered with %+v, %v", id, err)
			}
		})
	}
}

func testADReport(t *testing.T, ad *directory.Samba) {
	heidi := ad.AddUser(directory.SambaUser{CN: "heidi", Password: "secret-heidi"})
	ad.AddGroup("above", ad.AddGroup("below", heidi))
	d := openAD(t, ad, nil)
	right, wrong := auth.Secret("secret-heidi"), auth.Secret("not-it")
	r := d.Diagnose(t.Context(), "heidi", &right)
	if !r.OK || r.Name != "heidi" || !slices.Equal(r.Groups, with("above", "below")) {
		t.Errorf("heidi is %+v", r)
	}
	var all strings.Builder
	for _, s := range r.Steps {
		all.WriteString(s.Name + ": " + strings.Join(s.Detail, ", ") + "\n")
	}
	for _, want := range []string{"below: direct", "above: nested, via below", "domain users: primary group", "Active Directory: yes", "TLS 1.3", heidi} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("%q is not in\n%s", want, all.String())
		}
	}
	r = d.Diagnose(t.Context(), "heidi", &wrong)
	if last := r.Steps[len(r.Steps)-1]; r.OK || !strings.Contains(last.Error, "52e") {
		t.Errorf("with a wrong password: %+v", last)
	}
}
