package oidc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/auth"
	"berth/test/issuer"
)

// TestNames: what a provider calls a user, and what he is called here.
func TestNames(t *testing.T) {
	long := strings.Repeat("x", 255)
	for _, tt := range []struct {
		claim string
		value any
		more  map[string]any
		want  string // "" is refused
	}{
		{"preferred_username", "bob", nil, "sso/bob"},
		{"preferred_username", "Bob B.", nil, "sso/Bob B."},
		{"preferred_username", "bob@corp.test", nil, "sso/bob@corp.test"},
		{"preferred_username", "*", nil, "sso/*"},
		{"preferred_username", "", nil, ""},
		{"preferred_username", nil, nil, ""},
		{"preferred_username", 7, nil, ""},
		{"preferred_username", []string{"bob"}, nil, ""},
		{"preferred_username", "a/b", nil, ""},
		{"preferred_username", "robot:ci", nil, ""},
		{"preferred_username", " bob", nil, ""},
		{"preferred_username", "bob\n", nil, ""},
		{"preferred_username", "bo\u200bb", nil, ""},
		{"preferred_username", long, nil, ""},
		{"email", "bob@corp.test", map[string]any{"email_verified": true}, "sso/bob@corp.test"},
		{"email", "bob@corp.test", map[string]any{"email_verified": "true"}, "sso/bob@corp.test"},
		{"email", "bob@corp.test", map[string]any{"email_verified": false}, ""},
		{"email", "bob@corp.test", nil, ""},
		{"email", "bob@evil@corp.test", map[string]any{"email_verified": true}, ""},
	} {
		t.Run(fmt.Sprint(tt.claim, tt.value), func(t *testing.T) {
			f := newFixture(t, func(o *Options) { o.Username = tt.claim })
			claims := map[string]any{tt.claim: tt.value, "groups": []string{}}
			for k, v := range tt.more {
				claims[k] = v
			}
			f.issuer.Put(issuer.User{Subject: "9", Claims: claims})
			id, err := f.signIn()
			if id.Name != tt.want || (tt.want == "") != (told(err) != "") {
				t.Errorf("%+v, %v", id, err)
			}
		})
	}
}

// TestPlainNames: without a prefix no name may look like one of another backend.
func TestPlainNames(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Plain = true })
	for _, name := range []string{"anonymous", "*", "github/ci", "robot:ci"} {
		f.put("9", name)
		if id, err := f.signIn(); told(err) == "" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestGroups(t *testing.T) {
	many := make([]string, maxGroups+1)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for _, tt := range []struct {
		name   string
		claims map[string]any
		want   []string
		ok     bool
	}{
		{"none", map[string]any{}, nil, true},
		{"null", map[string]any{"groups": nil}, nil, true},
		{"an empty list", map[string]any{"groups": []string{}}, nil, true},
		{"a list", map[string]any{"groups": []string{"b", "a", "b"}}, []string{"sso/a", "sso/b"}, true},
		{"one word", map[string]any{"groups": "dev ops"}, []string{"sso/dev ops"}, true},
		{"a path", map[string]any{"groups": []string{"/team/dev"}}, []string{"sso//team/dev"}, true},
		{"many", map[string]any{"groups": many[1:]}, nil, true},
		{"too many", map[string]any{"groups": many}, nil, false},
		{"numbers", map[string]any{"groups": []int{1}}, nil, false},
		{"an object", map[string]any{"groups": map[string]any{"a": true}}, nil, false},
		{"too long", map[string]any{"groups": []string{strings.Repeat("x", 256)}}, nil, false},
		{"control", map[string]any{"groups": []string{"a\nb"}}, nil, false},
		{"everybody", map[string]any{"groups": []string{"*"}}, nil, false},
		{"nothing", map[string]any{"groups": []string{""}}, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.claims["preferred_username"] = "bob"
			f.issuer.Put(issuer.User{Subject: "9", Claims: tt.claims})
			id, err := f.signIn()
			if (err == nil) != tt.ok || !tt.ok && told(err) == "" {
				t.Fatalf("%+v, %v", id, err)
			}
			if tt.want != nil && !slices.Equal(id.Groups, tt.want) {
				t.Errorf("%v", id.Groups)
			}
		})
	}
}

// TestGroupsElsewhere: a provider that does not list all groups is not taken to
// list none.
func TestGroupsElsewhere(t *testing.T) {
	f := newFixture(t)
	f.issuer.Put(issuer.User{Subject: "9", Claims: map[string]any{
		"preferred_username": "bob", "_claim_names": map[string]string{"groups": "src1"},
		"_claim_sources": map[string]any{"src1": map[string]string{"endpoint": "https://elsewhere.test"}},
	}})
	if id, err := f.signIn(); !strings.Contains(told(err), "more groups than the provider lists") {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestUserPage: what the ID token does not say is on the page of the user.
func TestUserPage(t *testing.T) {
	f := newFixture(t)
	f.issuer.Misbehave(issuer.Faults{OnlyUserInfo: true})
	if id := f.mustSignIn(); id.Name != "sso/alice" || !slices.Equal(id.Groups, []string{"sso/dev"}) {
		t.Errorf("%+v", id)
	}
	f.issuer.Misbehave(issuer.Faults{OnlyUserInfo: true, UserInfo: func(claims map[string]any) { claims["sub"] = "2" }})
	if _, err := f.signIn(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("the page of another: %v", err)
	}
}
