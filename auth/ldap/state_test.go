package ldap

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"
	"github.com/google/go-cmp/cmp"

	"berth/auth"
)

func entry(dn string, attrs ...string) *goldap.Entry {
	values := make(map[string][]string)
	for i := 0; i < len(attrs); i += 2 {
		values[attrs[i]] = append(values[attrs[i]], attrs[i+1])
	}
	return goldap.NewEntry(dn, values)
}

func TestAccountState(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const never, past, future = "9223372036854775807", "134168400000000000", "135000000000000000"
	for _, tt := range []struct {
		attrs []string
		want  string // part of the reason; "" may log in
		sure  bool
	}{
		{nil, "", false},
		{[]string{"userAccountControl", "512", "accountExpires", never, "lockoutTime", "0", "pwdLastSet", past, "msDS-User-Account-Control-Computed", "0"}, "", false},
		{[]string{"accountExpires", "0"}, "", false},
		{[]string{"userAccountControl", "514"}, "disabled (533)", true},
		{[]string{"useraccountcontrol", "514"}, "disabled (533)", true},
		{[]string{"accountExpires", past}, "account expired (701)", true},
		{[]string{"accountExpires", future}, "", false},
		{[]string{"msDS-User-Account-Control-Computed", "16", "lockoutTime", past}, "locked (775)", true},
		{[]string{"msDS-User-Account-Control-Computed", "0", "lockoutTime", past}, "", false}, // the lock has ended
		{[]string{"lockoutTime", past}, "locked (775)", false},
		{[]string{"pwdLastSet", "0", "userAccountControl", "512"}, "must be changed (773)", false},
		{[]string{"pwdLastSet", "0", "userAccountControl", "66048"}, "", false}, // its password never expires
		{[]string{"msDS-User-Account-Control-Computed", "8388608", "pwdLastSet", past}, "password expired (532)", false},
		{[]string{"nsAccountLock", "true"}, "nsAccountLock", true},
		{[]string{"nsAccountLock", "FALSE"}, "", false},
		{[]string{"krbPrincipalExpiration", "20260301115959Z"}, "krbPrincipalExpiration", true},
		{[]string{"krbPrincipalExpiration", "20270301115959Z"}, "", false},
		{[]string{"pwdAccountLockedTime", "000001010000Z"}, "pwdAccountLockedTime", true},
		{[]string{"pwdAccountLockedTime", "20260301115959Z"}, "pwdAccountLockedTime", false},
		{[]string{"pwdReset", "TRUE"}, "pwdReset", false},
	} {
		got := refusalOf(entry("cn=a", tt.attrs...), now)
		switch {
		case tt.want == "" && got != nil:
			t.Errorf("%q: %+v", tt.attrs, got)
		case tt.want != "" && (got == nil || !strings.Contains(got.reason, tt.want) || got.sure != tt.sure):
			t.Errorf("%q: %+v, want %s", tt.attrs, got, tt.want)
		}
	}
}

func TestVersion(t *testing.T) {
	first := version("corp", entry("uid=a,dc=corp", "entryUUID", "1", "pwdChangedTime", "1"))
	if first != version("corp", entry("uid=b,dc=corp", "entryUUID", "1", "pwdChangedTime", "1", "mail", "x")) {
		t.Error("an account that was moved is another")
	}
	for name, other := range map[string]string{
		"another password":  version("corp", entry("uid=a,dc=corp", "entryUUID", "1", "pwdChangedTime", "2")),
		"another account":   version("corp", entry("uid=a,dc=corp", "entryUUID", "2", "pwdChangedTime", "1")),
		"another directory": version("other", entry("uid=a,dc=corp", "entryUUID", "1", "pwdChangedTime", "1")),
		"another attribute": version("corp", entry("uid=a,dc=corp", "entryUUID", "1", "pwdLastSet", "1")),
	} {
		if other == first {
			t.Errorf("%s: the same version", name)
		}
	}
	if version("corp", entry("uid=a")) == version("corp", entry("uid=b")) {
		t.Error("accounts without an identifier are the same")
	}
}

// TestID: an account of another name is the same, another of its name is not,
// whatever kinds of identifiers the server tells.
func TestID(t *testing.T) {
	guid := string([]byte{0xff, 0, ' ', 0x80})
	for want, e := range map[auth.ID]*goldap.Entry{
		"entryuuid:0b-1c":              entry("uid=a,dc=corp", "entryUUID", "0B-1c", "uid", "a"),
		"objectguid:ff002080":          entry("cn=a,dc=corp", "objectguid", guid),
		"nsuniqueid:1-2":               entry("uid=a,dc=corp", "nsuniqueid", "1-2"),
		"entryuuid:1 nsuniqueid:2%20x": entry("uid=b,dc=corp", "nsUniqueId", "2 x", "entryuuid", "1"),
		"":                             entry("uid=a,dc=corp", "uid", "a"),
	} {
		if got := idOf(e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestJudge(t *testing.T) {
	answer := func(code uint16, text string) error { return goldap.NewError(code, errors.New(text)) }
	ad := func(data string) error {
		return answer(49, "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data "+data+", v4563\x00")
	}
	policy := func(code int8) *goldap.ControlBeheraPasswordPolicy {
		return &goldap.ControlBeheraPasswordPolicy{Expire: -1, Grace: -1, Error: code}
	}
	for _, tt := range []struct {
		err    error
		policy *goldap.ControlBeheraPasswordPolicy
		reason string // part of; "" is right
		told   string
	}{
		{nil, nil, "", ""},
		{nil, policy(-1), "", ""},
		{nil, policy(policyExpired), "", ""}, // a login of grace
		{nil, policy(policyChange), "must be changed (pwdReset)", toldChange},
		{answer(49, ""), nil, "wrong password", ""},
		{answer(49, ""), policy(-1), "wrong password", ""},
		{answer(49, ""), policy(policyExpired), "password expired (ppolicy)", toldExpired},
		{answer(49, ""), policy(policyLocked), "account locked (ppolicy)", ""},
		{ad("525"), nil, "no such user (525)", ""},
		{ad("52e"), nil, "wrong password (52e)", ""},
		{ad("52E"), nil, "wrong password (52e)", ""},
		{ad("530"), nil, "(530)", ""},
		{ad("531"), nil, "(531)", ""},
		{ad("532"), nil, "password expired (532)", toldExpired},
		{ad("533"), nil, "account disabled (533)", ""},
		{ad("701"), nil, "account expired (701)", ""},
		{ad("773"), nil, "(773)", toldChange},
		{ad("775"), nil, "account locked (775)", ""},
		{ad("80090346"), nil, "refused (80090346)", ""},
		{answer(53, "Account inactivated. Contact system administrator."), nil, "Account inactivated", ""},
		{answer(19, "Exceed password retry limit."), nil, "retry limit", ""},
	} {
		err := judge(tt.err, tt.policy)
		var rejected *auth.RejectedError
		switch ok := errors.As(err, &rejected); {
		case tt.reason == "" && err != nil, tt.reason != "" && !ok:
			t.Errorf("%v, %v: %v", tt.err, tt.policy, err)
		case ok && (!strings.Contains(rejected.Reason, tt.reason) || rejected.Told != tt.told):
			t.Errorf("%v, %v: %+v", tt.err, tt.policy, rejected)
		}
	}
	for _, code := range []uint16{1, 8, 10, 13, 51, 52, 80, 200} {
		if err := judge(answer(code, "x"), nil); err == nil || errors.Is(err, auth.ErrBadCredentials) {
			t.Errorf("answer %d: %v", code, err)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x00b\r\nc\xff " + strings.Repeat("d", 1000)); strings.ContainsAny(got, "\x00\r\n") || !utf8.ValidString(got) || len(got) > 200 {
		t.Errorf("%q", got)
	}
	if got := explain(goldap.NewError(8, errors.New("BindSimple: Transport encryption required."))).Error(); !strings.Contains(got, "starttls") {
		t.Error(got)
	}
}

func TestNames(t *testing.T) {
	d := mustNew(t, func(o *Options) { o.User.Filter = "(|(uid={user})(mail={user}))" })
	for _, tt := range []struct {
		said, want string
		attrs      []string
	}{
		{"alice", "alice", []string{"uid", "alice"}},
		{"ALICE", "Alice", []string{"uid", "Alice"}},
		{"alice@corp.test", "alice", []string{"uid", "alice", "mail", "Alice@corp.test"}},
		{"bob", "bob", []string{"uid", "robert", "uid", "bob"}},
		{"alice ", "", []string{"uid", "alice"}},
		{"\uff41lice", "", []string{"uid", "alice"}},
		{"alice", "", []string{"cn", "alice"}},
		{"r@corp.test", "", []string{"uid", "robert", "uid", "bob", "mail", "r@corp.test"}},
		{"a", "", []string{"uid", "a\nb", "mail", "a"}},
		{"a", "", []string{"uid", "a\xff", "mail", "a"}},
		{"sso/bob", "", []string{"uid", "sso/bob"}},
		{"anonymous", "", []string{"uid", "anonymous"}},
		{"*", "", []string{"uid", "*"}},
	} {
		if got, err := d.nameOf(entry("uid=x", tt.attrs...), tt.said); got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q of %q: %q, %v", tt.said, tt.attrs, got, err)
		}
	}
}

func TestDomains(t *testing.T) {
	d := mustNew(t, func(o *Options) { o.ActiveDirectory, o.User, o.Group = true, User{}, Group{} })
	f := facts{domains: []string{"corp.test", "corp"}, base: "DC=corp,DC=test"}
	for said, want := range map[string]string{`alice`: "alice", `CORP\alice`: "alice", `corp.test\alice`: "alice", `OTHER\alice`: "", `CORP\`: "", `alice@corp.test`: "alice@corp.test"} {
		q, ok := d.userQuery(f, said)
		if ok != (want != "") || ok && (!strings.Contains(q.filter, "(sAMAccountName="+want+")") || q.base != f.base) {
			t.Errorf("%s: %v, %+v", said, ok, q)
		}
	}
	upn := mustNew(t, func(o *Options) { o.User.DN = "{user}@corp.test" })
	netbios := mustNew(t, func(o *Options) { o.User.DN = `CORP\{user}` })
	for _, tt := range []struct {
		d          *Directory
		said, want string
	}{
		{upn, "alice", "alice@corp.test"}, {upn, "alice@CORP.test", "alice@corp.test"}, {upn, "alice@other.test", ""}, {upn, `CORP\alice`, ""},
		{netbios, "alice", `CORP\alice`}, {netbios, `corp\alice`, `CORP\alice`}, {netbios, `OTHER\alice`, ""}, {netbios, "alice@corp.test", ""},
	} {
		core, ok := tt.d.inTemplate(tt.said)
		if ok != (tt.want != "") || ok && tt.d.bindName(core) != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.said, tt.d.bindName(core), ok, tt.want)
		}
	}
	if got := dnsName("DC=corp,DC=test"); got != "corp.test" {
		t.Error(got)
	}
	if got := dnsName("o=corp"); got != "" {
		t.Error(got)
	}
}

func TestGroupNames(t *testing.T) {
	for dn, want := range map[string]string{
		"CN=Developers,OU=x,DC=test": "Developers",
		`CN=a\, b (c)*\\d,DC=test`:   `a, b (c)*\d`,
		`ou=x+cn=y,DC=test`:          "y",
		`OU=Staff,DC=test`:           "Staff",
		`cn=\c3\a4rzte,dc=test`:      "ärzte",
		"cn=Straße (M\\2fK),dc=corp": "Straße (M/K)",
		"no DN":                      "",
	} {
		got := strings.Join(firstRDN(dn, "cn"), "|")
		if got != want {
			t.Errorf("%s: %q, want %q", dn, got, want)
		}
	}
	if a, b := foldDN(`CN=A\2C B,DC=Test`), foldDN(`cn=a\, b, dc=test`); a != b {
		t.Errorf("%q and %q are the same", a, b)
	}
}

func TestGroupFilter(t *testing.T) {
	for _, tt := range []struct {
		filter  string
		members []string
		want    string
	}{
		{"(member={dn})", []string{`cn=a\, (b)*,dc=test`}, `(member=cn=a\5c, \28b\29\2a,dc=test)`},
		{"(member={dn})", []string{"cn=a", "cn=b"}, "(|(member=cn=a)(member=cn=b))"},
		{"(memberUid={user})", []string{"cn=a"}, `(memberUid=al\2a)`},
		{"(|(member={dn})(uniqueMember={dn})(memberUid={user}))", []string{"cn=a"}, `(|(member=cn=a)(uniqueMember=cn=a)(memberUid=al\2a))`},
	} {
		if got := groupFilter(tt.filter, "al*", tt.members); got != tt.want {
			t.Errorf("%s of %q: %s", tt.filter, tt.members, got)
		}
	}
}

func TestRanges(t *testing.T) {
	got, next := rangeOf(entry("cn=a", "memberOf;range=0-1", "cn=x", "memberOf;range=0-1", "cn=y"), "memberof")
	if diff := cmp.Diff([]string{"cn=x", "cn=y"}, got); diff != "" || next != 2 {
		t.Error(diff, next)
	}
	if got, next := rangeOf(entry("cn=a", "memberOf;range=2-*", "cn=z"), memberOf); fmt.Sprint(got, next) != "[cn=z] 0" {
		t.Error(got, next)
	}
	if got, next := rangeOf(entry("cn=a", "memberOf", "cn=z"), memberOf); fmt.Sprint(got, next) != "[cn=z] 0" {
		t.Error(got, next)
	}
}
