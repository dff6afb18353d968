package oci

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzName: what is accepted is what the grammar of the specification accepts,
// as it came, and could not lead out of a folder.
func FuzzName(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		name, err := ParseName(s)
		if got, want := err == nil, nameGrammar.MatchString(s) && len(s) <= MaxNameLength; got != want {
			t.Fatalf("ParseName(%q) accepts: %v, grammar: %v", s, got, want)
		}
		if err != nil {
			if !errors.Is(err, NameInvalid) || name != "" {
				t.Errorf("ParseName(%q) = %q, %v", s, name, err)
			}
			return
		}
		if string(name) != s || !filepath.IsLocal(s) || strings.Contains(s, "..") {
			t.Errorf("ParseName(%q) = %q", s, name)
		}
		for component := range strings.SplitSeq(s, "/") {
			if !ValidComponent(component) {
				t.Errorf("%q is accepted with the component %q", s, component)
			}
		}
	})
}

// FuzzDigest: what is accepted is one of two algorithms with all of its digits
// in one spelling, so that two digests are the same only if they are equal.
func FuzzDigest(f *testing.F) {
	length := map[Algorithm]int{SHA256: 64, SHA512: 128}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest(s)
		if err != nil {
			if !errors.Is(err, DigestInvalid) || d != "" {
				t.Errorf("ParseDigest(%q) = %q, %v", s, d, err)
			}
			return
		}
		if string(d) != s || string(d.Algorithm())+":"+d.Encoded() != s {
			t.Errorf("ParseDigest(%q) is %q and %q", s, d.Algorithm(), d.Encoded())
		}
		if n := length[d.Algorithm()]; n == 0 || len(d.Encoded()) != n || strings.Trim(d.Encoded(), "0123456789abcdef") != "" {
			t.Errorf("ParseDigest accepts %q", s)
		}
	})
}

// FuzzReference: what is accepted is a tag of the grammar or a digest, never
// both, and stays as it came.
func FuzzReference(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		tag, tagErr := ParseTag(s)
		digest, digestErr := ParseDigest(s)
		if (err == nil) != (tagErr == nil || digestErr == nil) || r != (Reference{tag, digest}) {
			t.Fatalf("ParseReference(%q) = %+v, %v; as a tag %v, as a digest %v", s, r, err, tagErr, digestErr)
		}
		if got, want := tagErr == nil, tagGrammar.MatchString(s); got != want {
			t.Fatalf("ParseTag(%q) accepts: %v, grammar: %v", s, got, want)
		}
		switch {
		case err != nil && !errors.Is(err, TagInvalid) && !errors.Is(err, DigestInvalid):
			t.Errorf("ParseReference(%q): %v", s, err)
		case err == nil && (r.String() != s || (r.Tag == "") == (r.Digest == "") || !filepath.IsLocal(s)):
			t.Errorf("%q became %+v", s, r)
		}
	})
}

// FuzzManifest: an accepted manifest is within its limits, names only valid
// digests, and a reader that is less strict sees the same content in it.
func FuzzManifest(f *testing.F) {
	f.Fuzz(func(t *testing.T, contentType string, data []byte) {
		m, err := ParseManifest(contentType, data)
		if err != nil {
			if !errors.Is(err, ManifestInvalid) {
				t.Errorf("not an error for a client: %v", err)
			}
			return
		}
		var loose struct {
			MediaType         string
			Config, Subject   *Descriptor
			Layers, Manifests []Descriptor
		}
		if err := json.Unmarshal(data, &loose); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		strict := loose
		strict.Config, strict.Subject, strict.Layers, strict.Manifests = m.Config, m.Subject, m.Layers, m.Manifests
		if diff := cmp.Diff(loose, strict); diff != "" {
			t.Fatalf("a looser reader sees other content in %q: %s", data, diff)
		}
		if !IsManifest(m.MediaType) || loose.MediaType != "" && loose.MediaType != m.MediaType {
			t.Errorf("media type %q of %q", m.MediaType, data)
		}
		if IsIndex(m.MediaType) && (m.Config != nil || m.Layers != nil) || !IsIndex(m.MediaType) && (m.Config == nil || m.Manifests != nil) {
			t.Errorf("%q is an image and an index", data)
		}
		checkDescriptors(t, m)
		again, err := ParseManifest(m.MediaType, data)
		if err != nil || !cmp.Equal(m, again) {
			t.Errorf("with its own media type it is %+v, %v", again, err)
		}
		if stored, err := ParseStored(data); loose.MediaType != "" && (err != nil || !cmp.Equal(m, stored)) {
			t.Errorf("as a stored one it is %+v, %v", stored, err)
		}
	})
}

func checkDescriptors(t *testing.T, m *Manifest) {
	t.Helper()
	all := append(append([]Descriptor{}, m.Layers...), m.Manifests...)
	if len(all) > MaxDescriptors {
		t.Errorf("%d descriptors", len(all))
	}
	for _, d := range []*Descriptor{m.Config, m.Subject} {
		if d != nil {
			all = append(all, *d)
		}
	}
	for _, d := range all {
		if _, err := ParseDigest(string(d.Digest)); err != nil || d.Size < 0 || d.MediaType == "" {
			t.Errorf("descriptor %+v: %v", d, err)
		}
	}
}
