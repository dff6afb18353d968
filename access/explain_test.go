package access

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
)

func TestExplain(t *testing.T) {
	rules := parseRules(
		"name=anonymous on=public/** action=pull",
		"group=developers on=team/**,{user}/** tags=dev-* from=10.0.0.0/8 action=pull,push",
		"name=* on=secret/** deny action=*",
		"name=root registry action=*")
	rules[1].Comment = "team builds"
	p, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	const second = `rule 2 (line 20): {group: developers, type: repository, repositories: ["team/**", "{user}/**"], tags: ["dev-*"], from: [10.0.0.0/8], action: [pull, push]} # team builds`
	for _, test := range []struct{ request, want string }{
		{"anonymous pull public/x:v1", `anonymous, pull public/x:v1: allowed, because a rule allows it
rule 1 (line 10): {name: anonymous, type: repository, repositories: ["public/**"], action: pull}
`},
		{"bob+developers@10.1.2.3 push team/app:dev-1,v1", `user bob of developers from 10.1.2.3, push team/app:dev-1,v1: denied, because no rule allows it
but for tags, there is ` + second + `
  the tag is v1, the rule is for "dev-*"
`},
		{"bob@10.1.2.3 push team/app:dev-1", `user bob from 10.1.2.3, push team/app:dev-1: denied, because no rule allows it
but for group, there is ` + second + `
  the caller is in no group, the rule is for developers
`},
		{"bob+developers@192.0.2.1 push team/app", `user bob of developers from 192.0.2.1, push team/app: denied, because no rule allows it
but for from, there is ` + second + `
  the address is 192.0.2.1, the rule is for 10.0.0.0/8
`},
		{"bob+developers push team/app", `user bob of developers, push team/app: denied, because no rule allows it
but for from, there is ` + second + `
  the address is not known, the rule is for 10.0.0.0/8
`},
		{"bob+developers@10.1.2.3 pull other/app:dev-1", `user bob of developers from 10.1.2.3, pull other/app:dev-1: denied, because no rule allows it
but for name, there is rule 4 (line 40): {name: root, type: registry, action: "*"}
  the caller is bob, the rule is for root
but for repositories, there is rule 1 (line 10): {name: anonymous, type: repository, repositories: ["public/**"], action: pull}
  the repository is other/app, the rule is for "public/**"
but for repositories, there is ` + second + `
  the repository is other/app, the rule is for ["team/**", "{user}/**"]
`},
		{"al+developers@10.1.2.3 delete al/app:dev-1", `user al of developers from 10.1.2.3, delete al/app:dev-1: denied, because no rule allows it
but for action, there is ` + second + `
  the action is delete, the rule is for [pull, push]
but for name, there is rule 4 (line 40): {name: root, type: registry, action: "*"}
  the caller is al, the rule is for root
`},
		{"bob pull secret/x:v1", `user bob, pull secret/x:v1: denied, because a rule denies it
rule 3 (line 30): {name: "*", type: repository, repositories: ["secret/**"], effect: deny, action: "*"}
`},
		{"bob+developers@10.1.2.3 pull team/app@?", `user bob of developers from 10.1.2.3, pull team/app by digest: depends on tags, because it depends on the tags of the content
but for tags, there is ` + second + `
  no tag is given, the rule is for "dev-*"
`},
		{"bob+developers@10.1.2.3 pull team/app@v1", `user bob of developers from 10.1.2.3, pull team/app by digest, with tags v1: denied, because no rule allows it
but for tags, there is ` + second + `
  no such tag reaches the content, the rule is for "dev-*"
`},
		{"bob+ops,web admin", `user bob of ops, web, admin: denied, because no rule allows it
but for name, there is rule 4 (line 40): {name: root, type: registry, action: "*"}
  the caller is bob, the rule is for root
`},
	} {
		got := p.Explain(parseRequest(test.request)).String()
		// Whoever is not root is told so everywhere; once is enough here.
		if !strings.Contains(test.want, "rule 4") {
			got, _, _ = strings.Cut(got, "but for name, there is rule 4")
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.request, diff)
		}
	}
}

func TestExplainMany(t *testing.T) {
	var lines []string
	for range 2 * maxMisses {
		lines = append(lines, "name=al on=b action=pull")
	}
	misses := policy(t, append(lines, "name=al on=a tags=x action=pull")...).Explain(parseRequest("al pull a:y")).NearMisses
	if len(misses) != maxMisses || misses[0].Condition != "tags" {
		t.Errorf("%d near misses, the first is %+v", len(misses), misses[0])
	}
}

func TestExplainBearer(t *testing.T) {
	p := policy(t, "name=al on=a action=*")
	explain := func(request, scopes string) Explanation {
		r := parseRequest(request)
		r.Caller.Bearer, r.Caller.Ceiling = true, auth.ParseScopes([]string{scopes})
		return p.Explain(r)
	}
	if e := explain("al push a", "repository:a:pull"); e.Allowed || e.Rule != nil ||
		e.Reason != "the rules allow it, but the token is only for repository:a:pull" {
		t.Errorf("token too narrow: %+v", e)
	}
	if e := explain("al push a", ""); !strings.HasSuffix(e.Reason, "only for nothing") {
		t.Errorf("token for nothing: %+v", e)
	}
	// The token is narrow because the rules are: they are what can be mended.
	if e := explain("bob push a", ""); e.Reason != reasonNoRule || len(e.NearMisses) != 1 {
		t.Errorf("rules too narrow: %+v", e)
	}
}

func TestExplanationJSON(t *testing.T) {
	p := policy(t, "name=al on=a deny action=push", "name=al on=a action=pull")
	denied := p.Explain(parseRequest("al push a"))
	for _, test := range []struct {
		e    Explanation
		want string
	}{
		{denied, `{"question":"user al, push a","allowed":false,"reason":"a rule denies it",` +
			`"rule":{"number":1,"line":10,"text":"{name: al, type: repository, repositories: [a], effect: deny, action: push}"}}`},
		{denied.Redacted(), `{"question":"user al, push a","allowed":false,"reason":"a rule denies it"}`},
		{p.Explain(parseRequest("bob pull a:x")).Redacted(), `{"question":"user bob, pull a:x","allowed":false,"reason":"no rule allows it"}`},
	} {
		got, err := json.Marshal(test.e)
		if err != nil || string(got) != test.want {
			t.Errorf("got %s, %v, want %s", got, err, test.want)
		}
		var back Explanation
		if err := json.Unmarshal(got, &back); err != nil || !cmp.Equal(back, test.e) {
			t.Errorf("%s read back is %+v, %v", got, back, err)
		}
	}
}

func TestCheck(t *testing.T) {
	p := policy(t, "group=developers on=team/** tags=dev-* from=10.0.0.0/8 action=push", "name=root registry action=*")
	ten := netip.MustParseAddr("10.1.2.3")
	good := []Test{
		{User: "bob", Groups: []string{"developers"}, Action: "push", Repository: "team/app:dev-1", From: ten, Expect: "allow"},
		{User: "bob", Groups: []string{"developers"}, Action: "push", Repository: "team/app:dev-1", Expect: "deny"},
		{User: "anonymous", Groups: []string{"developers"}, Action: "push", Repository: "team/app", From: ten, Expect: "deny"},
		{Action: "list", Expect: "deny"},
		{User: "bob", Action: "list", Expect: "allow"},
		{User: "root", Action: "admin", Expect: "allow"},
	}
	if err := p.Check(good); err != nil {
		t.Errorf("tests that hold: %v", err)
	}
	for _, test := range []struct {
		test Test
		want string
	}{
		{Test{User: "bob", Action: "admin", Expect: "allow"}, `expected allow, but user bob, admin: denied, because no rule allows it; but for name, there is rule 2 (line 20): {name: root, type: registry, action: "*"};   the caller is bob, the rule is for root`},
		{Test{User: "root", Action: "pull", Repository: "a", Expect: "deny"}, `expected deny, but user root, pull a: allowed, because a rule allows it; rule 2 (line 20): {name: root, type: registry, action: "*"}`},
		{Test{User: "root", Action: "pull", Repository: "a", Expect: "yes"}, `expect "yes" is neither allow nor deny`},
		{Test{User: "root", Action: "write", Repository: "a", Expect: "deny"}, `unknown action "write"`},
		{Test{User: "root", Action: "pull", Expect: "deny"}, `action pull needs a repository`},
		{Test{User: "root", Action: "pull", Repository: "A", Expect: "deny"}, `repository "A"`},
		{Test{User: "root", Action: "pull", Repository: "a:", Expect: "deny"}, `tag ""`},
		{Test{User: "*", Action: "pull", Repository: "a", Expect: "deny"}, `user: the name "*" is reserved`},
	} {
		test.test.Line = 7
		err := p.Check([]Test{good[0], test.test})
		if want := "accesstests 2 (line 7): " + test.want; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: error %v, want %s", test.test, err, want)
		}
	}
	if err := p.Check([]Test{{}, {}}); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two tests that fail: %v", err)
	}
}

func TestQuoted(t *testing.T) {
	for s, want := range map[string]string{
		"pull": "pull", "10.0.0.0/8": "10.0.0.0/8", "team/app": "team/app", "": `""`, "*": `"*"`, "1.5": `"1.5"`, "true": `"true"`,
		"-x": `"-x"`, "a b": `"a b"`, "sso/é": `"sso/é"`, `a"b`: `"a\"b"`, "github/ci:x": `"github/ci:x"`,
	} {
		if got := quoted(s); got != want {
			t.Errorf("%q: got %s, want %s", s, got, want)
		}
	}
}
