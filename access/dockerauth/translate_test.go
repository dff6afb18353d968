package dockerauth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/access"
	"berth/oci"
)

const (
	hash  = "$2y$05$LO.vzwpWC5LZGqThvEfznu8qhb5SGqvBSWY1J3yZ4AxtMRZ3kN5jC"
	users = "users: {admin: {password: " + hash + "}, bob: {password: " + hash + ", labels: {team: [dev, ops], project: [web]}}, " +
		"carol: {password: " + hash + ", labels: {team: [dev]}}, '': {}}\n"
	private = "users: {admin: {password: " + hash + "}, bob: {password: " + hash + "}}\n"
	ldap    = "ldap_auth: {addr: 'ldap.example.com:636', tls: always, base: o=example.com, filter: '(uid=${account})', labels: {groups: {attribute: memberOf, parse_cn: true, lower_case: true}}}\n"
)

// acl returns a list of rules, of entries as "match actions".
func acl(entries ...string) string {
	var b strings.Builder
	b.WriteString("acl:\n")
	for _, e := range entries {
		match, actions, _ := strings.Cut(e, " -> ")
		fmt.Fprintf(&b, "  - {match: {%s}, actions: [%s]}\n", match, actions)
	}
	return b.String()
}

// TestTranslate reads the rules that a list of entries becomes.
func TestTranslate(t *testing.T) {
	for _, test := range []struct {
		name, text string
		o          Options
		want       []string // rules
	}{
		{"the usual", users + acl(`account: admin -> "*"`, `account: "/.+/", name: "${account}/*" -> "*"`, `account: "/.+/" -> pull`, `account: "", name: hello-world -> pull`), Options{}, []string{
			"name=admin all pull,push,delete",
			"name=* on={user}/* pull,push,delete",
			"name=* all pull",
			"name=anonymous on=hello-world pull",
		}},
		{"everybody", users + acl(`account: admin -> "*"`, ` -> pull`), Options{}, []string{"name=admin all pull,push,delete", "name=anonymous all pull"}},
		{"everybody, where all log in", private + acl(`account: admin -> "*"`, ` -> pull`), Options{}, []string{"name=admin all pull,push,delete", "name=* all pull"}},
		{"a deny", private + acl(`account: bob, name: "secret/*" -> `, `account: bob -> pull, push`), Options{}, []string{
			"deny name=bob on=secret/* pull,push",
			"name=bob all pull,push",
		}},
		{"a deny of what would be given, and of no more", private + acl(`account: bob -> pull`, `name: "public/*" -> pull, push`), Options{}, []string{
			"name=bob all pull",
			"deny name=bob on=public/* push",
			"name=* on=public/* pull,push",
		}},
		{"a deny that binds no admin", private + acl(`account: admin -> "*"`, `name: "secret/*" -> `, ` -> pull`), Options{Admins: []string{"admin"}}, []string{
			"name=admin all *",
			"name=admin all pull,push,delete",
			"deny name=* on=secret/* pull",
			"name=* all pull",
		}},
		{"for the users that there are", private + acl(`account: bob, name: "test-*" -> "*"`, `account: bob -> `, `account: "/.+/" -> pull`), Options{}, []string{
			"name=bob on=test-* pull,push,delete",
			"name=admin all pull",
		}},
		{"labels", users + acl(`labels: {team: ops} -> "*"`, `labels: {team: dev}, name: "dev/*" -> pull, push`), Options{}, []string{
			"group=ops all pull,push,delete",
			"group=dev on=dev/* pull,push",
		}},
		{"any value of a label", users + acl(`labels: {team: "/.+/"} -> pull`), Options{}, []string{"group=dev,ops all pull"}},
		{"several labels", users + acl(`labels: {team: ops, project: web} -> pull`), Options{}, []string{"name=bob all pull"}},
		{"a label in a name", users + acl(`name: "${labels:team}/*" -> pull`), Options{}, []string{
			"group=dev on=dev/* pull", "group=ops on=ops/* pull",
		}},
		{"networks", private + acl(`ip: 10.1.2.3/8, account: bob -> "*"`, `account: bob -> pull`), Options{}, []string{
			"name=bob all from=10.0.0.0/8 pull,push,delete", "name=bob all pull",
		}},
		{"the list of repositories", private + acl(`type: registry, name: catalog -> "*"`, `type: repository, account: bob -> pull`), Options{}, []string{"name=bob all pull"}},
		{"what is never reached", private + acl(` -> pull`, `account: bob -> pull`), Options{}, []string{"name=* all pull"}},
		{"a directory", ldap + acl(`labels: {groups: Admins} -> "*"`, `account: "/.+/", name: "${account}/*" -> "*"`, `account: eve -> pull`), Options{}, []string{
			"group=admins all pull,push,delete",
			"name=* on={user}/* pull,push,delete",
			"name=eve all pull",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, err := read("a.yml", []byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			tr := newTranslation(f, test.o)
			if err := tr.translate(); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range tr.rules {
				got = append(got, short(r))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func short(r access.Rule) string {
	var words []string
	add := func(key string, values []string) {
		if len(values) > 0 {
			words = append(words, key+strings.Join(values, ","))
		}
	}
	if r.Deny {
		words = append(words, "deny")
	}
	add("name=", r.Names)
	add("group=", r.Groups)
	add("on=", r.Repositories)
	if r.Type == access.TypeRegistry {
		words = append(words, "all")
	}
	for _, network := range r.From {
		words = append(words, "from="+network.String())
	}
	add("", r.Actions)
	return strings.Join(words, " ")
}

func TestTranslateRefuses(t *testing.T) {
	one := func(match string) string { return private + acl(match+" -> pull") }
	for _, test := range []struct{ text, want string }{
		{"", "EOF"},
		{private, "there is no acl"},
		{private + acl(`team: infrastructure -> pull, push`), "team"},
		{private + "acls: []\n" + acl(" -> pull"), "acls"},
		{private + "acl: [{actions: [pull]}]\n", "acl entry 1 (line 2): match is missing"},
		{private + "acl: [{match: {}}]\n", "actions is missing"},
		{private + acl(` -> pull, "*"`), "stands alone"},
		{private + acl(` -> fly`), `"fly" is none of`},
		{one("service: registry"), "service"},
		{one("ip: here"), "neither an address"},
		{one(`account: "/trainee|dev/"`), "acl entry 1 (line 3): account: \"/trainee|dev/\": it matches parts"},
		{one(`name: "/foo/"`), "anchor it"},
		{one(`name: "f??bar"`), "?"},
		{one(`name: "${account:1}/*"`), "only ${account}"},
		{one(`name: "${labels:a}/${labels:b}"`), "two labels"},
		{one(`type: "reg*"`), "repository or registry"},
		{one(`labels: {team: "/dev/"}`), "labels: team"},
		{"users: {bob: {}}\n" + acl(" -> pull"), `user "bob": he has no password`},
		{"users: {bob: {password: plain}}\n" + acl(" -> pull"), "no bcrypt hash"},
		{"users: {'a:b': {password: " + hash + "}}\n" + acl(" -> pull"), "cannot hold the name"},
		{"users: {anonymous: {password: " + hash + "}}\n" + acl(" -> pull"), "reserved"},
		{"users: {'': {password: " + hash + "}}\n" + acl(" -> pull"), "neither a password"},
		{private + "ext_auth: {command: x}\n" + acl(" -> pull"), "ext_auth has no equal: berth runs no programs"},
		{private + "mongo_auth: {}\n" + acl(" -> pull"), "mongo_auth has no equal"},
		{private + "casbin_authz: {}\n" + acl(" -> pull"), "casbin_authz has no equal"},
		{strings.Replace(ldap, "tls: always", "tls: always, insecure_tls_skip_verify: true", 1) + acl(" -> pull"), "ldap_auth: insecure_tls_skip_verify"},
		{strings.Replace(ldap, "parse_cn: true, ", "", 1) + acl(" -> pull"), "parse_cn: true"},
		{ldap + acl(`labels: {groups: "dev-*"} -> pull`), "list the groups"},
		{ldap + acl(`account: "ci-*" -> pull`), "use a group"},
		{ldap + acl(`account: Bob -> pull`), "lower case"},
		{ldap + acl(`name: "${labels:groups}/*" -> pull`), "the directory may hold any"},

		{private + acl(`account: admin -> "*"`, `name: "secret/*" -> `, ` -> pull`), "acl entry 2 (line 4): user admin may pull secret/"},
		{users + acl(`account: bob, name: hello-world -> `, `account: "", name: hello-world -> pull`), "who is logged in may do here whatever"},
		{users + acl(`account: "" -> `, ` -> pull`), ""},
		{users + acl(`account: "" -> pull`, `account: bob -> push`), "who is logged in may do here whatever"},
		{users + acl(`account: "" -> pull`), "who is logged in may do here whatever who is not may: leave out account"},
		{users + acl(`account: "" -> pull`, `account: "/.+/" -> pull`), ""}, // as it says
		{users + acl(` -> pull`), ""},
	} {
		_, err := Translate("/some/auth.yml", []byte(test.text), Options{Htpasswd: "/p"})
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || test.want == "" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s:\n%v, want %s", test.text, err, test.want)
			continue
		}
		for line := range strings.Lines(err.Error()) {
			if !strings.HasPrefix(line, "auth.yml: ") {
				t.Errorf("%s: the error is of no file: %s", test.text, line)
			}
		}
	}
	if _, err := Translate("a.yml", []byte(private+acl(" -> pull")), Options{Admins: []string{"bob"}}); err == nil || !strings.Contains(err.Error(), "an admin may do everything") {
		t.Errorf("an admin of one who may not everything: %v", err)
	}
	if _, err := Translate("a.yml", []byte(private+acl(" -> pull")), Options{Admins: []string{"eve"}}); err == nil {
		t.Error("an admin whom there is not")
	}
}

// TestAgreement makes up rules and requests: either the rules are refused, or
// both answer each request alike.
func TestAgreement(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		text := drawFile(t)
		f, err := read("a.yml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		tr := newTranslation(f, Options{})
		if err := tr.translate(); err != nil {
			return
		}
		accepted++
		for range 20 {
			tr.compare(t, text)
		}
	})
	if accepted == 0 {
		t.Error("everything is refused")
	}
}

// compare draws a request and has both answer it.
func (t *translation) compare(rt *rapid.T, text string) {
	callers := slices.Clone(t.users)
	callers = append(callers, &caller{
		name:   rapid.SampledFrom([]string{"newbie", "team", "a", "bz"}).Draw(rt, "newcomer"),
		labels: map[string][]string{"team": rapid.SliceOfDistinct(rapid.SampledFrom([]string{"dev", "ops", "team", "new"}), rapid.ID).Draw(rt, "labels")},
		later:  true,
	})
	if t.open {
		callers = append(callers, &caller{name: "carol", labels: map[string][]string{"groups": {"dev", "other"}}}, &caller{name: "dan", labels: map[string][]string{"groups": {"ops"}}})
	}
	if newcomer := callers[len(t.users)]; t.f.Users[newcomer.name] != nil {
		newcomer.name = "newbie"
	}
	// Labels of which no entry speaks have no group.
	spoken := t.conditions()
	callers[len(t.users)].labels["team"] = slices.DeleteFunc(callers[len(t.users)].labels["team"], func(v string) bool {
		return !slices.Contains(spoken, condition{"team", v})
	})
	c := rapid.SampledFrom(callers).Draw(rt, "caller")
	addr := netip.MustParseAddr(rapid.SampledFrom([]string{"127.0.0.1", "10.1.2.3", "10.200.0.1", "192.0.2.1", "::1", "2001:db8::1"}).Draw(rt, "address"))
	name := drawName(rt)
	at := t.f.first(&request{c, addr, repository, name})
	for _, action := range effects() {
		there := at >= 0 && t.f.ACL[at].grants(action.String())
		d := t.policy.Decide(access.Request{Caller: t.callerOf(question{caller: c, addr: addr}), Action: action, Repository: oci.Name(name)})
		if d.Allow == there || there && c.later && (c.name != "newbie" || t.narrowed[at] || t.fixed[at]) {
			continue
		}
		rt.Fatalf("%s %s %s from %s: there %v by entry %d, here %v by rule %d\n%s\n%v", c.name, action, name, addr, there, at+1, d.Allow, d.Rule+1, text, t.rules)
	}
}

// drawFile draws a configuration.
func drawFile(t *rapid.T) string {
	var b strings.Builder
	open := rapid.IntRange(0, 4).Draw(t, "directory") == 0
	b.WriteString("users:\n")
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"bob", "team", "a", "b.b", "Carol", "x/y"}), 1, 3, rapid.ID).Draw(t, "users") {
		labels := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"dev", "ops", "team", "a*"}), 0, 2, rapid.ID).Draw(t, "labels")
		fmt.Fprintf(&b, "  %q: {password: %q, labels: {team: [%s]}}\n", name, hash, quotedList(labels))
	}
	if rapid.Bool().Draw(t, "anonymous") {
		b.WriteString("  \"\": {}\n")
	}
	if open {
		b.WriteString(ldap)
	}
	b.WriteString("acl:\n")
	for range rapid.IntRange(1, 6).Draw(t, "entries") {
		var match []string
		some := func(key string, values ...string) {
			if rapid.Bool().Draw(t, key) {
				match = append(match, fmt.Sprintf("%s: %q", key, rapid.SampledFrom(values).Draw(t, key+" is")))
			}
		}
		some("account", "bob", "team", "a", "", "/.+/", "*", "?*", "/^(bob|a)$/", "b*", "carol")
		some("type", "repository", "registry")
		some("ip", "127.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "::1")
		if rapid.Bool().Draw(t, "name") {
			name := drawPattern(t)
			if rapid.IntRange(0, 5).Draw(t, "labelled") == 0 {
				name = "${labels:team}/*"
			}
			match = append(match, fmt.Sprintf("name: %q", name))
		}
		switch rapid.IntRange(0, 5).Draw(t, "labels") {
		case 0:
			match = append(match, fmt.Sprintf("labels: {team: %q}", rapid.SampledFrom([]string{"dev", "ops", "/.+/"}).Draw(t, "team")))
		case 1:
			match = append(match, fmt.Sprintf("labels: {groups: %q}", rapid.SampledFrom([]string{"dev", "ops"}).Draw(t, "group")))
		}
		actions := rapid.SampledFrom([]string{"", "pull", "pull, push", "push", "delete", `"*"`}).Draw(t, "actions")
		fmt.Fprintf(&b, "  - {match: {%s}, actions: [%s]}\n", strings.Join(match, ", "), actions)
	}
	return b.String()
}

func quotedList(values []string) string {
	var quoted []string
	for _, v := range values {
		quoted = append(quoted, fmt.Sprintf("%q", v))
	}
	return strings.Join(quoted, ", ")
}
