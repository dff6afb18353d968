package access

import (
	"slices"
	"strings"
	"testing"

	"berth/auth"
	"berth/oci"
)

// FuzzPattern: a pattern matches what the same regular expression matches.
func FuzzPattern(f *testing.F) {
	f.Fuzz(func(t *testing.T, text, name, user string) {
		q := newQuestion(&Request{Caller: named(user)})
		p, err := compilePattern(text)
		if err != nil || strings.ContainsRune(name, '\n') || strings.Contains("/"+name+"/", "//") {
			return
		}
		if got, want := p.matches(name, q.user), slowMatch(text, name, q.user); got != want {
			t.Errorf("%q as %q matches %q: %v, want %v", text, q.user, name, got, want)
		}
	})
}

// FuzzRules: rules of any text are refused, or answer as the most obvious
// reading of them does; a rule alone never gives a right that it does not name.
func FuzzRules(f *testing.F) {
	f.Fuzz(func(t *testing.T, who, groups, kind, repositories, tags, actions string, deny bool, user, group, repository, tag string, action uint8) {
		allow := Rule{Names: []string{"*", anonymous}, Type: TypeRepository, Repositories: []string{"team/*"}, Actions: []string{"pull", "delete"}}
		given := Rule{
			Names: strings.Fields(who), Groups: strings.Fields(groups), Type: kind, Repositories: strings.Fields(repositories),
			Tags: strings.Fields(tags), Actions: strings.Fields(actions), Deny: deny,
		}
		rules := []Rule{allow, given}
		p, err := Compile(rules)
		if err != nil {
			if p != nil {
				t.Error("a policy beside an error")
			}
			return
		}
		caller := named(user, strings.Fields(group)...)
		if user != "" && auth.CheckName(user) != nil {
			caller = named("")
		}
		if caller.Anonymous() {
			caller.Groups = nil
		}
		r := Request{Caller: caller, Action: 1 << (action % uint8(len(names)))}
		if r.Repository, err = oci.ParseName(repository); err != nil {
			return
		}
		if parsed, err := oci.ParseTag(tag); err == nil {
			r.Tags = []oci.Tag{parsed}
		}
		got := p.Decide(r)
		if want := slowDecide(rules, r); got.Allow != want || got.NeedTags {
			t.Fatalf("%+v for %q of %q: %+v, want %v", given, r.Action, caller.Subject, got, want)
		}
		if !got.Allow {
			return
		}
		if r.Action == Admin && (caller.Anonymous() || deny || kind != TypeRegistry) {
			t.Errorf("%+v makes an admin of %q", given, caller.Subject)
		}
	})
}

// FuzzGrant: a token is for nothing that was not asked for, and for nothing that
// its holder may not do without it; what it is for it opens.
func FuzzGrant(f *testing.F) {
	p := policy(f,
		"name=anonymous on=docs,docs/** action=pull",
		"name=alice on=team/** action=pull,push",
		"name=* on={user}/** action=*",
		"name=* on=team/secret deny action=*",
		"group=dev on=team/app tags=dev-* action=push,delete",
		"name=root registry action=*",
	)
	f.Fuzz(func(t *testing.T, user, group, scope string) {
		caller := named(user, strings.Fields(group)...)
		if caller.Anonymous() {
			caller.Groups = nil
		}
		asked := auth.ParseScopes([]string{scope})
		granted := p.Grant(caller, asked)
		if len(granted) > len(asked) {
			t.Fatalf("%d scopes of %d", len(granted), len(asked))
		}
		bearer := *caller
		bearer.Bearer, bearer.Ceiling = true, granted
		for _, s := range granted {
			if s.Type == TypeRegistry {
				if s.Name != catalog {
					t.Errorf("granted %s", s)
				}
				continue
			}
			name, err := oci.ParseName(s.Name)
			if err != nil {
				t.Fatalf("granted %s: %v", s, err)
			}
			i := slices.IndexFunc(asked, func(a auth.Scope) bool { return a.Type == s.Type && a.Name == s.Name })
			for _, word := range s.Actions {
				action, err := ParseAction(word)
				if err != nil || action == Admin {
					t.Fatalf("granted %s: %v", s, err)
				}
				if i < 0 || scopeActions(asked[i].Actions)&action == 0 {
					t.Errorf("granted %s of %s, which was not asked for", word, s)
				}
				if !p.may(caller, action, name) || !p.may(&bearer, action, name) {
					t.Errorf("granted %s of %s, which %q may not, or not with it", word, s, user)
				}
			}
		}
		for _, name := range []oci.Name{"docs", "team/app", "team/secret", "alice/x"} {
			for action := Pull; action <= Admin; action <<= 1 {
				if p.may(&bearer, action, name) && !p.may(caller, action, name) {
					t.Errorf("the token of %q opens %s of %s, which its holder may not", user, action, name)
				}
			}
		}
	})
}
