package access

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/auth"
	"berth/oci"
)

// TestDecide tells what the package comment says, sentence by sentence. A case
// is a request as parseRequest reads it, and behind it the answer.
func TestDecide(t *testing.T) {
	for _, test := range []struct {
		name  string
		rules []string
		cases []string
	}{
		{"the tutorial", []string{"name=anonymous registry action=pull", "name=user1 registry action=pull,push"}, []string{
			"anonymous pull any/thing:v1 = rule 1",
			"anonymous list any/thing = rule 1",
			"anonymous push any/thing:v1 = none",
			"anonymous push any/thing = none",
			"user1 pull any/thing@?  = rule 1",
			"user1 push any/thing:v1 = rule 2",
			"user1 push any/thing = rule 2",
			"user1 delete any/thing:v1 = none",
			"user1 admin = none",
			"user2 pull any/thing:v1 = rule 1",
			"user2 push any/thing:v1 = none",
		}},
		{"no rules", nil, []string{"root pull a = none", "anonymous list a = none", "root admin = none"}},
		{"anchored", []string{"name=alice on=team-a/* action=*"}, []string{
			"alice pull team-a/app:v1 = rule 1",
			"alice pull team-ab/x:v1 = none",
			"alice pull team-a:v1 = none",
			"alice pull TEAM-A/x:v1 = none",
			"alice admin team-a/app = none",
			"ALICE pull team-a/app:v1 = none",
			"anonymous pull team-a/app:v1 = none",
		}},
		{"name and group", []string{"name=al,bo group=dev,ops on=a action=pull", "name=* group=web on=b action=pull", "name=anonymous group=web on=c action=pull", "group=web on=d action=pull"}, []string{
			"al+dev pull a:x = rule 1",
			"bo+x,ops pull a:x = rule 1",
			"al pull a:x = none",
			"al+web pull a:x = none",
			"cy+dev pull a:x = none",
			"cy+web pull b:x = rule 2",
			"cy+web pull c:x = rule 3",
			"cy+web pull d:x = rule 4",
			"cy pull b:x = none",
			"cy pull c:x = none",
			"anonymous+web pull b:x = none",
			"anonymous+web pull c:x = none",
			"anonymous+web pull d:x = none",
		}},
		{"wildcards", []string{"name=* on=in action=pull", "name=anonymous on=in,out action=list", "name=* on=out deny action=list"}, []string{
			"al pull in:x = rule 1",
			"anonymous pull in:x = none",
			"anonymous list in = rule 2",
			"al list in = rule 1",
			"anonymous list out = deny 3",
			"al list out = deny 3",
		}},
		{"deny beats allow", []string{"name=* on=** action=*", "name=* on=secret/** deny action=*", "name=bo registry deny action=push", "group=out on=** deny action=create", "name=cy on=** deny action=pull", "name=di on=** deny action=list", "name=*  on=secret/app action=*"}, []string{
			"al pull secret/app:v1 = deny 2",
			"al pull secret:v1 = rule 1",
			"bo pull x:v1 = rule 1",
			"bo push x:v1 = deny 3",
			"bo create x:v1 = deny 3",
			"bo delete x:v1 = rule 1",
			"al+out create x:v1 = deny 4",
			"al+out push x:v1 = deny 4",
			"al+out pull x:v1 = rule 1",
			"cy pull x:v1 = deny 5",
			"cy list x = deny 5",
			"cy fetch x = deny 5",
			"cy push x:v1 = rule 1",
			"di list x = deny 6",
			"di pull x:v1 = rule 1",
		}},
		{"admins", []string{"name=root registry action=*", "name=* on=secret/** deny action=*", "name=mgr registry action=admin", "group=ops registry from=10.0.0.0/8 action=admin", "group=ops on=** action=pull", "name=all on=** action=*", "name=tag registry tags=v* action=*", "name=anonymous,open registry action=*"}, []string{
			"root pull secret/app:v1 = rule 1",
			"root admin = rule 1",
			"root admin secret/app = rule 1",
			"mgr admin = rule 3",
			"mgr pull secret/app:v1 = rule 8",
			"a+ops@10.0.0.1 admin = rule 4",
			"a+ops@10.0.0.1 pull secret/app:v1 = rule 5",
			"a+ops@192.0.2.1 admin = none",
			"a+ops@192.0.2.1 pull secret/app:v1 = deny 2",
			"all pull secret/app:v1 = deny 2",
			"all admin = none",
			"tag admin = none",
			"open admin = none",
			"anonymous admin = none",
		}},
		{"admin alone", []string{"name=mgr registry action=admin"}, []string{"mgr admin = rule 1", "mgr pull a:v1 = none", "mgr list a = none", "mgr push a = none"}},
		{"what actions include", []string{"name=al on=a action=pull", "name=bo on=a action=push", "name=cy on=a action=create", "name=di on=a action=list", "name=anonymous on=p action=pull", "name=anonymous on=f action=fetch"}, []string{
			"al list a = rule 1",
			"al fetch a:v1 = rule 1",
			"al push a = none",
			"al create a = none",
			"bo create a:v1 = rule 2",
			"bo pull a:v1 = none",
			"bo list a = none",
			"cy create a:v1 = rule 3",
			"cy push a:v1 = none",
			"di list a = rule 4",
			"di pull a:v1 = none",
			"anonymous fetch p:v1 = none",
			"al fetch p:v1 = rule 5",
			"anonymous fetch f:v1 = rule 6",
		}},
		{"{user}", []string{"name=* on={user}/**,{user}-x action=pull", "name=* on=locked/{user} deny action=*", "name=* on=locked/* action=pull"}, []string{
			"al pull al/app:x = rule 1",
			"al pull al-x:x = rule 1",
			"al pull bo/app:x = none",
			"sso/al pull sso/al/app:x = none",
			"al pull locked/al:x = deny 2",
			"al pull locked/bo:x = rule 3",
			"a*l pull a*l/app:x = none",
			"Al pull Al/app:x = none",
		}},
		{"from", []string{"name=* on=a from=10.0.0.0/8,2001:db8::/32 action=pull", "name=* on=b action=pull", "name=* on=b from=192.0.2.0/24 deny action=pull"}, []string{
			"al@10.1.2.3 pull a:x = rule 1",
			"al@::ffff:10.1.2.3 pull a:x = rule 1",
			"al@2001:db8::1%eth0 pull a:x = rule 1",
			"al@11.1.2.3 pull a:x = none",
			"al pull a:x = none",
			"al@10.1.2.3 pull b:x = rule 2",
			"al@192.0.2.7 pull b:x = deny 3",
			"al pull b:x = deny 3",
		}},
		{"an allow with tags", []string{"name=al on=a tags=dev-*,v? action=*", "name=al on=a tags=dev-*,next action=*", "name=al on=b action=pull", "name=al on=b tags=dev-* action=push"}[1:], []string{
			"al pull a:dev-1 = rule 1",
			"al pull a:dev- = rule 1",
			"al pull a:next = rule 1",
			"al pull a:nexts = none",
			"al push a:dev-1,next = rule 1",
			"al push a:dev-1,prod = none",
			"al push a = rule 1",
			"al create a = rule 1",
			"al list a = rule 1",
			"al list a:prod = none",
			"al pull a = none",
			"al delete a = none",
			"al delete a:next = rule 1",
			"al delete a:prod = none",
			"al push a@? = rule 1",
			"al push a@ = rule 1",
			"al pull a@? = tags",
			"al pull a@ = none",
			"al pull a@prod/prod = none",
			"al pull a@prod,dev-1/prod = rule 1",
			"al delete a@? = tags",
			"al delete a@ = none",
			"al delete a@dev-1,next/next = rule 1",
			"al delete a@dev-1,prod/dev-1 = none",
			"al pull b@? = rule 2",
			"al push b:dev-1 = rule 3",
			"al push b:prod = none",
		}},
		{"a deny with tags", []string{"name=al on=a action=*", "name=* on=a tags=prod-* deny action=*", "name=bo on=a tags=dev-* action=*", "name=root registry action=*"}, []string{
			"al pull a:dev-1 = rule 1",
			"al pull a:prod-1 = deny 2",
			"al push a:dev-1,prod-1 = deny 2",
			"al push a = rule 1",
			"al list a = rule 1",
			"al list a:prod-1 = deny 2",
			"al delete a = deny 2",
			"al pull a@? = tags",
			"al pull a@ = rule 1",
			"al pull a@prod-1,dev-1/dev-1 = rule 1",
			"al pull a@prod-1,dev-1/prod-1 = deny 2",
			"al push a@? = tags",
			"al push a@ = rule 1",
			"al push a@prod-1/prod-1 = deny 2",
			"al delete a@? = tags",
			"al delete a@ = rule 1",
			"al delete a@dev-1 = rule 1",
			"al delete a@dev-1,prod-1/dev-1 = deny 2",
			"bo pull a@? = tags",
			"bo pull a@dev-1,prod-1/prod-1 = deny 2",
			"bo pull a@dev-1,prod-1 = rule 3",
			"cy pull a@? = none",
			"root pull a@? = rule 4",
			"root delete a = rule 4",
			"root pull a:prod-1 = rule 4",
		}},
		{"several tags, several rules", []string{"name=al on=a tags=x action=push", "name=al on=a tags=y action=push"}, []string{
			"al push a:y,x = rule 2",
			"al push a:x,y,z = none",
		}},
		{"the list of repositories", []string{"name=al on=a action=pull"}, []string{"al list = rule 0", "bo list = rule 0", "anonymous list = none", "al pull = none", "al push = none"}},
		{"the list for everybody", []string{"name=anonymous on=a action=list"}, []string{"anonymous list = rule 0"}},
		{"the list that a deny empties", []string{"name=anonymous on=a action=list", "name=anonymous registry deny action=*"}, []string{"anonymous list = none"}},
	} {
		p := policy(t, test.rules...)
		for _, c := range test.cases {
			request, want, _ := strings.Cut(c, " = ")
			if got := answer(p.Decide(parseRequest(request))); got != want {
				t.Errorf("%s: %s: got %s, want %s", test.name, request, got, want)
			}
		}
	}
}

// answer spells a decision as the tables here do.
func answer(d Decision) string {
	switch {
	case d.Allow && d.NeedTags:
		return "contradiction"
	case d.NeedTags:
		return "tags"
	case d.Allow:
		return fmt.Sprintf("rule %d", d.Rule+1)
	case d.Rule >= 0:
		return fmt.Sprintf("deny %d", d.Rule+1)
	}
	return "none"
}

func TestDecideBearer(t *testing.T) {
	p := policy(t, "name=al on=team-a/* action=*", "name=dave on=team-a/app action=create", "name=root registry action=*")
	for _, test := range []struct {
		caller, scopes string
		yes, no        []string
	}{
		{"al", "repository:team-a/app:pull", []string{"pull team-a/app:x", "list team-a/app", "fetch team-a/app:x"},
			[]string{"push team-a/app", "create team-a/app", "delete team-a/app:x", "pull team-a/app2:x", "pull team-a:x", "list", "admin"}},
		{"al", "repository:team-a/app:push", []string{"push team-a/app", "create team-a/app"}, []string{"pull team-a/app:x", "list team-a/app"}},
		{"al", "repository:team-a/app:create", []string{"create team-a/app"}, []string{"push team-a/app"}},
		{"al", "repository:team-a/app:*", []string{"pull team-a/app:x", "delete team-a/app:x"}, []string{"admin team-a/app", "pull team-a/x:x"}},
		{"al", "repository:team-b/app:*", nil, []string{"pull team-b/app:x"}},
		{"al", "repository:team-a/*:pull", nil, []string{"pull team-a/app:x"}},
		{"al", "registry:team-a/app:pull", nil, []string{"pull team-a/app:x"}},
		{"al", "repository:team-a/app:pull repository:team-a/b:push", []string{"pull team-a/app:x", "push team-a/b"}, []string{"push team-a/app", "pull team-a/b:x"}},
		{"al", "repository:team-a/app:admin,nonsense", nil, []string{"pull team-a/app:x", "admin team-a/app"}},
		{"al", "", nil, []string{"pull team-a/app:x", "list"}},
		{"dave", "repository:team-a/app:pull,push", []string{"create team-a/app"}, []string{"push team-a/app", "pull team-a/app:x"}},
		{"anonymous", "repository:team-a/app:*", nil, []string{"pull team-a/app:x"}},
		{"al", "registry:catalog:*", []string{"list"}, []string{"pull team-a/app:x", "list team-a/app"}},
		{"al", "registry:catalog:search", []string{"list"}, nil},
		{"al", "registry:catalog:pull", nil, []string{"list"}},
		{"al", "repository:catalog:*", nil, []string{"list"}},
		{"root", "registry:catalog:*", []string{"list"}, []string{"admin", "pull a:x"}},
		{"root", "repository:a:*", []string{"pull a:x"}, []string{"admin", "admin a"}},
	} {
		c := named(test.caller)
		c.Bearer, c.Ceiling = true, auth.ParseScopes([]string{test.scopes})
		for i, request := range slices.Concat(test.yes, test.no) {
			r := parseRequest(test.caller + " " + request)
			r.Caller = c
			if got, want := p.Decide(r).Allow, i < len(test.yes); got != want {
				t.Errorf("%s with %q: %s: got %v, want %v", test.caller, test.scopes, request, got, want)
			}
		}
	}
}

func TestDecideExpired(t *testing.T) {
	p := policy(t, "name=al registry action=*")
	c := named("al")
	c.Bearer, c.Expired, c.Ceiling = true, true, auth.ParseScopes([]string{"repository:a:* registry:catalog:*"})
	for i, name := range names {
		action := Action(1) << i
		got := p.Decide(Request{Caller: c, Action: action, Repository: "a"}).Allow
		if want := action == Push || action == Create; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if p.Decide(Request{Caller: c, Action: List}).Allow {
		t.Error("lists repositories")
	}
	if p.Decide(Request{Caller: c, Action: Push, Repository: "b"}).Allow {
		t.Error("pushes beyond the token's scope")
	}
	if v := p.Visible(c); v == nil || len(v.Spans) != 0 {
		t.Errorf("sees %v", v)
	}
	if s := p.Grant(c, c.Ceiling); len(s) != 0 {
		t.Errorf("is granted %v", s)
	}
}

func TestDecideNoRequest(t *testing.T) {
	p := policy(t, "name=anonymous registry action=*")
	for _, r := range []Request{
		{Action: Pull, Repository: "a"},
		{Caller: named(""), Repository: "a"},
		{Caller: named(""), Action: Pull | Push, Repository: "a"},
		{Caller: named(""), Action: 1 << 7, Repository: "a"},
	} {
		if d := p.Decide(r); d.Allow || d.NeedTags {
			t.Errorf("%+v: %+v", r, d)
		}
	}
}

func TestOpenAndAuthenticated(t *testing.T) {
	for i, name := range names {
		action := Action(1) << i
		for _, test := range []struct {
			what   string
			policy *Policy
			caller string
			want   bool
		}{
			{"open", Open(), "anonymous", action != Admin},
			{"open", Open(), "al", action != Admin},
			{"authenticated", Authenticated(), "anonymous", false},
			{"authenticated", Authenticated(), "al", action != Admin},
			{"zero", new(Policy), "al", false},
		} {
			got := test.policy.Decide(Request{Caller: named(test.caller), Action: action, Repository: "a/b"}).Allow
			if got != test.want {
				t.Errorf("%s: %s %s: got %v, want %v", test.what, test.caller, name, got, test.want)
			}
		}
	}
}

// The generators draw from few words, so that rules and requests meet.

func drawRules(t *rapid.T) []Rule {
	some := func(label string, least int, words ...string) []string {
		return rapid.SliceOfN(rapid.SampledFrom(words), least, 2).Draw(t, label)
	}
	var rules []Rule
	for range rapid.IntRange(0, 6).Draw(t, "rules") {
		r := Rule{
			Groups:  some("groups", 0, "g", "h"),
			Tags:    some("tags", 0, "v*", "v1", "*"),
			Deny:    rapid.IntRange(0, 3).Draw(t, "deny") == 0,
			Actions: some("actions", 1, "pull", "push", "create", "delete", "list", "fetch", "*"),
			Type:    TypeRegistry,
		}
		least := 1
		if len(r.Groups) > 0 {
			least = 0
		}
		r.Names = some("names", least, "a", "b", "a/b", anonymous, wildcard)
		for _, s := range some("from", 0, "10.0.0.0/8", "192.0.2.0/24") {
			r.From = append(r.From, parseRule("from="+s).From...)
		}
		if rapid.Bool().Draw(t, "repository") {
			r.Type = TypeRepository
			for range rapid.IntRange(1, 2).Draw(t, "patterns") {
				r.Repositories = append(r.Repositories, drawPattern(t))
			}
		}
		rules = append(rules, r)
	}
	if rapid.IntRange(0, 3).Draw(t, "admin") == 0 {
		rules = append(rules, Rule{Names: []string{"a"}, Type: TypeRegistry, Actions: []string{"admin"}})
	}
	return rules
}

func drawCaller(t *rapid.T) *Caller {
	c := parseCaller(rapid.SampledFrom([]string{"anonymous", "a", "b", "a/b", "a+g", "b+g,h"}).Draw(t, "caller"))
	if addr := rapid.SampledFrom([]string{"", "10.0.0.1", "192.0.2.1", "203.0.113.1"}).Draw(t, "addr"); addr != "" {
		c.Addr = parseCaller("@" + addr).Addr
	}
	if c.Bearer = rapid.IntRange(0, 3).Draw(t, "bearer") == 0; c.Bearer {
		c.Ceiling = auth.ParseScopes([]string{rapid.SampledFrom([]string{
			"", "repository:a:pull", "repository:a/b:pull,push", "repository:a:* repository:b:create registry:catalog:*",
		}).Draw(t, "ceiling")})
	}
	if rapid.Bool().Draw(t, "narrowed") {
		narrow(t, c)
	}
	return c
}

// narrow gives c a limit, and perhaps an owner.
func narrow(t *rapid.T, c *Caller) {
	words := rapid.SampledFrom([]string{"", "action=pull", "action=create", "action=push,delete from=10.0.0.0/8", "action=*", "action=list,fetch"}).Draw(t, "limit")
	r := parseRule(words)
	for range rapid.IntRange(0, 2).Draw(t, "limited patterns") {
		if pattern := drawPattern(t); !strings.Contains(pattern, userWord) {
			r.Repositories = append(r.Repositories, pattern)
		}
	}
	l, err := NewLimit(r.Repositories, r.Actions, r.From)
	if err != nil {
		t.Fatal(err)
	}
	if rapid.Bool().Draw(t, "gives") {
		l = l.Giving()
	}
	c.Limit = l
	if rapid.Bool().Draw(t, "owned") {
		c.Owner = &parseCaller(rapid.SampledFrom([]string{"anonymous", "a", "b", "a/b", "b+g,h"}).Draw(t, "owner")).Identity
	}
}

func drawRequest(t *rapid.T) Request {
	r := Request{
		Caller:     drawCaller(t),
		Action:     Action(1) << rapid.IntRange(0, len(names)-1).Draw(t, "action"),
		Repository: oci.Name(drawName(t, "repository")),
	}
	tags := rapid.SliceOfN(rapid.SampledFrom([]oci.Tag{"v1", "v2", "x"}), 0, 3).Draw(t, "tags")
	switch rapid.IntRange(0, 2).Draw(t, "about") {
	case 0:
		r.Tags = tags
	case 1:
		r.ByDigest, r.TagsUnknown = true, true
	case 2:
		r.ByDigest, r.Tags = true, tags
		r.Naming = tags[:rapid.IntRange(0, len(tags)).Draw(t, "naming")]
	}
	return r
}

func TestDecideProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules, r := drawRules(t), drawRequest(t)
		p, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		d := p.Decide(r)
		if r.TagsUnknown {
			// NeedTags: some tags allow and some do not; else all agree.
			seen := map[bool]bool{}
			for _, tags := range [][]oci.Tag{nil, {"v1"}, {"v2"}, {"x"}, {"v1", "x"}, {"v2", "x"}} {
				for naming := range len(tags) + 1 {
					known := r
					known.TagsUnknown, known.Tags, known.Naming = false, tags, tags[:naming]
					seen[slowDecide(rules, known)] = true
				}
			}
			if d.NeedTags && !slices.ContainsFunc(rules, func(r Rule) bool { return len(r.Tags) > 0 }) {
				t.Fatalf("%+v needs tags, which no rule is about", r)
			}
			if !d.NeedTags && seen[!d.Allow] {
				t.Fatalf("%+v decided without tags, which matter: %v", d, seen)
			}
			return
		}
		if want := slowDecide(rules, r); d.Allow != want || d.NeedTags {
			t.Fatalf("%s: %+v, want %v", p.Explain(r), d, want)
		}
	})
}

// TestLogin: whoever logs in keeps what anonymous may, where no rule denies.
func TestLogin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := slices.DeleteFunc(drawRules(t), func(r Rule) bool { return r.Deny })
		p, err := Compile(rules)
		if err != nil {
			t.Fatal(err)
		}
		r := drawRequest(t)
		r.Caller.Limit, r.Caller.Owner = nil, nil // which are there to take away
		loggedOut, c := r, *r.Caller
		c.Identity = auth.Identity{}
		loggedOut.Caller = &c
		if before, after := p.Decide(loggedOut), p.Decide(r); before.Allow && !after.Allow {
			t.Fatalf("%s: %+v; logged out: %+v", p.Explain(r), after, before)
		}
	})
}
