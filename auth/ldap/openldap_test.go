package ldap

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"berth/auth"
	"berth/test/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// open returns the directory of a slapd, with groups by their members.
func open(t *testing.T, s *directory.OpenLDAP, change func(*Options)) *Directory {
	t.Helper()
	o := Options{
		Name:         "corp",
		URLs:         []string{s.TLSURL},
		CAFile:       s.CAFile,
		BindDN:       s.BindDN,
		BindPassword: auth.Secret(s.Password),
		User:         User{Base: "ou=people," + s.BaseDN},
		Group:        Group{Base: "ou=groups," + s.BaseDN, Filter: "(member={dn})"},
		Log:          slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func login(d *Directory, user, password string) (auth.Identity, error) {
	return loginFrom(d, user, password, "10.0.0.1")
}

func resolve(t *testing.T, d *Directory, name string) (auth.Identity, error) {
	t.Helper()
	return d.Resolve(t.Context(), auth.Subject{Provider: "corp", Name: name})
}

// TestLogin is who gets in by which name, and that nothing else reaches the
// directory.
func TestLogin(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("Alice", "alice-secret")
	s.AddUser("ann", "ann-secret")
	s.Add("ou=other,ou=people,"+s.BaseDN, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"other"}})
	for _, parent := range []string{"ou=people,", "ou=other,ou=people,"} {
		s.Add("cn=twin,"+parent+s.BaseDN, map[string][]string{
			"objectClass": {"inetOrgPerson"}, "uid": {"twin"}, "cn": {"twin"}, "sn": {"twin"}, "userPassword": {"twin-secret"},
		})
	}
	d := open(t, s, nil)
	for _, tt := range []struct {
		user, password string
		want           string // the name, or an error
	}{
		{"alice", "alice-secret", "alice"},
		{"Alice", "alice-secret", "alice"},
		{"ALICE", "alice-secret", "alice"},
		{"alice ", "alice-secret", "wrong"},
		{" alice", "alice-secret", "wrong"},
		{"\uff41lice", "alice-secret", "wrong"},
		{"alice", "wrong", "wrong"},
		{"alice", "", "wrong"},
		{"alice", "alice-secret\x00", "wrong"},
		{"alice", strings.Repeat("x", 513), "wrong"},
		{"twin", "twin-secret", "wrong"},
		{"nobody", "alice-secret", "none"},
		{"", "alice-secret", "none"},
		{"*", "alice-secret", "none"},
		{"a*", "alice-secret", "none"},
		{"al\x00ice", "alice-secret", "none"},
		{"alice)(uid=*", "alice-secret", "none"},
		{"*)(|(uid=*", "alice-secret", "none"},
		{`\2a`, "alice-secret", "none"},
		{`CORP\alice`, "alice-secret", "none"},
		{"sso/alice", "alice-secret", "none"},
		{"ci:alice", "alice-secret", "none"},
	} {
		id, err := login(d, tt.user, tt.password)
		got := id.Name
		switch {
		case errors.Is(err, auth.ErrNoMatch):
			got = "none"
		case errors.Is(err, auth.ErrBadCredentials):
			got = "wrong"
		case err != nil:
			got = err.Error()
		}
		if got != tt.want || err == nil && id.Provider != "corp" {
			t.Errorf("%q with %q: %s, want %s", tt.user, tt.password, got, tt.want)
		}
	}
	log := s.Log()
	for _, filter := range []string{`filter="(uid=*)"`, `filter="(uid=a*)"`, `uid=sso`, `uid=ci:`} {
		if strings.Contains(log, filter) {
			t.Errorf("the directory was asked for %s", filter)
		}
	}
	if n := s.Binds("uid=Alice,ou=people," + s.BaseDN); n != 4 { // three right, one wrong
		t.Errorf("%d binds as alice", n)
	}
	if n := strings.Count(log, "BIND dn=\"cn=twin"); n > 0 {
		t.Errorf("%d binds as one of two", n)
	}
}

// TestGroups is every way into a group.
func TestGroups(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	odd := s.AddUser(`o'dd, (b)*\`, "odd-secret")
	developers := s.AddGroup("Developers", alice)
	staff := s.AddGroup("staff", developers)
	all := s.AddGroup("all", staff, odd)
	s.AddMember(developers, all) // a cycle
	s.AddGroup("others")
	special := s.AddGroup(`r&d, (x)*\+"y"`, odd)
	s.AddGroup("above", special)
	s.AddPosixGroup("wheel", 100, "alice", "bob")
	deep := alice
	for i := range 15 {
		deep = s.AddGroup(fmt.Sprintf("deep%02d", i), deep)
	}
	base := "ou=groups," + s.BaseDN
	for _, tt := range []struct {
		name, user, password string
		group                Group
		want                 []string
	}{
		{"direct", "alice", "alice-secret", Group{Base: base, Filter: "(member={dn})"}, []string{"deep00", "developers"}},
		{"memberOf", "alice", "alice-secret", Group{}, []string{"deep00", "developers"}},
		{"posix", "alice", "alice-secret", Group{Base: base, Filter: "(&(objectClass=posixGroup)(memberUid={user}))"}, []string{"wheel"}},
		{"another attribute", "alice", "alice-secret", Group{Base: base, Filter: "(memberUid={user})", Name: "gidNumber"}, []string{"100"}},
		{"special characters", `o'dd, (b)*\`, "odd-secret", Group{Base: base, Filter: "(member={dn})"}, []string{"all", `r&d, (x)*\+"y"`}},
		{"special characters in memberOf", `o'dd, (b)*\`, "odd-secret", Group{}, []string{"all", `r&d, (x)*\+"y"`}},
		{"nested", `o'dd, (b)*\`, "odd-secret", Group{Base: base, Filter: "(member={dn})", Nested: true}, []string{"above", "all", "developers", `r&d, (x)*\+"y"`, "staff"}},
		{"nested and posix, no deeper than ten", "alice", "alice-secret", Group{Base: base, Filter: "(|(member={dn})(memberUid={user}))", Nested: true},
			[]string{"all", "deep00", "deep01", "deep02", "deep03", "deep04", "deep05", "deep06", "deep07", "deep08", "deep09", "developers", "staff", "wheel"}},
	} {
		d := open(t, s, func(o *Options) { o.Group = tt.group })
		before := strings.Count(s.Log(), " SRCH base=\""+base)
		id, err := login(d, tt.user, tt.password)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, id.Groups); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		// The user is looked up before the bind and after it.
		if n := strings.Count(s.Log(), " SRCH base=\""+base) - before; n > 2*maxDepth {
			t.Errorf("%s: %d searches of groups", tt.name, n)
		}
	}
}

// TestManyGroups has more groups than a page.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	const n = 2*pageSize + 10
	for i := range n {
		s.AddPosixGroup(fmt.Sprintf("g%04d", i), 1000+i, "alice")
	}
	d := open(t, s, func(o *Options) { o.Group.Filter = "(memberUid={user})" })
	id, err := resolve(t, d, "alice")
	if err != nil || len(id.Groups) != n {
		t.Errorf("%d groups of %s, %v", len(id.Groups), alice, err)
	}
}

// TestDirect binds by a template, without a service account.
func TestDirect(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	s.AddUser("#1, \"x\"", "odd-secret")
	s.Add("ou=admins,ou=people,"+s.BaseDN, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"admins"}})
	s.AddGroup("developers", alice)
	d := open(t, s, func(o *Options) {
		o.BindDN, o.BindPassword = "", ""
		o.User = User{DN: "uid={user},ou=people," + s.BaseDN}
		o.Group = Group{}
	})
	if _, err := resolve(t, d, "alice"); err == nil || errors.Is(err, auth.ErrNoMatch) || errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("before she logged in: %v", err)
	}
	for _, user := range []string{"alice,ou=admins", "alice+cn=x", " alice", "alice ", "#alice", `"alice"`, `alice\`, "nobody"} {
		if _, err := login(d, user, "alice-secret"); !errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("%q: %v", user, err)
		}
	}
	for user, want := range map[string]string{"alice": "alice", "ALICE": "alice", "#1, \"x\"": "#1, \"x\""} {
		password := "alice-secret"
		if want != "alice" {
			password = "odd-secret"
		}
		id, err := login(d, user, password)
		if err != nil || id.Name != want {
			t.Errorf("%s: %+v, %v", user, id, err)
		}
	}
	id, err := resolve(t, d, "alice")
	if err != nil || !slices.Equal(id.Groups, []string{"developers"}) {
		t.Errorf("afterwards: %+v, %v", id, err)
	}
	if _, err := login(d, "alice", "wrong"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestStates is an account that loses the right to be used, and gets it back.
func TestStates(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	for _, tt := range []struct {
		attr, value  string
		reason, told string
	}{
		{"pwdReset", "TRUE", "must be changed", toldChange},
		{"pwdAccountLockedTime", "000001010000Z", "account locked", ""},
		{"pwdAccountLockedTime", "20260101000000Z", "account locked", ""},
	} {
		if _, err := login(d, "alice", "alice-secret"); err != nil {
			t.Fatalf("before %s: %v", tt.attr, err)
		}
		s.Set(alice, tt.attr, tt.value)
		c.add(DefaultInterval)
		var rejected *auth.RejectedError
		if _, err := resolve(t, d, "alice"); !errors.As(err, &rejected) || !strings.Contains(rejected.Reason, tt.reason) || rejected.Told != "" {
			t.Errorf("%s, without a password: %v %+v", tt.attr, err, rejected)
		}
		if _, err := login(d, "alice", "alice-secret"); !errors.As(err, &rejected) || !strings.Contains(rejected.Reason, tt.reason) || rejected.Told != tt.told {
			t.Errorf("%s: %v %+v", tt.attr, err, rejected)
		}
		if _, err := login(d, "alice", "wrong"+tt.value); !errors.As(err, &rejected) || rejected.Told != "" {
			t.Errorf("%s, with a wrong password: %v %+v", tt.attr, err, rejected)
		}
		s.Set(alice, tt.attr)
		c.add(attemptsWindow)
	}
}

// TestChanges is what becomes void when.
func TestChanges(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	group := s.AddGroup("developers", alice)
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	first, err := login(d, "alice", "alice-secret")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(d, "alice", "new-secret"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Fatal(err)
	}
	s.RemoveMember(group, alice)
	if id, err := resolve(t, d, "alice"); err != nil || len(id.Groups) != 1 {
		t.Errorf("within the interval: %+v, %v", id, err)
	}
	c.add(DefaultInterval)
	if id, err := resolve(t, d, "alice"); err != nil || len(id.Groups) != 0 || id.Version != first.Version {
		t.Errorf("out of the group: %+v, %v", id, err)
	}

	time.Sleep(time.Second) // the directory notes the time of the change in seconds
	s.SetPassword(alice, "new-secret")
	c.add(recent) // the wrong one of before is the right one now
	second, err := login(d, "alice", "new-secret")
	if err != nil || second.Version == first.Version {
		t.Errorf("another password: %+v, %v", second, err)
	}
	if id, err := resolve(t, d, "alice"); err != nil || id.Version != second.Version || id.ID != first.ID {
		t.Errorf("looked at afterwards: %+v, %v", id, err)
	}
	if _, err := login(d, "alice", "alice-secret"); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("the old password: %v", err)
	}

	s.Remove(alice)
	c.add(DefaultInterval)
	if _, err := resolve(t, d, "alice"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("removed: %v", err)
	}
	s.AddUser("alice", "new-secret")
	if _, err := resolve(t, d, "alice"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("a name that is no user's was asked for again: %v", err)
	}
	c.add(rememberAbsent)
	if id, err := resolve(t, d, "alice"); err != nil || id.Version == second.Version || id.ID == second.ID || id.ID == "" {
		t.Errorf("another account of that name: %+v, %v", id, err)
	}
}

// TestWrongPasswords is a client that repeats a wrong password for ever, and a
// stranger who guesses: neither the directory locks alice out, nor berth.
func TestWrongPasswords(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	if _, err := loginFrom(d, "alice", "alice-secret", "10.0.0.1"); err != nil {
		t.Fatal(err)
	}
	binds := s.Binds(alice)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			name := []string{"alice", "ALICE"}[i%2]
			if _, err := loginFrom(d, name, "old-secret", "10.0.0.1"); !errors.Is(err, auth.ErrBadCredentials) {
				t.Errorf("an old password: %v", err)
			}
		})
	}
	all.Wait()
	if n := s.Binds(alice) - binds; n != 1 {
		t.Errorf("one wrong password reached the directory %d times", n)
	}
	var throttled atomic.Int64
	for i := range 50 {
		all.Go(func() {
			_, err := loginFrom(d, "alice", fmt.Sprintf("guess-%d", i), "10.0.0.9")
			if errors.As(err, new(*auth.ThrottledError)) {
				throttled.Add(1)
			} else if !errors.Is(err, auth.ErrBadCredentials) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.Binds(alice) - binds - 1; n != DefaultAttempts || throttled.Load() != 45 {
		t.Errorf("%d guesses reached the directory, %d were refused", n, throttled.Load())
	}
	if _, err := loginFrom(d, "alice", "alice-secret", "10.0.0.1"); err != nil {
		t.Errorf("alice at home: %v", err)
	}
	c.add(rememberWrong)
	binds = s.Binds(alice)
	if _, err := loginFrom(d, "alice", "old-secret", "10.0.0.1"); !errors.Is(err, auth.ErrBadCredentials) || s.Binds(alice) != binds+1 {
		t.Errorf("a minute later: %v, %d binds", err, s.Binds(alice)-binds)
	}
}
