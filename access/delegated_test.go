package access

import (
	"testing"

	"berth/auth"
)

// TestDelegated: without rules an outside token is as good as it says, and
// everybody else is as if there were none; with rules it is a ceiling.
func TestDelegated(t *testing.T) {
	bearer := func(name, scopes string, outside bool) *Caller {
		c := named(name)
		c.Bearer, c.Outside, c.Ceiling = true, outside, auth.ParseScopes([]string{scopes})
		return c
	}
	outside := func(name, scopes string) *Caller { return bearer(name, scopes, true) }
	expired := outside("token/bob", "repository:a:pull,push")
	expired.Expired = true
	denying := policy(t, "name=anonymous on=** action=pull", "name=* on=secret deny action=*")
	delegated := Delegated()
	for _, test := range []struct {
		name   string
		policy *Policy
		caller *Caller
		ask    string
		want   bool
	}{
		{"what the token is for", delegated, outside("token/bob", "repository:a:pull"), "pull a:v1", true},
		{"nobody, with a token", delegated, outside("", "repository:a:pull,push"), "push a:v1", true},
		{"all of a repository", delegated, outside("token/bob", "repository:a:*"), "delete a:v1", true},
		{"by digest", delegated, outside("token/bob", "repository:a:pull"), "pull a@?", true},
		{"another action", delegated, outside("token/bob", "repository:a:pull"), "push a:v1", false},
		{"another repository", delegated, outside("token/bob", "repository:a:*"), "pull b:v1", false},
		{"the catalog", delegated, outside("token/bob", "registry:catalog:*"), "list", true},
		{"not the catalog", delegated, outside("token/bob", "repository:a:*"), "list", false},
		{"managing is in no token", delegated, outside("token/bob", "registry:catalog:* repository:a:*,admin"), "admin", false},
		{"run out", delegated, expired, "pull a:v1", false},
		{"run out, for an upload", delegated, expired, "push a", true},
		{"a token of this server", delegated, bearer("", "repository:a:pull", false), "pull a:v1", false},
		{"a user of this server", delegated, named("alice"), "push a:v1", true},
		{"nobody", delegated, named(""), "pull a:v1", false},
		{"rules allow", denying, outside("token/bob", "repository:a:*"), "pull a:v1", true},
		{"rules allow less", denying, outside("token/bob", "repository:a:*"), "push a:v1", false},
		{"rules deny", denying, outside("token/bob", "repository:secret:*"), "pull secret:v1", false},
		{"rules allow more", denying, outside("", "repository:a:pull"), "pull b:v1", false},
	} {
		r := parseRequest("x " + test.ask)
		r.Caller = test.caller
		d := test.policy.Decide(r)
		if d.Allow != test.want || d.NeedTags {
			t.Errorf("%s: %+v, want %v", test.name, d, test.want)
		}
		if e := test.policy.Explain(r); e.Allowed != test.want || e.Reason == "" {
			t.Errorf("%s: explained as %+v", test.name, e)
		}
	}
	if v := delegated.Visible(outside("", "registry:catalog:*")); v != nil {
		t.Errorf("the catalog holds %+v", v)
	}
	if v := delegated.Visible(named("")); v == nil || len(v.Spans) != 0 {
		t.Errorf("nobody sees %+v", v)
	}
	readable := delegated.Readable(outside("", "repository:a:pull repository:b:push"))
	if readable == nil || !readable.Match("a") || readable.Match("b") || readable.Match("c") {
		t.Errorf("readable: %+v", readable)
	}
}
