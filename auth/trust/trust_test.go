package trust

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/auth/jwks"
)

func TestLogin(t *testing.T) {
	f := newFixture(t)
	id, err := f.login(t, nil)
	want := auth.Identity{Subject: auth.Subject{Provider: "github", Name: "github/ci:org/app", Credential: id.Credential}, Groups: []string{"ci"}}
	if diff := cmp.Diff(want, id); diff != "" || err != nil || id.Credential == "" {
		t.Fatalf("%v %s", err, diff)
	}
	resolved, err := f.Resolve(context.Background(), id.Subject)
	if diff := cmp.Diff(id, resolved); diff != "" || err != nil {
		t.Errorf("resolved: %v %s", err, diff)
	}
	for name, changes := range map[string]claims{
		"aud of several":     {"aud": []string{"https://other.test", here}},
		"no jti":             {"jti": nil},
		"no nbf":             {"nbf": nil},
		"iat a minute ahead": {"iat": f.now.Add(leeway).Unix()},
		"an hour old":        {"iat": f.now.Add(-DefaultMaxAge).Unix()},
		"fractions":          {"exp": float64(f.now.Unix()) + 60.5},
		"number for a text":  {"repository_id": 1234},
		"one of a list":      {"ref": []string{"refs/heads/dev", "refs/heads/main"}},
	} {
		if _, err := f.login(t, changes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefused: every condition counts, and the client is told no more than that
// of a token that its issuer signed.
func TestRefused(t *testing.T) {
	f := newFixture(t)
	const dead, notTaken = "the token is too old, or not valid yet", "no rule of trust takes this token"
	for name, test := range map[string]struct {
		changes      claims
		reason, told string
	}{
		"aud of another":           {claims{"aud": "https://other.test"}, "audience is https://other.test", notTaken},
		"aud that begins the same": {claims{"aud": here + ".evil.test"}, "audience", notTaken},
		"aud in another case":      {claims{"aud": strings.ToUpper(here)}, "audience", notTaken},
		"no aud":                   {claims{"aud": nil}, "audience is nothing", notTaken},
		"aud of a number":          {claims{"aud": 1}, "audience is nothing", notTaken},
		"aud empty":                {claims{"aud": []string{}}, "audience is nothing", notTaken},

		"run out":                     {claims{"exp": f.now.Unix()}, "expires is", dead},
		"no exp":                      {claims{"exp": nil}, "expires is nothing", dead},
		"exp soon":                    {claims{"exp": "soon"}, "expires is no time", dead},
		"exp -1":                      {claims{"exp": -1}, "expires is no time", dead},
		"exp far beyond":              {claims{"exp": 1e300}, "expires is no time", dead},
		"no iat":                      {claims{"iat": nil}, "issued is nothing", dead},
		"iat more than a minute away": {claims{"iat": f.now.Add(leeway + time.Second).Unix()}, "issued is", dead},
		"older than an hour":          {claims{"iat": f.now.Add(-DefaultMaxAge - time.Second).Unix()}, "issued is", dead},
		"iat true":                    {claims{"iat": true}, "issued is no time", dead},
		"nbf more than a minute away": {claims{"nbf": f.now.Add(leeway + time.Second).Unix()}, "not before is", dead},
		"nbf never":                   {claims{"nbf": "never"}, "not before is no time", dead},

		"another repository":             {claims{"repository_id": "12345"}, "claim repository_id is 12345", notTaken},
		"the right name, not the number": {claims{"repository_id": nil}, "claim repository_id is nothing", notTaken},
		"another branch":                 {claims{"ref": "refs/heads/main2"}, "claim ref is refs/heads/main2", notTaken},
		"a pull request":                 {claims{"ref": "refs/pull/1/merge"}, "claim ref", notTaken},
		"an object":                      {claims{"ref": claims{"refs/heads/main": true}}, "claim ref is nothing", notTaken},
		"in another case of the name":    {claims{"ref": nil, "REF": "refs/heads/main"}, "claim ref is nothing", notTaken},

		"no name":                  {claims{"repository": nil}, "user is the claim repository is not there", notTaken},
		"a name with a line break": {claims{"repository": "a\nb"}, "is not clean text", notTaken},
		"a name that runs back":    {claims{"repository": "a\u202eb"}, "is not clean text", notTaken},
		"a name of several":        {claims{"repository": []string{"a"}}, "is a list", notTaken},
		"an empty name":            {claims{"repository": ""}, "is not clean text", notTaken},
		"a name without end":       {claims{"repository": strings.Repeat("x", 300)}, "is not clean text", notTaken},
		"a name just too long":     {claims{"repository": strings.Repeat("x", 250)}, "longer than 255", notTaken},
		"too old, and another":     {claims{"ref": "x", "exp": 0}, "expires", notTaken},
	} {
		id, err := f.login(t, test.changes)
		wantRejected(t, name, err, test.reason)
		if err != nil && !strings.Contains(err.Error(), test.told) || id.Name != "" {
			t.Errorf("%s: the client is told %v, want %q", name, err, test.told)
		}
	}
	if _, err := f.login(t, claims{"iss": github + "/other"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("another issuer: %v", err)
	}
}

// TestRulesAreUnits: of two rules of one issuer the first wins that a token
// fulfils as a whole, and no token fulfils a half of each.
func TestRulesAreUnits(t *testing.T) {
	f := newFixture(t)
	other := newSigner(t, "k1")
	first, second := githubRule(jwks.Source{JSON: keys(t, f.signer)}), githubRule(jwks.Source{JSON: keys(t, other)})
	first.Name, first.Groups, first.Audience = "release", []string{"release"}, here+"/release"
	second.Match = map[string][]string{"repository_id": {"1234", "77"}}
	third := second
	third.Name = "late"
	f.Trust = newTrust(t, f, first, second, third)
	for _, test := range []struct {
		signer  signer
		changes claims
		want    string // "" is refused
	}{
		{f.signer, claims{"aud": here + "/release"}, "release/ci:org/app"},
		{other, nil, "github/ci:org/app"},
		{other, claims{"repository_id": "77", "ref": "any"}, "github/ci:org/app"},
		{f.signer, nil, ""}, // the second's audience with the first's key
		{other, claims{"aud": here + "/release"}, ""},
		{f.signer, claims{"aud": here + "/release", "ref": "any"}, ""},
	} {
		f.signer = test.signer
		id, err := f.login(t, test.changes)
		if id.Name != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%v: %q, %v, want %q", test.changes, id.Name, err, test.want)
		}
	}
}

// TestResolve: who logged in by a rule is known while the rule is as it was, and
// nobody else has the names of its users.
func TestResolve(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	id, err := f.login(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	subject := func(change func(*auth.Subject)) auth.Subject {
		s := id.Subject
		change(&s)
		return s
	}
	for name, s := range map[string]auth.Subject{
		"another rule's":     subject(func(s *auth.Subject) { s.Provider = "gitlab" }),
		"another credential": subject(func(s *auth.Subject) { s.Credential = "x" }),
		"another name":       subject(func(s *auth.Subject) { s.Name = "github/org/app" }),
		"nobody":             {},
		"a user":             {Name: "alice"},
	} {
		if got, err := f.Resolve(ctx, s); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if got, err := f.Resolve(ctx, auth.Subject{Name: "github/ci:org/other"}); err != nil || got.Provider != "github" || got.Credential != "" || len(got.Groups) != 1 {
		t.Errorf("a name: %+v, %v", got, err)
	}
	if _, err := f.Authenticate(ctx, auth.Credentials{User: "alice", Password: "secret"}); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("a user with a password: %v", err)
	}
	_, err = f.Authenticate(ctx, auth.Credentials{User: "github/ci:org/app", Password: "secret"})
	wantRejected(t, "a name with a password", err, "without a token")

	rule := f.state.Load().rules[0].Rule
	if err := f.SetRules([]Rule{rule}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Resolve(ctx, id.Subject); err != nil {
		t.Errorf("after a change to the same: %v", err)
	}
	for name, change := range map[string]func(*Rule){
		"audience": func(r *Rule) { r.Audience += "/" },
		"groups":   func(r *Rule) { r.Groups = []string{"ci", "more"} },
		"match":    func(r *Rule) { r.Match = map[string][]string{"repository_id": {"1234"}} },
		"maxage":   func(r *Rule) { r.MaxAge = time.Minute },
		"keys":     func(r *Rule) { r.Keys.JSON = keys(t, newSigner(t, "k1")) },
	} {
		changed := rule
		change(&changed)
		if err := f.SetRules([]Rule{changed}); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Resolve(ctx, id.Subject); !errors.Is(err, auth.ErrNoMatch) {
			t.Errorf("after a change of %s: %+v, %v", name, got, err)
		}
	}
	if err := f.SetRules(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Resolve(ctx, subject(func(s *auth.Subject) { s.Credential = "" })); !errors.Is(err, auth.ErrNoMatch) {
		t.Errorf("without the rule: %v", err)
	}
	if f.Recognizes(from("", f.sign(t, f.now, nil))) {
		t.Error("without rules a token is recognized")
	}
}

func TestExplain(t *testing.T) {
	f := newFixture(t)
	second := f.state.Load().rules[0].Rule
	second.Name, second.Issuer = "gitlab", "https://gitlab.com"
	second.Match = map[string][]string{"project_id": {"7"}}
	f.Trust = newTrust(t, f, f.state.Load().rules[0].Rule, second)
	token := f.sign(t, f.now, claims{"ref": "refs/heads/dev", "jti": "secret-id"})
	e, err := f.Explain(context.Background(), "  "+token+"\n")
	if err != nil || e.User != "" || len(e.Rules) != 2 {
		t.Fatalf("%+v, %v", e, err)
	}
	text := e.String()
	for _, want := range []string{
		"trust github does not take the token", "no  claim ref: wanted refs/heads/main, found refs/heads/dev",
		"ok  claim repository_id: wanted 1234, found 1234", "ok  signature: wanted of a key of " + github + ", found ES256 by key k1",
		"ok  audience: wanted " + here, "ok  expires: wanted later than 2027-01-15T08:00:00Z, found 2027-01-15T08:10:00Z",
		"ok  user: wanted github/ci:{repository}, found github/ci:org/app",
		"no  signature: wanted of a key of https://gitlab.com, found not looked at", "no rule of trust takes the token",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	for _, part := range strings.Split(token.Reveal(), ".") {
		if strings.Contains(text, part) {
			t.Errorf("a part of the token is in\n%s", text)
		}
	}
	good := f.sign(t, f.now, nil)
	for range 2 { // it is not used
		if e, err = f.Explain(context.Background(), good); err != nil || e.User != "github/ci:org/app" || !e.Rules[0].OK {
			t.Errorf("%+v, %v", e, err)
		}
	}
	if _, err := f.Authenticate(context.Background(), from("192.0.2.9", good)); err != nil {
		t.Errorf("after it was explained: %v", err)
	}
	other := newSigner(t, "k1").sign(t, f.now, nil)
	if e, err = f.Explain(context.Background(), other); err != nil || e.User != "" || !strings.Contains(e.String(), "found wrong: it says ES256 by key k1") {
		t.Errorf("%s, %v", e, err)
	}
	if _, err = f.Explain(context.Background(), "secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("words: %v", err)
	}
}
