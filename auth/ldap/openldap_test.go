package ldap

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	if id, err := resolve(t, d, "alice"); err != nil || id.Version != second.Version {
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
	if id, err := resolve(t, d, "alice"); err != nil || id.Version == second.Version {
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

// TestTLS is every way to speak to a server that is not safe, and those that
// are.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	alice := s.AddUser("alice", "alice-secret")
	other := directory.StartOpenLDAP(t)
	for _, tt := range []struct {
		name   string
		change func(*Options)
		want   string // part of the error
	}{
		{"ldaps", nil, ""},
		{"StartTLS", func(o *Options) { o.URLs, o.StartTLS = []string{s.URL}, true }, ""},
		{"by another name of the certificate", func(o *Options) { o.ServerName = "localhost" }, ""},
		{"clear text", func(o *Options) { o.URLs = []string{s.URL} }, ""},
		{"the second of two", func(o *Options) { o.URLs = []string{other.TLSURL, s.TLSURL} }, ""},
		{"another authority", func(o *Options) { o.CAFile = other.CAFile }, "signed by unknown authority"},
		{"another authority, StartTLS", func(o *Options) { o.CAFile, o.URLs, o.StartTLS = other.CAFile, []string{s.URL}, true }, "signed by unknown authority"},
		{"another name", func(o *Options) { o.ServerName = "dc1.corp.test" }, "not dc1.corp.test"},
		{"another name, StartTLS", func(o *Options) {
			o.ServerName, o.URLs, o.StartTLS = "dc1.corp.test", []string{s.URL}, true
		}, "not dc1.corp.test"},
		{"the authorities of the system", func(o *Options) { o.CAFile = "" }, "signed by unknown authority"},
		{"no TLS at that port", func(o *Options) { o.URLs = []string{strings.Replace(s.URL, "ldap:", "ldaps:", 1)} }, "TLS"},
	} {
		d := open(t, s, tt.change)
		binds := strings.Count(s.Log(), "BIND")
		_, err := login(d, "alice", "alice-secret")
		var down *DownError
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.want == "":
		case !errors.As(err, &down), !strings.Contains(err.Error(), tt.want):
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		case strings.Count(s.Log(), "BIND") != binds:
			t.Errorf("%s: there was a bind", tt.name)
		case !strings.Contains(d.Degraded(), tt.want):
			t.Errorf("%s: degraded is %q", tt.name, d.Degraded())
		}
	}
	if s.Binds(alice) == 0 {
		t.Error("nobody was verified at all")
	}
}

// TestServiceAccount is a password of the service account that is wrong, and
// then right again.
func TestServiceAccount(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong-password\n")
	d := open(t, s, func(o *Options) { o.BindPassword, o.BindPasswordFile = "", file })
	d.limits.down = 10 * time.Millisecond
	_, err := login(d, "alice", "alice-secret")
	if err == nil || errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrNoMatch) || strings.Contains(err.Error(), "wrong-password") {
		t.Errorf("with a wrong password of binddn: %v", err)
	}
	time.Sleep(200 * time.Millisecond)
	if n := s.Binds(s.BindDN); n != 1 {
		t.Errorf("the service account was tried %d times", n)
	}
	write(s.Password + "\n")
	eventually(t, time.Second, func() bool { _, err := login(d, "alice", "alice-secret"); return err == nil })
	if got := d.Degraded(); got != "" {
		t.Error(got)
	}
	write("")
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Errorf("with an empty file: %v", err)
	}
}

// eventually waits until ok is true.
func eventually(t *testing.T, most time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v", most)
		}
	}
}

// TestStopped is a directory that hangs under 200 logins, and then goes on.
func TestStopped(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	for i := range 20 {
		s.AddUser(fmt.Sprintf("user%d", i), "user-secret")
	}
	d := open(t, s, func(o *Options) { o.Interval = time.Millisecond })
	if _, err := login(d, "user0", "user-secret"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	began := time.Now()
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, err := login(d, fmt.Sprintf("user%d", i%20), "user-secret")
			if !errors.As(err, new(*DownError)) {
				t.Errorf("while it hangs: %v", err)
			}
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("an answer after %v", took)
			}
		})
	}
	all.Wait()
	began = time.Now()
	if id, err := resolve(t, d, "user0"); err != nil || id.Name != "user0" {
		t.Errorf("who is known: %v", err)
	}
	if _, err := resolve(t, d, "user1"); !errors.As(err, new(*DownError)) {
		t.Errorf("who is not known: %v", err)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("what is marked down answered after %v", took)
	}
	if d.Degraded() == "" {
		t.Error("it is not degraded")
	}
	s.Cont()
	eventually(t, 5*time.Second, func() bool { _, err := login(d, "user1", "user-secret"); return err == nil })
}

// TestStale is how long a user goes on while the directory is gone.
func TestStale(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	c := newClock()
	d := open(t, s, func(o *Options) { o.Now = c.now })
	never := open(t, s, func(o *Options) { o.Now, o.Stale = c.now, -1 })
	for _, d := range []*Directory{d, never} {
		if _, err := resolve(t, d, "alice"); err != nil {
			t.Fatal(err)
		}
	}
	s.Kill()
	c.add(DefaultInterval + time.Second)
	if _, err := resolve(t, never, "alice"); !errors.As(err, new(*DownError)) {
		t.Errorf("never stale: %v", err)
	}
	if id, err := resolve(t, d, "alice"); err != nil || id.Name != "alice" {
		t.Errorf("stale: %v", err)
	}
	if _, err := login(d, "alice", "alice-secret"); !errors.As(err, new(*DownError)) {
		t.Errorf("a login: %v", err)
	}
	c.add(DefaultStale)
	if _, err := resolve(t, d, "alice"); !errors.As(err, new(*DownError)) {
		t.Errorf("after the time of that: %v", err)
	}
	s.Start()
	eventually(t, 5*time.Second, func() bool { _, err := resolve(t, d, "alice"); return err == nil })
}

// TestFailOver is a directory of which the first server is lost.
func TestFailOver(t *testing.T) {
	t.Parallel()
	first, second := directory.StartOpenLDAP(t), directory.StartOpenLDAP(t)
	for _, s := range []*directory.OpenLDAP{first, second} {
		s.AddUser("alice", "alice-secret")
	}
	d := open(t, first, func(o *Options) {
		o.URLs, o.StartTLS, o.CAFile = []string{first.URL, second.URL}, false, ""
		o.Interval = time.Millisecond
	})
	d.limits.down = 100 * time.Millisecond
	if _, err := login(d, "alice", "alice-secret"); err != nil || len(second.Log()) > 0 && strings.Contains(second.Log(), "uid=alice)") {
		t.Fatalf("%v, %s", err, second.Log())
	}
	first.Kill() // with connections in the pool
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Errorf("the second is not asked: %v", err)
	}
	if got := d.Degraded(); !strings.Contains(got, first.URL) {
		t.Errorf("degraded is %q", got)
	}
	first.Start()
	eventually(t, 2*time.Second, func() bool { return d.Degraded() == "" })
	// A server that is started again ends its connections, which is no reason to
	// take it for lost.
	if _, err := login(d, "alice", "alice-secret"); err != nil {
		t.Fatal(err)
	}
	first.Kill()
	first.Start()
	if _, err := login(d, "alice", "alice-secret"); err != nil || d.Degraded() != "" {
		t.Errorf("after a restart: %v, %q", err, d.Degraded())
	}
}

// TestOneSearch has a thousand requests of one user at once.
func TestOneSearch(t *testing.T) {
	t.Parallel()
	s := directory.StartOpenLDAP(t)
	s.AddUser("alice", "alice-secret")
	d := open(t, s, nil)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			if _, err := resolve(t, d, "alice"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(s.Log(), `filter="(uid=alice)"`); n != 1 {
		t.Errorf("%d searches", n)
	}
	if _, err := d.Resolve(t.Context(), auth.Subject{Provider: "other", Name: "alice"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("of another provider: %v", err)
	}
	if _, err := d.Resolve(t.Context(), auth.Subject{Name: "alice", Credential: "ci"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("by a credential: %v", err)
	}
	if id, err := d.Resolve(t.Context(), auth.Subject{Name: "ALICE"}); err != nil || id.Name != "alice" {
		t.Errorf("whoever owns ALICE: %+v, %v", id, err)
	}
	if _, err := resolve(t, d, "ALICE"); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("a subject that is not the directory's: %v", err)
	}
}
