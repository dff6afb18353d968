package access

import (
	"strings"
	"testing"

	"berth/oci"
	"berth/registry"
)

func TestTagMatcher(t *testing.T) {
	for _, tt := range []struct {
		pattern, tag string
		want         bool
	}{
		{"v*", "v1", true}, {"v*", "v", true}, {"v*", "1v", false}, {"*", "x", true}, {"*-rc*", "v1-rc2", true}, {"latest", "Latest", false},
	} {
		match, err := TagMatcher(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := match(oci.Tag(tt.tag)); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.pattern, tt.tag, got)
		}
	}
	for _, pattern := range []string{"", "v/1", "{user}", "-rc*", ".*", strings.Repeat("a", 129)} {
		if _, err := TagMatcher(pattern); err == nil {
			t.Errorf("%q is taken for a pattern of tags", pattern)
		}
	}
}

func TestTagCovers(t *testing.T) {
	for _, tt := range []struct {
		pattern, other string
		want           bool
	}{
		{"*", "v*", true}, {"v*", "v1.*", true}, {"v*", "v*", true}, {"v*", "*", false}, {"v1", "v*", false}, {"*1", "v*1", true},
	} {
		if got := TagCovers(tt.pattern, tt.other); got != tt.want {
			t.Errorf("%s covers %s: %v", tt.pattern, tt.other, got)
		}
	}
}

func TestFolders(t *testing.T) {
	all := func(folder string) string { return folder + "/ to " + folder + "0" }
	for _, tt := range []struct{ pattern, name, want string }{
		{"**", "a/b", " to "},
		{"team/**", "team/a", all("team")},
		{"team/**", "team/a/b", all("team")},
		{"team/**", "team", ""},
		{"team/**", "team-x/a", ""},
		{"team/**", "teams/a", ""},
		{"team", "team", "team to team\x00"},
		{"team", "team/a", ""},
		{"*/**", "a/b/c", all("a")},
		{"*/**", "a", ""},
		{"users/*/**", "users/bob/app", all("users/bob")},
		{"users/*/**", "users/bob", ""},
		{"users/*", "users/bob", "users/bob to users/bob\x00"},
		{"users/*", "users/bob/app", ""},
		{"*", "a", "a to a\x00"},
	} {
		of, err := Folders(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		span, ok := of(oci.Name(tt.name))
		if got := span.From + " to " + span.To; ok != (tt.want != "") || ok && got != tt.want {
			t.Errorf("%s of %s: %q, %v, want %q", tt.name, tt.pattern, got, ok, tt.want)
		}
		if !ok && span != (registry.Span{}) {
			t.Errorf("%s of %s: %v", tt.name, tt.pattern, span)
		}
	}
	for _, pattern := range []string{"", "Team/**", "{user}/**", "**/a", "a/**/b", "a/b*", "a//b", "/**", "a/"} {
		if _, err := Folders(pattern); err == nil {
			t.Errorf("%q is taken for a folder", pattern)
		}
	}
}
