package access

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPattern(t *testing.T) {
	for _, test := range []struct {
		pattern, user string
		yes, no       []string
	}{
		{"team/app", "", []string{"team/app"}, []string{"team", "team/app/x", "team/ap", "team/appx", "xteam/app", "TEAM/app"}},
		{"team-a/*", "", []string{"team-a/app", "team-a/x"}, []string{"team-ab/x", "team-a", "TEAM-A/x", "team-a/x/y", "x/team-a/x", "team/a/x"}},
		{"team/**", "", []string{"team/app", "team/app/base"}, []string{"team", "teams/app", "x/team/app"}},
		{"**", "", []string{"a", "a/b", "a/b/c"}, nil},
		{"*", "", []string{"a", "a-b"}, []string{"a/b"}},
		{"**/app", "", []string{"a/app", "a/b/app", "app/app", "app/x/app"}, []string{"app", "a/apps", "a/app/b"}},
		{"a/**/b", "", []string{"a/x/b", "a/b/b", "a/x/y/b", "a/b/x/b"}, []string{"a/b", "a/x", "a/x/b/c"}},
		{"**/**", "", []string{"a/b", "a/b/c"}, []string{"a"}},
		{"**/a/*/b/**", "", []string{"x/a/y/b/z", "a/a/a/a/b/b/b"}, []string{"a/y/b/z", "x/a/b/z", "x/a/y/b"}},
		{"team-*/app", "", []string{"team-a/app", "team-a-b/app"}, []string{"team/app", "team-a/b/app"}},
		{"*a*b*", "", []string{"ab", "xaxbx", "aab", "abab"}, []string{"ba", "a/b", "a"}},
		{"ab*ba", "", []string{"abba", "ab.ba"}, []string{"aba", "ab", "abbax"}},
		{"a.b", "", []string{"a.b"}, []string{"axb"}},
		{"{user}/**", "alice", []string{"alice/x", "alice/x/y"}, []string{"alice", "bob/x", "alicex/x"}},
		{"{user}/**", "", nil, []string{"x/y", "user/x", "/x"}},
		{"home/{user}-*/{user}", "bob", []string{"home/bob-x/bob"}, []string{"home/bob-x/alice", "home/bob/bob"}},
		{"*{user}", "a.a", []string{"a.a", "xa.a", "a.a.a"}, []string{"axa", "a.ab"}},
		{"*{user}*{user}", "aa", []string{"aaaa", "aaxaa"}, []string{"aa", "aaa"}},
	} {
		p, err := compilePattern(test.pattern)
		if err != nil {
			t.Errorf("%s: %v", test.pattern, err)
			continue
		}
		for _, name := range test.yes {
			if !p.matches(name, test.user) {
				t.Errorf("%s as %q does not match %s", test.pattern, test.user, name)
			}
		}
		for _, name := range test.no {
			if p.matches(name, test.user) {
				t.Errorf("%s as %q matches %s", test.pattern, test.user, name)
			}
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for pattern, want := range map[string]string{
		"":                       "empty",
		"/team":                  "empty component",
		"team/":                  "empty component",
		"team//app":              "empty component",
		"team**":                 "whole components",
		"a/***":                  "whole components",
		"Team/*":                 "lower case",
		"team/.*?":               `'?'`,
		"^team":                  `'^'`,
		"{group}/*":              `'{'`,
		"host:5000/app":          `':'`,
		"a..b/*":                 "a..b",
		"-team/*":                "-team",
		"té/*":                   "'é'",
		"\x01/x":                 "'\\x01'",
		strings.Repeat("a", 513): "longer",
	} {
		if _, err := compilePattern(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one about %s", pattern, err, want)
		}
	}
}

// slowMatch is a pattern as a regular expression.
func slowMatch(pattern, name, user string) bool {
	if strings.Contains(pattern, userWord) && user == "" {
		return false
	}
	expression := regexp.QuoteMeta(strings.ReplaceAll(pattern, userWord, user))
	expression = strings.ReplaceAll(expression, `\*\*`, `[^/]+(/[^/]+)*`)
	expression = strings.ReplaceAll(expression, `\*`, `[^/]*`)
	return regexp.MustCompile(`^` + expression + `$`).MatchString(name)
}

func drawPattern(t *rapid.T) string {
	component := rapid.OneOf(
		rapid.Just("**"), rapid.Just("*"), rapid.Just("{user}"),
		rapid.StringMatching(`[ab]{1,2}`), rapid.StringMatching(`a?\*b?(a\*a)?`), rapid.StringMatching(`(\{user\}|a)\*?(b|\{user\})`),
	)
	return strings.Join(rapid.SliceOfN(component, 1, 4).Draw(t, "pattern"), "/")
}

func drawName(t *rapid.T, label string) string {
	return rapid.StringMatching(`[ab]{1,3}(/[ab]{1,3}){0,4}`).Draw(t, label)
}

func TestPatternProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, name := drawPattern(t), drawName(t, "name")
		user := rapid.SampledFrom([]string{"", "a", "ab", "bb"}).Draw(t, "user")
		p, err := compilePattern(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, want := p.matches(name, user), slowMatch(text, name, user)
		if got != want {
			t.Fatalf("%s as %q matches %s: %v, want %v", text, user, name, got, want)
		}
		prefix, whole, ok := p.prefix(user)
		if got && (!ok || !strings.HasPrefix(name, prefix) || whole && name != prefix) {
			t.Fatalf("%s as %q matches %s, which is not under %q", text, user, name, prefix)
		}
		if got && p.root != "" && name != p.root && !strings.HasPrefix(name, p.root+"/") {
			t.Fatalf("%s matches %s, which is not under its root %q", text, name, p.root)
		}
	})
}

// TestPatternTime fails when a match takes more than polynomial time.
func TestPatternTime(t *testing.T) {
	name := strings.Repeat("a/", 127) + "a"
	for _, text := range []string{
		strings.Repeat("**/a/", 60) + "b",
		strings.Repeat("**/*/", 50) + "b",
		strings.Repeat("*a", 200) + "b",
	} {
		p, err := compilePattern(text)
		if err != nil {
			t.Fatal(err)
		}
		if p.matches(name, "") || p.matches(strings.Repeat("a", 255), "") {
			t.Errorf("%.20s… matches", text)
		}
	}
}
