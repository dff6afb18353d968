// Package layout is how CNCF Distribution keeps a registry as files: the paths,
// and what stands in the small files that it calls links.
//
// A blob stands once, under its digest. That a repository holds it is a link,
// which is a file whose text is the digest; manifests are blobs with a link of
// another kind, and a tag is a link to one of them. The layout is that of
// versions 2 and 3, below the root directory of every driver:
//
//	docker/registry/v2/blobs/sha256/ab/abcd…/data
//	docker/registry/v2/repositories/NAME/_layers/sha256/abcd…/link
//	docker/registry/v2/repositories/NAME/_manifests/revisions/sha256/abcd…/link
//	docker/registry/v2/repositories/NAME/_manifests/tags/TAG/current/link
//	docker/registry/v2/repositories/NAME/_manifests/tags/TAG/index/sha256/abcd…/link
//	docker/registry/v2/repositories/NAME/_uploads/ID/…
package layout

import (
	"bytes"
	"errors"
	"strings"

	"berth/oci"
)

// The folders. Each ends with a slash.
const (
	Blobs        = "docker/registry/v2/blobs/"
	Repositories = "docker/registry/v2/repositories/"
	// ForeignDatabase is a file of GitLab's registry: it keeps the names in a
	// database of its own, and the links here are old or none.
	ForeignDatabase = "docker/registry/lockfiles/database-in-use"
)

// The folders of a repository, below its name.
const (
	layers    = "_layers"
	manifests = "_manifests"
	uploads   = "_uploads"
	revisions = "revisions"
	tags      = "tags"
)

// A Kind says what a file is.
type Kind int

// The kinds of files.
const (
	Stray     Kind = iota // none of the others: the layout has no such file
	Blob                  // the bytes of Digest
	Layer                 // a link: the repository holds the blob Digest
	Revision              // a link: the repository holds the manifest Digest
	Tag                   // a link to what Tag names
	TagIndex              // a link to what Tag names or has named
	Upload                // a part of the upload ID
	Signature             // of a manifest of schema 1, Digest
)

// A File is what a path says.
type File struct {
	Kind Kind
	// Repository is the name as it stands in the path, which need not be one
	// that oci.ParseName takes. It is "" for a Blob, and for what lies outside
	// of every repository.
	Repository string
	Digest     oci.Digest
	Tag        string // as it stands in the path
	ID         string
}

// Parse says what the file at path is.
func Parse(path string) File {
	if rest, ok := strings.CutPrefix(path, Blobs); ok {
		return parseBlob(strings.Split(rest, "/"))
	}
	rest, ok := strings.CutPrefix(path, Repositories)
	if !ok {
		return File{}
	}
	// No component of a name begins with the sign that these folders begin with.
	name, below, ok := strings.Cut("/"+rest, "/_")
	if !ok || name == "" {
		return File{}
	}
	f := parseBelow(strings.Split("_"+below, "/"))
	f.Repository = name[1:]
	return f
}

func parseBlob(parts []string) File {
	if len(parts) != 4 || parts[3] != "data" || len(parts[2]) < 2 || parts[1] != parts[2][:2] {
		return File{}
	}
	return withDigest(Blob, parts[0], parts[2])
}

func withDigest(kind Kind, algorithm, encoded string) File {
	d, err := oci.ParseDigest(algorithm + ":" + encoded)
	if err != nil {
		return File{}
	}
	return File{Kind: kind, Digest: d}
}

// parseBelow says what a file of a repository is.
func parseBelow(parts []string) File {
	n := len(parts)
	last := parts[n-1]
	switch {
	case parts[0] == uploads && n >= 3:
		return File{Kind: Upload, ID: parts[1]}
	case last != "link":
		return File{}
	case parts[0] == layers && n == 4:
		return withDigest(Layer, parts[1], parts[2])
	case parts[0] != manifests || n < 5:
		return File{}
	case parts[1] == revisions && n == 5:
		return withDigest(Revision, parts[2], parts[3])
	case parts[1] == revisions && n == 8 && parts[4] == "signatures":
		return withDigest(Signature, parts[2], parts[3])
	case parts[1] == tags && n == 5 && parts[3] == "current":
		return File{Kind: Tag, Tag: parts[2]}
	case parts[1] == tags && n == 7 && parts[3] == "index":
		f := withDigest(TagIndex, parts[4], parts[5])
		f.Tag = parts[2]
		return f
	}
	return File{}
}

// BlobPath is where the bytes of d are.
func BlobPath(d oci.Digest) string {
	return Blobs + string(d.Algorithm()) + "/" + d.Encoded()[:2] + "/" + d.Encoded() + "/data"
}

// LayerPath is the link of a blob of the repository.
func LayerPath(repo oci.Name, d oci.Digest) string {
	return LayersFolder(repo) + link(d)
}

// RevisionPath is the link of a manifest of the repository.
func RevisionPath(repo oci.Name, d oci.Digest) string {
	return RevisionsFolder(repo) + link(d)
}

// TagPath is the link to what the tag names.
func TagPath(repo oci.Name, t oci.Tag) string {
	return TagsFolder(repo) + string(t) + "/current/link"
}

// TagIndexPath is the link to what the tag names or has named.
func TagIndexPath(repo oci.Name, t oci.Tag, d oci.Digest) string {
	return TagsFolder(repo) + string(t) + "/index/" + link(d)
}

func link(d oci.Digest) string { return string(d.Algorithm()) + "/" + d.Encoded() + "/link" }

// LayersFolder is the folder of the links of the repository's blobs.
func LayersFolder(repo oci.Name) string { return Repositories + string(repo) + "/" + layers + "/" }

// RevisionsFolder is the folder of the links of the repository's manifests.
func RevisionsFolder(repo oci.Name) string {
	return Repositories + string(repo) + "/" + manifests + "/" + revisions + "/"
}

// TagsFolder is the folder of the repository's tags.
func TagsFolder(repo oci.Name) string {
	return Repositories + string(repo) + "/" + manifests + "/" + tags + "/"
}

// MaxLink is more than a link has, in bytes, even where it was written several
// times.
const MaxLink = 4 << 10

// Errors of ParseLink.
var (
	ErrEmptyLink = errors.New("the link is empty")
	ErrBadLink   = errors.New("the link holds no digest")
)

// ParseLink returns the digest that is the text of a link. On Azure some links
// were appended to instead of replaced: the last digest counts.
// Errors: ErrEmptyLink, ErrBadLink.
func ParseLink(text []byte) (oci.Digest, error) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "", ErrEmptyLink
	}
	var last oci.Digest
	for rest := string(text); rest != ""; {
		d, err := firstDigest(rest)
		if err != nil {
			return "", ErrBadLink
		}
		last, rest = d, rest[len(d):]
	}
	return last, nil
}

// firstDigest returns the digest that s begins with.
func firstDigest(s string) (oci.Digest, error) {
	for _, a := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
		n := len(a) + 1 + 2*a.New().Size()
		if len(s) >= n && strings.HasPrefix(s, string(a)+":") {
			return oci.ParseDigest(s[:n])
		}
	}
	return "", ErrBadLink
}
