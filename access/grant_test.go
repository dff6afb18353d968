package access

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/auth"
	"berth/oci"
	"berth/registry"
)

func TestGrant(t *testing.T) {
	p := policy(t,
		"name=alice on=team-a/* action=pull,push",
		"name=carol on=team-a/app action=pull",
		"name=dave on=team-a/app action=create",
		"name=lister on=team-a/app action=list",
		"name=tagged on=team-a/app tags=dev-* action=*",
		"name=root registry action=*",
		"name=* on=public/* action=pull",
		"name=pub on=public/x deny action=pull")
	for _, test := range []struct {
		caller    string
		requested []string
		want      []string
	}{
		{"alice", []string{"repository:team-a/app:pull,push"}, []string{"repository:team-a/app:pull,push"}},
		{"alice", []string{"repository:team-a/app:pull repository:team-b/x:pull", "repository:public/y:pull,push"},
			[]string{"repository:team-a/app:pull", "repository:public/y:pull"}},
		{"alice", []string{"repository:team-a/app:*"}, []string{"repository:team-a/app:pull,push"}},
		{"alice", []string{"repository:team-a/app:delete"}, nil},
		{"alice", []string{"repository:team-a/app:pull,list"}, []string{"repository:team-a/app:list,pull"}},
		{"carol", []string{"repository:team-a/app:pull,push"}, []string{"repository:team-a/app:pull"}},
		{"dave", []string{"repository:team-a/app:pull,push"}, []string{"repository:team-a/app:create"}},
		{"lister", []string{"repository:team-a/app:pull"}, []string{"repository:team-a/app:list"}},
		{"tagged", []string{"repository:team-a/app:pull,push,delete"}, []string{"repository:team-a/app:delete,pull,push"}},
		{"pub", []string{"repository:public/x:pull", "repository:public/y:pull"}, []string{"repository:public/y:pull"}},
		{"root", []string{"repository:any:*"}, []string{"repository:any:delete,pull,push"}},
		{"root", []string{"repository:any:admin"}, nil},
		{"anonymous", []string{"repository:team-a/app:pull", "registry:catalog:*"}, nil},
		{"alice", []string{"registry:catalog:*", "registry:other:*", "registry:catalog:search,pull"}, []string{"registry:catalog:*,search"}},
		{"alice", []string{"repository:TEAM-A/app:pull", "repository:team-a/../app:pull", "repository:team-a/*:pull", "repository:team-a/app:nonsense"}, nil},
	} {
		var got []string
		for _, s := range p.Grant(named(test.caller), auth.ParseScopes(test.requested)) {
			got = append(got, s.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %q: %s", test.caller, test.requested, diff)
		}
	}
	public := policy(t, "name=anonymous on=public/* action=pull")
	if got := public.Grant(named(""), auth.ParseScopes([]string{"registry:catalog:*"})); len(got) != 1 {
		t.Errorf("anonymous, who sees something, is granted %v", got)
	}
}

// TestGrantProperties: a token holds nothing that its holder may not do, and
// what it was asked for it lets him do.
func TestGrantProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := Compile(drawRules(t))
		if err != nil {
			t.Fatal(err)
		}
		r := drawRequest(t)
		r.Caller.Bearer, r.Caller.Ceiling = false, nil
		asked := r.Action
		if asked == Create {
			asked = Push // as clients do
		}
		bearer := *r.Caller
		bearer.Bearer = true
		bearer.Ceiling = p.Grant(r.Caller, []auth.Scope{{Type: TypeRepository, Name: string(r.Repository), Actions: []string{asked.String()}}})
		without := p.Decide(r)
		r.Caller = &bearer
		if with := p.Decide(r); r.Action != Admin && (with.Allow != without.Allow || with.NeedTags != without.NeedTags) {
			t.Fatalf("%+v with a token for %v, without %+v", with, bearer.Ceiling, without)
		}
		for _, s := range bearer.Ceiling {
			for _, name := range s.Actions {
				action, err := ParseAction(name)
				if err != nil || !p.may(&bearer, action, r.Repository) {
					t.Fatalf("granted %s, which is not held", name)
				}
			}
		}
	})
}

// spans makes spans of "from..to".
func spans(texts ...string) []registry.Span {
	var spans []registry.Span
	for _, text := range texts {
		from, to, _ := strings.Cut(text, "..")
		spans = append(spans, registry.Span{From: from, To: to})
	}
	return spans
}

func TestVisible(t *testing.T) {
	p := policy(t,
		"name=alice on=team-a/*,team-a/deep/** action=pull",
		"name=alice,bob on={user}/**,home-{user},x*/y action=list",
		"name=tagged on=team-a/app tags=v* action=pull",
		"name=all on=** action=pull",
		"name=most on=** action=pull", "name=most on=secret/** deny action=list",
		"name=pushonly registry action=push",
		"name=root registry action=*",
		"name=none on=** action=pull", "name=none,root registry deny action=*",
		"group=dev on=** action=pull",
		"name=tagdeny on=** action=pull", "name=tagdeny on=** tags=x deny action=*")
	everything := spans("..")
	for _, test := range []struct {
		caller string
		spans  []registry.Span
		all    bool
	}{
		{"alice", spans("alice/..alice0", "home-alice..home-alice\x00", "team-a/..team-a0", "x..y"), false},
		{"sso/bob", nil, false},
		{"tagged", spans("team-a/app..team-a/app\x00"), false},
		{"all", nil, true},
		{"most", everything, false},
		{"pushonly", nil, false},
		{"root", nil, true},
		{"none", nil, false},
		{"tagdeny", nil, true},
		{"anonymous", nil, false},
		{"anonymous+dev", nil, false},
	} {
		v := p.Visible(parseCaller(test.caller))
		if (v == nil) != test.all {
			t.Errorf("%s: %+v, want everything: %v", test.caller, v, test.all)
			continue
		}
		if v != nil {
			if diff := cmp.Diff(test.spans, v.Spans); diff != "" {
				t.Errorf("%s: %s", test.caller, diff)
			}
		}
	}

	bearer := named("all")
	bearer.Bearer, bearer.Ceiling = true, auth.ParseScopes([]string{"repository:b:push,pull repository:a:pull repository:c:push"})
	if v := p.Visible(bearer); v != nil {
		t.Errorf("a bearer sees %+v", v)
	}
	v := p.Readable(bearer)
	want := spans("a..a\x00", "b..b\x00", "c..c\x00")
	if diff := cmp.Diff(want, v.Spans); diff != "" || !v.Match("a") || v.Match("c") {
		t.Errorf("a bearer reads %s", diff)
	}
}

func TestJoin(t *testing.T) {
	for _, test := range []struct{ in, want []registry.Span }{
		{nil, nil},
		{spans("b..c", "a..b"), spans("a..c")},
		{spans("a..d", "b..c", "e..f"), spans("a..d", "e..f")},
		{spans("a..c", "b..", "d..e"), spans("a..")},
		{spans("x..y", "..", "a..b"), spans("..")},
	} {
		if diff := cmp.Diff(test.want, join(slices.Clone(test.in))); diff != "" {
			t.Errorf("%v: %s", test.in, diff)
		}
	}
}

// TestVisibleProperties: what is visible is what may be listed, and what is
// readable is that of which something may be pulled.
func TestVisibleProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := Compile(drawRules(t))
		if err != nil {
			t.Fatal(err)
		}
		c := drawCaller(t)
		name := oci.Name(drawName(t, "name"))
		if got, want := sees(p.Readable(c), name), p.may(c, Pull, name); got != want {
			t.Fatalf("reads %s: %v, want %v", name, got, want)
		}
		v := p.Visible(c)
		c.Bearer = false
		if got, want := sees(v, name), p.Decide(Request{Caller: c, Action: List, Repository: name}).Allow; got != want {
			t.Fatalf("sees %s: %v, want %v", name, got, want)
		}
		if v != nil && !slices.IsSortedFunc(v.Spans, func(a, b registry.Span) int {
			if a.To != "" && a.To < b.From {
				return -1
			}
			return 1
		}) {
			t.Fatalf("spans %v overlap", v.Spans)
		}
	})
}

func sees(v *registry.Visibility, name oci.Name) bool {
	if v == nil {
		return true
	}
	return v.Match(name) && slices.ContainsFunc(v.Spans, func(s registry.Span) bool {
		return s.From <= string(name) && (s.To == "" || string(name) < s.To)
	})
}

// TestGrantElsewhere: a registry that knows nothing of tags is given a token for
// no more than what holds for each of them.
func TestGrantElsewhere(t *testing.T) {
	p := policy(t,
		"name=alice on=team-a/* action=pull,push",
		"name=tagged on=team-a/app tags=dev-* action=*",
		"name=tagged on=team-a/app action=pull",
		"name=bound on=team-a/* action=*",
		"name=bound on=team-a/app tags=v* deny action=push,delete",
		"name=root registry action=*",
		"name=reader registry action=pull",
		"name=reader on=secret/** deny action=pull",
		"name=* on=secret/x tags=v* deny action=pull")
	for _, test := range []struct {
		caller, requested string
		want              []string
	}{
		{"alice", "repository:team-a/app:pull,push,delete", []string{"repository:team-a/app:pull,push"}},
		{"tagged", "repository:team-a/app:pull,push,delete", []string{"repository:team-a/app:pull"}},
		{"bound", "repository:team-a/app:pull,push,delete", []string{"repository:team-a/app:pull"}},
		{"bound", "repository:team-a/lib:pull,push,delete", []string{"repository:team-a/lib:delete,pull,push"}},
		{"root", "repository:secret/x:pull registry:catalog:*", []string{"repository:secret/x:pull", "registry:catalog:*"}},
		{"reader", "repository:secret/x:pull registry:catalog:*", nil},
		{"alice", "registry:catalog:*", nil},
	} {
		var got []string
		for _, s := range p.GrantElsewhere(named(test.caller), auth.ParseScopes([]string{test.requested})) {
			got = append(got, s.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, %s: %s", test.caller, test.requested, diff)
		}
	}
}
