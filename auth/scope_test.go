package auth

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScopes(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   []string
	}{
		{"one", []string{"repository:team/app:push,pull"}, []string{"repository:team/app:pull,push"}},
		{"spaces", []string{"repository:a:pull repository:b:pull"}, []string{"repository:a:pull", "repository:b:pull"}},
		{"merged", []string{"repository:a:pull", "repository:a:pull,push"}, []string{"repository:a:pull,push"}},
		{"port", []string{"repository:host:5000/a:pull"}, []string{"repository:host:5000/a:pull"}},
		{"class", []string{"repository(plugin):a:pull"}, []string{"repository:a:pull"}},
		{"catalog", []string{"registry:catalog:*"}, []string{"registry:catalog:*"}},
		{"no action", []string{"repository:a:"}, []string{"repository:a:"}},
		{"empty actions", []string{"repository:a:,pull,,"}, []string{"repository:a:pull"}},
		{"none", []string{"", " ", "repository", "repository:a", "repository::pull", ":a:pull", "user:a:pull", "repository(x:a:pull"}, nil},
		{"long name", []string{"repository:" + strings.Repeat("a", 257) + ":pull"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, s := range ParseScopes(test.values) {
				got = append(got, s.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestScopeString(t *testing.T) {
	for want, s := range map[string]Scope{
		"":                         {},
		"repository:a/b:pull,push": {Type: "repository", Name: "a/b", Actions: []string{"pull", "push"}},
	} {
		if got := s.String(); got != want {
			t.Errorf("%+v is %q, want %q", s, got, want)
		}
	}
}

func TestCountScopes(t *testing.T) {
	if n := CountScopes([]string{"a b", "", "  c "}); n != 3 {
		t.Errorf("counted %d", n)
	}
}
