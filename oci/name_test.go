package oci

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The grammars as the distribution specification writes them.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

func TestNameFollowsTheGrammar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[aB0._/ -]{0,12}`).Draw(t, "name")
		_, err := ParseName(s)
		if got, want := err == nil, nameGrammar.MatchString(s); got != want {
			t.Fatalf("ParseName(%q) accepts: %v, grammar: %v", s, got, want)
		}
	})
}

func TestTagFollowsTheGrammar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[aB0_.\-<\n/]{0,6}`).Draw(t, "tag")
		_, err := ParseTag(s)
		if got, want := err == nil, tagGrammar.MatchString(s); got != want {
			t.Fatalf("ParseTag(%q) accepts: %v, grammar: %v", s, got, want)
		}
	})
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", MaxNameLength)
	for _, s := range []string{"a", "library/nginx", "a__b", "a---b", "a.b_c/d-e", "blobs/uploads", "v2", long} {
		if _, err := ParseName(s); err != nil {
			t.Errorf("ParseName(%q): %v", s, err)
		}
	}
	for _, s := range []string{"", "/", "a/", "/a", "a//b", "A", "a/B", "a..b", "a___b", "_catalog", "a_", "-a", "a/../b", "a%2fb", "a b", "ä", long + "a"} {
		if _, err := ParseName(s); !errors.Is(err, NameInvalid) {
			t.Errorf("ParseName(%q) = %v, want %v", s, err, NameInvalid)
		}
	}
}

func TestDigests(t *testing.T) {
	empty := "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := DigestOf(SHA256, nil); got != Digest(empty) {
		t.Errorf("DigestOf nothing = %s", got)
	}
	for _, s := range []string{empty, "sha512:" + strings.Repeat("0", 128)} {
		d, err := ParseDigest(s)
		if err != nil {
			t.Errorf("ParseDigest(%q): %v", s, err)
		}
		if string(d.Algorithm())+":"+d.Encoded() != s {
			t.Errorf("%q falls into %q and %q", s, d.Algorithm(), d.Encoded())
		}
	}
	for _, s := range []string{
		"", "sha256", "sha256:", "sha256:../../x", "sha256:%2e%2e%2f", strings.ToUpper(empty), empty + "0", empty[:len(empty)-1],
		"md5:d41d8cd98f00b204e9800998ecf8427e", "sha1:" + strings.Repeat("0", 40), "sha384:" + strings.Repeat("0", 96), "sha256:" + strings.Repeat("g", 64),
	} {
		if _, err := ParseDigest(s); !errors.Is(err, DigestInvalid) {
			t.Errorf("ParseDigest(%q) = %v, want %v", s, err, DigestInvalid)
		}
	}
}

func TestReferences(t *testing.T) {
	digest := string(DigestOf(SHA256, nil))
	if r, err := ParseReference(digest); err != nil || r.Tag != "" || r.String() != digest {
		t.Errorf("ParseReference of a digest = %+v, %v", r, err)
	}
	if r, err := ParseReference("v1.0"); err != nil || r.Digest != "" || r.String() != "v1.0" {
		t.Errorf("ParseReference of a tag = %+v, %v", r, err)
	}
	if _, err := ParseReference("sha256:short"); !errors.Is(err, DigestInvalid) {
		t.Errorf("a bad digest: %v", err)
	}
	if _, err := ParseReference(".x"); !errors.Is(err, TagInvalid) {
		t.Errorf("a bad tag: %v", err)
	}
}
