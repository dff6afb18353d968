package access

import (
	"fmt"
	"testing"

	"berth/auth"
	"berth/oci"
)

// someRules returns n rules as a site would have them; a large one has a thousand.
func someRules(n int) []Rule {
	rules := parseRules("name=anonymous on=public/** action=pull", "name=* on={user}/** action=*", "name=* on=secret/** deny action=*",
		"name=* on=*/shared action=pull", "name=root registry action=*")
	for i := len(rules); i < n; i++ {
		rules = append(rules, parseRule(fmt.Sprintf("group=g%d,ops on=team/app-%d/** tags=v*,dev-* from=10.0.0.0/8 action=pull,push", i, i)))
	}
	return rules
}

var speedCases = []struct {
	name    string
	request string
}{
	{"anonymous", "anonymous pull public/app:v1"},
	{"byTag", "bob+g1,g2,g900,ops@10.1.2.3 push team/app-900/x:v1"},
	{"byDigest", "bob+g1,g2,g900,ops@10.1.2.3 pull team/app-900/x@a,b,c,dev-1"},
	{"tagsUnknown", "bob+g900@10.1.2.3 pull team/app-900/x@?"},
	{"none", "bob+g1,g2,g900@10.1.2.3 pull other/deep/path/app:v1"},
	{"own", "alice push alice/app:v1,v2"},
	{"admin", "root pull secret/app:v1"},
}

func TestDecideAllocates(t *testing.T) {
	p, err := Compile(someRules(1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range speedCases {
		r := parseRequest(c.request)
		for _, r.Caller.Bearer = range []bool{false, true} {
			r.Caller.Ceiling = []auth.Scope{{Type: TypeRepository, Name: string(r.Repository), Actions: []string{"pull", "push"}}}
			if n := testing.AllocsPerRun(20, func() { p.Decide(r) }); n != 0 {
				t.Errorf("%s, bearer %v: %v allocations", c.name, r.Caller.Bearer, n)
			}
		}
	}
	for _, c := range speedCases {
		r := parseRequest(c.request)
		r.Caller.Limit = limit(t, "on=team/**,public/* action=pull,push from=10.0.0.0/8").Giving()
		owner := r.Caller.Identity
		owner.Limit = nil
		for _, r.Caller.Owner = range []*auth.Identity{nil, &owner} {
			if n := testing.AllocsPerRun(20, func() { p.Decide(r) }); n != 0 {
				t.Errorf("%s, narrowed: %v allocations", c.name, n)
			}
		}
	}
	if n := testing.AllocsPerRun(20, func() { p.Decide(Request{Caller: named("al"), Action: List}) }); n > 1 {
		t.Errorf("the list of repositories: %v allocations", n) // one is the caller
	}
}

// BenchmarkDecide shows by its sizes that what a decision costs does not grow
// with the rules that there are.
func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		p, err := Compile(someRules(n))
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range speedCases {
			b.Run(fmt.Sprintf("rules=%d/%s", n, c.name), func(b *testing.B) {
				r := parseRequest(c.request)
				b.ReportAllocs()
				for b.Loop() {
					p.Decide(r)
				}
			})
		}
	}
}

func BenchmarkDecideForRobot(b *testing.B) {
	p, err := Compile(someRules(1000))
	if err != nil {
		b.Fatal(err)
	}
	r := parseRequest("robot:ci@10.1.2.3 push team/app-900/x:v1")
	r.Caller.Limit = limit(b, "on=team/** action=pull,push from=10.0.0.0/8")
	r.Caller.Owner = &parseCaller("bob+g1,g2,g900,ops").Identity
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(r)
	}
}

func BenchmarkVisible(b *testing.B) {
	p, err := Compile(someRules(1000))
	if err != nil {
		b.Fatal(err)
	}
	c := parseCaller("bob+g1,g2,g900,ops@10.1.2.3")
	b.Run("spans", func(b *testing.B) {
		for b.Loop() {
			p.Visible(c)
		}
	})
	b.Run("match", func(b *testing.B) {
		v := p.Visible(c)
		for b.Loop() {
			v.Match(oci.Name("team/app-900/x"))
		}
	})
}
