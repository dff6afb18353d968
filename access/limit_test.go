package access

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/oci"
	"berth/registry"
)

// limit makes a Limit of words such as "on=team/** action=pull from=10.0.0.0/8".
func limit(t testing.TB, words string) *Limit {
	t.Helper()
	r := parseRule(words)
	l, err := NewLimit(r.Repositories, r.Actions, r.From)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLimitText(t *testing.T) {
	for words, want := range map[string]string{
		"":                   "everything but admin",
		"action=pull,*":      "everything but admin",
		"action=pull,push":   "pull, push",
		"on=a,b/* action=*":  "everything but admin on a, b/*",
		"from=2001:db8::/32": "everything but admin from 2001:db8::/32",
		"on=a action=pull from=10.0.0.0/8,192.0.2.0/24": "pull on a from 10.0.0.0/8, 192.0.2.0/24",
	} {
		if got := limit(t, words).String(); got != want {
			t.Errorf("%q: %q, want %q", words, got, want)
		}
	}
}

func TestLimitErrors(t *testing.T) {
	_, err := NewLimit([]string{"team/**", "Team/*", "{user}/**"}, []string{"pull", "admin", "pul"}, []netip.Prefix{{}})
	want := `from holds what is not a network: write it as 10.0.0.0/8 or 2001:db8::/32
pattern "Team/*" of repositories: it can match nothing: names of repositories are in lower case
pattern "{user}/**" of repositories: the limit is one user's: write his name in the place of {user}
action admin is for users alone: no robot or token manages the registry
unknown action "pul": one of pull, push, create, delete, list, fetch, admin, or "*"`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// foreign is a limit of another package.
type foreign struct{}

func (foreign) String() string { return "nothing" }

// The callers of the stories below, each with the same limit.
func narrowedCallers(t testing.TB) map[string]*Caller {
	l := limit(t, "on=team/**,secret/** action=pull,push from=10.0.0.0/8")
	addr := netip.MustParseAddr("10.1.2.3")
	holder := func(name string, l auth.Limit, owner *Caller) *Caller {
		c := &Caller{Identity: auth.Identity{Subject: auth.Subject{Provider: "robots", Name: name, Credential: "ID"}, Limit: l}, Addr: addr}
		if owner != nil {
			c.Owner = &owner.Identity
		}
		return c
	}
	callers := map[string]*Caller{
		"token of alice":     holder("alice", l, nil),
		"token of root":      holder("root", l, nil),
		"own robot":          holder("robot:own", l.Giving(), nil),
		"own robot, denied":  holder("robot:denied", l.Giving(), nil),
		"own robot, abroad":  holder("robot:own", l.Giving(), nil),
		"own robot, nowhere": holder("robot:own", l.Giving(), nil),
		"robot of alice":     holder("robot:ci", l, named("alice")),
		"robot of bob":       holder("robot:ci", l, named("bob", "dev")),
		"robot of root":      holder("robot:ci", l, named("root")),
		"robot of nobody":    holder("robot:ci", l, named("")),
		"robot of a robot":   holder("robot:ci", l, holder("robot:own", l.Giving(), nil)),
		"giving, with owner": holder("robot:ci", l.Giving(), named("carol")),
		"giving, to nobody":  holder("", l.Giving(), nil),
		"foreign limit":      holder("robot:own", foreign{}, nil),
		"no limit at all":    holder("robot:own", (*Limit)(nil), nil),
		"owner alone":        holder("robot:ci", nil, named("root")),
	}
	callers["own robot, abroad"].Addr = netip.MustParseAddr("192.0.2.1")
	callers["own robot, nowhere"].Addr = netip.Addr{}
	callers["token of alice"].Addr = netip.MustParseAddr("::ffff:10.1.2.3")
	return callers
}

func TestLimit(t *testing.T) {
	p := policy(t,
		"name=alice on=team/** action=pull,push,delete",
		"group=dev on=team/app tags=dev-* action=push",
		"name=root registry action=*",
		"name=* on=secret/** deny action=*",
		"name=robot:denied on=team/app deny action=push",
		"group=robots on=team/frozen tags=v* deny action=push",
		"name=robot:own,robot:ci,carol on=other/** action=*",
		"name=anonymous on=public/** action=pull",
		"name=alice on=team/mine from=192.0.2.0/24 action=*")
	callers := narrowedCallers(t)
	for _, test := range []struct {
		caller string
		cases  []string
	}{
		{"token of alice", []string{
			"pull team/app = rule 1", "push team/app:v1 = rule 1", "delete team/app = none", "pull other/x = none",
			"pull public/x = none", "push secret/x = deny 4", "admin = none", "list = rule 0", "create team/app:v2 = rule 1",
		}},
		{"token of root", []string{"pull team/app = rule 3", "pull secret/x = rule 3", "delete team/app = none", "pull other/x = none", "admin = none"}},
		{"own robot", []string{
			"pull team/app = rule 0", "push team/new:v1 = rule 0", "list team/app = rule 0", "fetch team/app = rule 0", "delete team/app = none",
			"pull secret/x = deny 4", "pull other/x = none", "pull public/x = none", "admin = none", "list = rule 0", "pull = none",
			"push team/frozen@? = rule 0",
		}},
		{"own robot, denied", []string{"pull team/app = rule 0", "push team/app = deny 5", "push team/other = rule 0"}},
		{"own robot, abroad", []string{"pull team/app = none", "list = none"}},
		{"own robot, nowhere", []string{"pull team/app = none", "list = none"}},
		{"robot of alice", []string{"pull team/app = rule 1", "delete team/app = none", "pull secret/x = deny 4", "pull other/x = none", "admin = none"}},
		{"robot of bob", []string{
			"push team/app:dev-1 = rule 2", "push team/app:v1 = none", "push team/app:dev-1,v1 = none", "push team/app@? = rule 2",
			"pull team/app = none", "pull other/x = none",
		}},
		{"robot of root", []string{"pull team/app = rule 3", "pull secret/x = deny 4", "admin = none"}},
		{"robot of nobody", []string{"pull team/app = none", "pull public/x = none"}},
		{"robot of a robot", []string{"pull team/app = none"}},
		{"giving, with owner", []string{"pull team/app = none"}},
		{"giving, to nobody", []string{"pull team/app = none", "list = none"}},
		{"foreign limit", []string{"pull team/app = none", "pull other/x = none", "list = none", "admin = none"}},
		{"no limit at all", []string{"pull team/app = none", "pull other/x = none"}},
		{"owner alone", []string{"pull team/app = none", "admin = none"}},
	} {
		for _, c := range test.cases {
			words, want, _ := strings.Cut(c, " = ")
			r := parseRequest("x " + words)
			r.Caller = callers[test.caller]
			if got := answer(p.Decide(r)); got != want {
				t.Errorf("%s: %s: got %s, want %s", test.caller, words, got, want)
			}
		}
	}

	// A group of the robot's own matters for denies, also where tags decide.
	robot := callers["own robot"]
	robot.Groups = []string{"dev", "robots"}
	for request, want := range map[string]string{"push team/frozen@?": "tags", "push team/frozen:v1": "deny 6", "push team/frozen:x,y": "rule 0"} {
		r := parseRequest("x " + request)
		r.Caller = robot
		if got := answer(p.Decide(r)); got != want {
			t.Errorf("%s of a group: got %s, want %s", request, got, want)
		}
	}
	robot.Owner = &named("root").Identity
	r := parseRequest("x push team/frozen@?")
	r.Caller = robot
	if got := answer(p.Decide(r)); got != "tags" {
		t.Errorf("a robot of root in a group that is denied: %s", got)
	}
}

func TestVisibleWithin(t *testing.T) {
	p := policy(t,
		"name=alice on=team/*,home/{user}/** action=pull",
		"name=root registry action=*",
		"name=* on=team/secret deny action=*")
	within := func(name, words string, giving bool, owner *Caller) *Caller {
		c := named(name)
		l := limit(t, words)
		if giving {
			l = l.Giving()
		}
		c.Limit = l
		if owner != nil {
			c.Owner = &owner.Identity
		}
		return c
	}
	team := "team/..team0"
	for what, test := range map[string]struct {
		caller *Caller
		spans  []registry.Span
		all    bool
	}{
		"a token for all of alice": {within("alice", "", false, nil), spans("home/alice/..home/alice0", team), false},
		"a token for a part":       {within("alice", "on=team/app,other action=pull", false, nil), spans("team/app..team/app\x00"), false},
		"a token that only pushes": {within("alice", "action=push", false, nil), nil, false},
		"a token from elsewhere":   {within("alice", "from=10.0.0.0/8", false, nil), nil, false},
		"a token of root":          {within("root", "on=a/**,b", false, nil), spans("a/..a0", "b..b\x00"), false},
		"a robot of its own":       {within("robot:ci", "on=team/**", true, nil), spans(team), false},
		"a robot of alice":         {within("robot:ci", "on=team/app*,home/** action=list", false, named("alice")), spans("home/alice/..home/alice0", "team/app..team/apq"), false},
		"a robot of a robot":       {within("robot:ci", "", false, within("robot:x", "", true, nil)), nil, false},
		"a robot of nobody":        {within("robot:ci", "", true, named("")), nil, false},
	} {
		v := p.Visible(test.caller)
		if v == nil {
			t.Fatalf("%s: everything", what)
		}
		if diff := cmp.Diff(test.spans, v.Spans); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
		if v.Match("team/secret") {
			t.Errorf("%s sees what is denied", what)
		}
	}
	own := within("robot:ci", "on=team/**", true, nil)
	own.Bearer, own.Ceiling = true, auth.ParseScopes([]string{"repository:team/app:pull repository:other:pull"})
	v := p.Readable(own)
	if !v.Match("team/app") || v.Match("other") || v.Match("team/b") {
		t.Error("the token of a robot reads something else than its scope within its limit")
	}
}

func TestExplainLimit(t *testing.T) {
	p := policy(t, "name=alice group=dev on=team/** action=pull", "name=robot:ci on=team/secret deny action=*")
	c := named("robot:ci")
	c.Limit, c.Owner = limit(t, "on=team/** action=pull,push"), &named("alice", "dev").Identity
	for request, want := range map[string]string{
		"pull other": `user robot:ci for alice of dev, pull other: denied, because the credential is only for pull, push on team/**
`,
		"pull team/app": `user robot:ci for alice of dev, pull team/app: allowed, because a rule allows it
rule 1 (line 10): {name: alice, group: dev, type: repository, repositories: ["team/**"], action: pull}
`,
		"push team/app": `user robot:ci for alice of dev, push team/app: denied, because no rule allows it
but for action, there is rule 1 (line 10): {name: alice, group: dev, type: repository, repositories: ["team/**"], action: pull}
  the action is push, the rule is for pull
`,
		"pull team/secret": `user robot:ci for alice of dev, pull team/secret: denied, because a rule denies it
rule 2 (line 20): {name: "robot:ci", type: repository, repositories: [team/secret], effect: deny, action: "*"}
`,
	} {
		r := parseRequest("x " + request)
		r.Caller = c
		if diff := cmp.Diff(want, p.Explain(r).String()); diff != "" {
			t.Errorf("%s: %s", request, diff)
		}
	}
	c.Limit = foreign{}
	if e := p.Explain(Request{Caller: c, Action: Pull, Repository: "team/app"}); e.Allowed || !strings.Contains(e.Reason, "for nothing") {
		t.Errorf("a limit of another package: %+v", e)
	}
}

// FuzzLimit: whoever is narrowed may do nothing that his limit, his owner or the
// rules do not let him, and the answer is that of the most obvious reading.
func FuzzLimit(f *testing.F) {
	rules := parseRules(
		"name=alice on=team/** action=pull,push", "group=dev on=team/app tags=dev-* action=*", "name=root registry action=*",
		"name=* on=secret/** deny action=*", "name=robot:denied on=team/** tags=v* deny action=push,delete", "name=anonymous on=a,b/** action=pull")
	p, err := Compile(rules)
	if err != nil {
		f.Fatal(err)
	}
	owners := []*auth.Identity{nil, nil, &named("alice", "dev").Identity, &named("root").Identity}
	f.Fuzz(func(t *testing.T, patterns, actions, network string, kind uint8, user, groups, repository, tag string, action uint8) {
		var from []netip.Prefix
		if prefix, err := netip.ParsePrefix(network); err == nil {
			from = []netip.Prefix{prefix}
		}
		l, err := NewLimit(strings.Fields(patterns), strings.Fields(actions), from)
		if err != nil {
			return
		}
		if kind&1 != 0 {
			l = l.Giving()
		}
		c := named(user, strings.Fields(groups)...)
		c.Addr = netip.MustParseAddr("10.0.0.1")
		c.Limit, c.Owner = l, owners[kind/2%4]
		r := Request{Caller: c, Action: 1 << (action % uint8(len(names)))}
		if r.Repository, err = oci.ParseName(repository); err != nil {
			return
		}
		if parsed, err := oci.ParseTag(tag); err == nil {
			r.Tags = []oci.Tag{parsed}
		}
		got := p.Decide(r)
		if want := slowDecide(rules, r); got.Allow != want || got.NeedTags {
			t.Fatalf("%s: %+v, want %v", p.Explain(r), got, want)
		}
		if got.Allow && c.Owner != nil {
			owner := Request{Caller: &Caller{Identity: *c.Owner, Addr: c.Addr}, Action: r.Action, Repository: r.Repository, Tags: r.Tags}
			if !p.Decide(owner).Allow {
				t.Errorf("%s, which its owner may not", p.Explain(r))
			}
		}
	})
}
