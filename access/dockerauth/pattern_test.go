package dockerauth

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/access"
	"berth/auth"
	"berth/oci"
)

func TestRepositories(t *testing.T) {
	for pattern, want := range map[string]string{
		"app":                        "app",
		"team/*":                     "team/*",
		"team/**":                    "team/*",
		"*":                          "*",
		"*/*":                        "*/*",
		"test-*":                     "test-*",
		"${account}/*":               "{user}/*",
		"home/${account}":            "home/{user}",
		"x-${account}/*":             "x-{user}/*",
		"/.*/":                       "**",
		"/.+/":                       "**",
		"/^.*$/":                     "**",
		"/^team/.+$/":                "team/**",
		`/^team\/.*$/`:               "team/**",
		"/^team.*$/":                 "team* team*/**",
		"/^team-.+$/":                "team-* team-*/**",
		"/^(team|dev)/.*$/":          "dev/** team/**",
		"/^(a|b)(x|y)$/":             "ax ay bx by",
		"/^ab?$/":                    "a ab",
		"/^[ab]$/":                   "a b",
		"/^team/[^/]+$/":             "team/*",
		"/^team/[^/]*/app$/":         "team/*/app",
		"/^team/x[^/]*$/":            "team/x*",
		"/^team/x-[^/]+$/":           "team/x-*",
		"/^.*/app$/":                 "**/app",
		"/^a/.+/b$/":                 "a/**/b",
		"/^${account}/.+$/":          "{user}/**",
		"/^(home/${account}|x)$/":    "home/{user} x",
		"/^team/(?:dev|ops)-.*$/":    "team/dev-* team/dev-*/** team/ops-* team/ops-*/**",
		"/^(team|team/.*|.*/team)$/": "**/team team team/**",
	} {
		got, err := repositories(pattern)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %s", pattern, got, err, want)
		}
	}
}

func TestRepositoriesRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		"/foo/":               "anchor",
		"/^foo/":              "anchor",
		"/foo$/":              "anchor",
		"/trainee|dev/":       "anchor",
		"/^a$|^b$/":           "anchor",
		"/^(?i)team$/":        "as they are",
		"/^team.+$/":          "leaves out one name",
		"/^a.*b$/":            "only at the end",
		"/^a[^/]+$/":          "[^/]*",
		"/^a-[^/]+-b$/":       "[^/]*",
		"/^[a-z]+$/":          "no equal",
		"/^a{2,3}$/":          "no equal",
		"/^a.b$/":             "no equal",
		"/^(/":                "no regular expression",
		`/^\w+$/`:             "no equal",
		"te?t":                "?",
		"te[s]t":              "?",
		`te\st`:               "?",
		"${account:1}/*":      "only ${account}",
		"${labels:project}/*": "only ${account}",
		"${service}/*":        "only ${account}",
		"{user}/*":            "braces",
		"Team/*":              "lower case",
		"team//x":             "empty component",
		"te\x02m":             "control",
	} {
		if got, err := repositories(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %s", pattern, got, err, want)
		}
	}
}

func TestAccounts(t *testing.T) {
	for pattern, want := range map[string]string{
		"bob": "bob", "": "", "*": "2", "?*": "1", "/.*/": "2", "/.+/": "1", "/^.+$/": "1", "/./": "1",
		"/^(bob|carol)$/": "bob carol", "/^bob$/": "bob", "ci-*": "ci-*", "/^ci-.*$/": "ci-*",
	} {
		names, far, err := accounts(pattern)
		got := strings.Join(names, " ")
		if far != listed {
			got = string(rune('0' + far))
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %s", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"/bob/", "/trainee|dev/", "b?b", "b[o]b", "${name}", "/^b.+$/", "/^(/", "/^.$/"} {
		if names, far, err := accounts(pattern); err == nil {
			t.Errorf("%s: %q, %v", pattern, names, far)
		}
	}
}

// names draws a name of a repository, from few letters, so that patterns meet it.
func drawName(t *rapid.T) string {
	part := rapid.SampledFrom([]string{"a", "b", "ab", "team", "teamx", "team-x", "dev", "x-bob", "bob", "app", "a.b", "a--b"})
	return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "name"), "/")
}

// drawPattern draws a pattern of docker_auth, of kinds that have an equal and
// that have none.
func drawPattern(t *rapid.T) string {
	piece := []string{"a", "b", "team", "dev", "-", "/", "*", "${account}", "app", "."}
	if !rapid.Bool().Draw(t, "regular") {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(piece), 1, 5).Draw(t, "glob"), "")
	}
	expression := []string{"a", "b", "team", "dev", "-", "/", ".*", ".+", "[^/]+", "[^/]*", "(a|b)", "(team|dev/app)", "x?", "${account}", "app"}
	body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(expression), 1, 5).Draw(t, "expression"), "")
	return rapid.SampledFrom([]string{"/^" + body + "$/", "/" + body + "/", "/^" + body + "/"}).Draw(t, "anchors")
}

// TestPatternsAgree: what a pattern becomes matches the same names.
func TestPatternsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := drawPattern(t)
		patterns, err := repositories(pattern)
		if err != nil {
			t.Skip(err)
		}
		who := rapid.SampledFrom([]string{"bob", "team", "a", "", "Bob", "a/b", "b.b", "-"}).Draw(t, "user")
		name := drawName(t)
		c := &caller{name: who}
		there := expressions{}.textMatches(&pattern, name, c)
		if strings.Contains(pattern, placeholder) && !oci.ValidComponent(who) {
			return // {user} stands for no other names, which the questions find out
		}
		if here := ruleMatches(t, patterns, who, name); here != there {
			t.Fatalf("%s as %q, %s: there %v, as %q here %v", pattern, who, name, there, patterns, here)
		}
	})
}

func ruleMatches(t *rapid.T, patterns []string, who, name string) bool {
	p, err := access.Compile([]access.Rule{{Names: []string{nobody}, Type: access.TypeRepository, Repositories: patterns, Actions: []string{"pull"}}})
	if err != nil {
		t.Fatal(err)
	}
	c := &access.Caller{Identity: auth.Identity{Subject: auth.Subject{Name: who}}}
	return p.Decide(access.Request{Caller: c, Action: access.Pull, Repository: oci.Name(name)}).Allow
}

// TestWitnesses: whatever of patterns match some name match a witness.
func TestWitnesses(t *testing.T) {
	for _, patterns := range [][]string{
		nil,
		{"a"},
		{"**"},
		{"a/*", "*/b", "a/b"},
		{"a*", "*b", "*a*"},
		{"a/**", "**/b", "a/**/b", "*/*"},
		{"a-*", "*-b", "a--b", "a.b", "a_*"},
		{"a*/**", "*", "a/a/*", "b/**"},
		{"A/*", "/*", "a//b", "a/"},
	} {
		told := make(map[string]string)
		names, err := witnesses(patterns)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			told[vector(patterns, name)] = name
		}
		if len(told) != len(names) {
			t.Errorf("%q: two witnesses for one: %q", patterns, names)
		}
		eachName("", 6, func(name string) {
			if v := vector(patterns, name); told[v] == "" {
				t.Errorf("%q: %s matches as no witness does: %s, of %q", patterns, name, v, names)
				told[v] = name
			}
		})
	}
	var many []string
	for _, c := range "abcdefghijklmnop" {
		many = append(many, "*"+string(c)+"*")
	}
	if names, err := witnesses(many); err == nil {
		t.Errorf("%d witnesses", len(names))
	}
}

// eachName calls do with every name of some letters up to a length.
func eachName(begin string, left int, do func(string)) {
	if left == 0 {
		return
	}
	for _, c := range "abx/-." {
		name := begin + string(c)
		if _, err := oci.ParseName(name); err == nil {
			do(name)
		}
		eachName(name, left-1, do)
	}
}

// vector says which patterns match, by path components, in the plainest way.
func vector(patterns []string, name string) string {
	var v []string
	for _, p := range patterns {
		v = append(v, map[bool]string{true: "1", false: "0"}[matchesParts(strings.Split(p, "/"), strings.Split(name, "/"))])
	}
	return strings.Join(v, "")
}

func matchesParts(pattern, name []string) bool {
	if len(pattern) == 0 || len(name) == 0 {
		return len(pattern) == len(name)
	}
	if pattern[0] == "**" {
		return slices.ContainsFunc(splits(name), func(rest []string) bool { return matchesParts(pattern[1:], rest) })
	}
	return expressions{}.textMatches(&pattern[0], name[0], new(caller)) && matchesParts(pattern[1:], name[1:])
}

// splits returns what may be left of a name behind a **.
func splits(name []string) [][]string {
	var rests [][]string
	for i := 1; i <= len(name); i++ {
		rests = append(rests, name[i:])
	}
	return rests
}

func TestAddresses(t *testing.T) {
	f, err := read("a.yml", []byte("acl: [{match: {ip: 10.0.0.0/8}, actions: []}, {match: {ip: '::1'}, actions: []}, {match: {ip: 10.1.0.0/16}, actions: []}]\nusers: {'': {}}"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range (&translation{f: f}).addresses() {
		got = append(got, a.String())
	}
	want := []string{"9.255.255.255", "10.0.0.0", "10.0.255.255", "10.1.0.0", "10.2.0.0", "11.0.0.0", "198.51.100.7", "::", "::1", "::2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
