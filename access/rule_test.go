package access

import (
	"net/netip"
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	for _, test := range []struct {
		rule string
		want []string
	}{
		{"on=a action=pull", []string{"says nobody"}},
		{"name= on=a action=pull", []string{`name ""`, "empty"}},
		{"group=* on=a action=pull", []string{`group "*"`, "reserved"}},
		{"group=anonymous on=a action=pull", []string{`group "anonymous"`, "reserved"}},
		{"name=a on=a", []string{"has no action", "pull, push"}},
		{"name=a on=a action=write", []string{`unknown action "write"`, "pull, push"}},
		{"name=a on=a action=pull,", []string{`unknown action ""`}},
		{"name=a none on=a action=pull", []string{"type is missing"}},
		{"name=a type=namespace on=a action=pull", []string{`type "namespace"`}},
		{"name=a action=pull", []string{"needs repositories"}},
		{"name=a registry on=a action=pull", []string{"leave repositories out"}},
		{"name=a on=a,B/* action=pull", []string{`"B/*" of repositories`}},
		{"name=a on=a tags=a/b action=pull", []string{`"a/b" of tags`, `'/'`}},
		{"name=a on=a tags={user} action=pull", []string{`of tags`}},
		{"name=a on=a tags=,b action=pull", []string{`"" of tags`, "empty"}},
		{"name=a on=a action=admin", []string{"type: registry"}},
		{"name=a registry deny action=admin", []string{"cannot be denied"}},
		{"name=a,anonymous registry action=admin", []string{"anonymous"}},
		{"name=a registry tags=x action=admin", []string{"limited to tags"}},
		{"name=a on=a from=::ffff:10.0.0.0/104 action=pull", []string{"::ffff:10.0.0.0/104", "IPv4"}},
		{"type=x", []string{"says nobody", `type "x"`, "has no action"}},
	} {
		_, err := Compile(append(parseRules("name=a on=a action=pull"), parseRule(test.rule)))
		if err == nil {
			t.Errorf("%s: compiles", test.rule)
			continue
		}
		for _, line := range strings.Split(err.Error(), "\n") {
			if !strings.HasPrefix(line, "access rule 2: ") {
				t.Errorf("%s: error %q does not name the rule", test.rule, line)
			}
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want %q in it", test.rule, err, want)
			}
		}
	}

	rules := parseRules("name=a on=a action=pul", "name=a on=a action=pull", "name=a on=A action=push")
	rules[1].From = []netip.Prefix{{}}
	_, err := Compile(rules)
	want := `access rule 1 (line 10): unknown action "pul": one of pull, push, create, delete, list, fetch, admin, or "*"
access rule 2 (line 20): from holds what is not a network: write it as 10.0.0.0/8 or 2001:db8::/32
access rule 3 (line 30): pattern "A" of repositories: it can match nothing: names of repositories are in lower case`
	if err == nil || err.Error() != want {
		t.Errorf("several errors:\n%v\nwant\n%s", err, want)
	}
}

func TestLint(t *testing.T) {
	for _, test := range []struct {
		rules []string
		want  []string // part of each warning
	}{
		{[]string{"name=anonymous registry action=pull", "name=user1 registry action=pull,push", "name=admin registry action=*"}, nil},
		{[]string{"name=anonymous registry action=push"}, []string{"lets everybody push, create, without"}},
		{[]string{"name=anonymous group=dev registry action=push"}, nil},
		{[]string{"name=anonymous,root registry action=*"}, []string{"without", "nobody an admin"}},
		{[]string{"name=* registry action=*"}, []string{"everybody who is logged in an admin"}},
		{[]string{"name=sso/bob on={user}/**,x/{user} action=pull"}, []string{"can match nothing"}},
		{[]string{"name=sso/bob,al on={user}/** action=pull", "name=sso/bob on={user}/**,x action=pull", "group=g on={user} action=pull"}, nil},
		{[]string{"name=al on=team/app action=pull", "name=* on=team/** deny action=*"}, []string{"rule 1 (line 10): allows nothing, because rule 2 (line 20)"}},
		{[]string{"name=al on=team/app action=pull,push", "name=al,bob on=team/app deny action=pull"}, nil},
		{[]string{"name=al,bob on=team/app action=pull", "name=al on=team/app deny action=pull"}, nil},
		{[]string{"group=dev on=team/app action=pull", "group=dev,ops on=** deny action=pull"}, []string{"allows nothing"}},
		{[]string{"group=dev on=team/app action=pull", "name=al group=dev on=** deny action=pull"}, nil},
		{[]string{"name=al on=team/app action=pull", "name=* on=team/** tags=x deny action=*", "name=* on=team/** from=10.0.0.0/8 deny action=*"}, nil},
		{[]string{"name=al on=team action=pull", "name=* on=team/**,x deny action=*"}, nil},
		{[]string{"name=root registry action=*", "name=* registry deny action=*"}, nil},
		{[]string{"name=anonymous on=** action=pull", "name=bob on=team/** deny action=pull"}, []string{"can log out and be allowed by rule 1"}},
		{[]string{"name=anonymous on=** action=pull", "name=* on=team/** deny action=pull"}, nil},
		{[]string{"name=anonymous on=team/x action=pull", "name=* on=team/** deny action=pull", "name=bob on=team/x deny action=pull"}, []string{"rule 1 (line 10): allows nothing"}},
		{[]string{"name=anonymous on=** action=pull", "name=bob on=team/** deny action=push"}, nil},
		{[]string{"name=robot:ci on=team/** action=push"}, []string{"no rule gives it more"}},
		{[]string{"name=robot:ci,bob on=team/** action=push", "name=robot:ci on=team/x deny action=push"}, nil},
	} {
		got := policy(t, test.rules...).Lint()
		ok := len(got) == len(test.want)
		for i := range min(len(got), len(test.want)) {
			ok = ok && strings.Contains(got[i], test.want[i]) && strings.HasPrefix(got[i], "access rule ")
		}
		if !ok {
			t.Errorf("%q: warnings %q, want %q", test.rules, got, test.want)
		}
	}
}
