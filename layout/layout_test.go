package layout

import (
	"errors"
	"strings"
	"testing"

	"berth/blob"
	"berth/oci"
)

var (
	short = oci.DigestOf(oci.SHA256, []byte("a"))
	long  = oci.DigestOf(oci.SHA512, []byte("a"))
)

// TestParse: what is made here is read again, and the rest is stray.
func TestParse(t *testing.T) {
	const repo oci.Name = "a/b_c/d__e"
	for path, want := range map[string]File{
		BlobPath(short):                {Kind: Blob, Digest: short},
		BlobPath(long):                 {Kind: Blob, Digest: long},
		LayerPath(repo, long):          {Kind: Layer, Repository: string(repo), Digest: long},
		RevisionPath(repo, short):      {Kind: Revision, Repository: string(repo), Digest: short},
		TagPath("a", "V1"):             {Kind: Tag, Repository: "a", Tag: "V1"},
		TagPath("a", "_x"):             {Kind: Tag, Repository: "a", Tag: "_x"},
		TagIndexPath("a", "v1", short): {Kind: TagIndex, Repository: "a", Tag: "v1", Digest: short},

		Repositories + "Up/case/_uploads/1-2/data":                                         {Kind: Upload, Repository: "Up/case", ID: "1-2"},
		Repositories + "a/_uploads/1-2/hashstates/sha256/0":                                {Kind: Upload, Repository: "a", ID: "1-2"},
		strings.TrimSuffix(RevisionPath("a", short), "link") + "signatures/" + link(short): {Kind: Signature, Repository: "a", Digest: short},

		strings.Replace(BlobPath(short), "/data", "/data.1.tmp", 1): {},
		strings.Replace(BlobPath(short), "sha256", "md5", 1):        {},
		Blobs + "sha256/00/" + short.Encoded() + "/data":            {},
		Blobs + "sha256/a/a/data":                                   {},
		LayerPath("a", short) + ".2.tmp":                            {Repository: "a"},
		Repositories + "a/_manifests/tags/link":                     {Repository: "a"},
		Repositories + "a/_uploads/link":                            {Repository: "a"},
		Repositories + "_catalog/x":                                 {},
		Repositories + "a/b":                                        {},
		"docker/registry/v1/x":                                      {},
		"scheduler-state.json":                                      {},
	} {
		if got := Parse(path); got != want {
			t.Errorf("Parse(%q) = %+v, want %+v", path, got, want)
		}
	}
}

// TestPathsAreKeys: the longest path of all is a key of a blob store.
func TestPathsAreKeys(t *testing.T) {
	repo := oci.Name(strings.Repeat("a", oci.MaxNameLength))
	tag := oci.Tag(strings.Repeat("A", oci.MaxTagLength))
	for _, path := range []string{BlobPath(long), TagIndexPath(repo, tag, long), RevisionPath(repo, long)} {
		if err := blob.CheckKey(path); err != nil {
			t.Error(err)
		}
	}
}

func TestParseLink(t *testing.T) {
	s, l := string(short), string(long)
	for text, want := range map[string]oci.Digest{s: short, l: long, s + "\n": short, s + s: short, l + s: short, s + l: long} {
		if got, err := ParseLink([]byte(text)); got != want || err != nil {
			t.Errorf("ParseLink(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]error{
		"": ErrEmptyLink, "\n": ErrEmptyLink, "x": ErrBadLink, s[:70]: ErrBadLink, s + "0": ErrBadLink, strings.ToUpper(s): ErrBadLink,
		strings.Repeat("\x00", len(s)): ErrBadLink, "md5:d41d8cd98f00b204e9800998ecf8427e": ErrBadLink,
	} {
		if got, err := ParseLink([]byte(text)); !errors.Is(err, want) {
			t.Errorf("ParseLink(%q) = %q, %v, want %v", text, got, err, want)
		}
	}
}

// FuzzParse: a path that says something is one that would be made for it, or
// that of an upload or a signature.
func FuzzParse(f *testing.F) {
	f.Add(BlobPath(short))
	f.Add(TagIndexPath("a/b", "v1", long))
	f.Add(Repositories + "a/_uploads/1/data")
	f.Fuzz(func(t *testing.T, path string) {
		p := Parse(path)
		repo, tag := oci.Name(p.Repository), oci.Tag(p.Tag)
		made := path
		switch p.Kind {
		case Blob:
			made = BlobPath(p.Digest)
		case Layer:
			made = LayerPath(repo, p.Digest)
		case Revision:
			made = RevisionPath(repo, p.Digest)
		case Tag:
			made = TagPath(repo, tag)
		case TagIndex:
			made = TagIndexPath(repo, tag, p.Digest)
		}
		if made != path {
			t.Errorf("Parse(%q) = %+v", path, p)
		}
	})
}
