package server

import (
	"net/http"
	"net/url"
	"strings"

	"berth/oci"
)

// A kind is one row of the table of routes.
type kind int

const (
	kindNone kind = iota
	kindRoot
	kindLive
	kindReady
	kindMetrics
	kindToken
	kindKeys
	kindPing
	kindSearch
	kindBase
	kindCatalog
	kindTags
	kindManifest
	kindBlob
	kindUploads
	kindUpload
	kindReferrers
	kindPage
)

// A target is what a path names. Which fields are set depends on the kind.
type target struct {
	kind      kind
	repo      oci.Name
	reference oci.Reference // of a manifest
	digest    oci.Digest    // of a blob, or of a subject
	upload    string
	page      string // the path itself, without the prefix
}

// content returns the digest that t names, of a manifest, a blob or a subject.
func (t *target) content() oci.Digest {
	if t.digest != "" {
		return t.digest
	}
	return t.reference.Digest
}

// errNoPath is the answer to a path that names nothing.
var errNoPath = &statusError{http.StatusNotFound, oci.Errorf(oci.Unsupported, "there is nothing at this path")}

// fixed holds the paths that have no parts.
var fixed = map[string]kind{
	"/livez": kindLive, "/readyz": kindReady, "/metrics": kindMetrics,
	"/auth/token": kindToken, "/auth/jwks": kindKeys,
	"/v1/_ping": kindPing, "/v1/search": kindSearch,
	"/v2": kindBase, "/v2/": kindBase, "/v2/_catalog": kindCatalog,
}

// parsePath parses an escaped path. It is taken as it came: nothing is cleaned,
// and only the last part may hold escapes, as the others never need them.
func parsePath(path, prefix string) (target, error) {
	if path == "/" {
		return target{kind: kindRoot}, nil
	}
	path, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return target{}, errNoPath
	}
	if k, ok := fixed[path]; ok {
		return target{kind: k}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return parsePagePath(path)
	}
	return parseRepository(rest)
}

// parsePagePath parses the path of a page, or of a login with one. None of them needs
// an escape.
func parsePagePath(path string) (target, error) {
	const most = 255
	ours := path == "/ui" || strings.HasPrefix(path, "/ui/") || path == "/auth/device" || path == "/auth/device/token"
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-", r)
	}
	if !ours || len(path) > most || strings.Contains(path, "//") || strings.Contains(path, "/.") || strings.TrimFunc(path, plain) != "" {
		return target{}, errNoPath
	}
	return target{kind: kindPage, page: path}, nil
}

// parseRepository parses a path under a repository from its end, so that names
// whose components are words of the API have one meaning.
func parseRepository(path string) (target, error) {
	if err := wholeDigest(path); err != nil {
		return target{}, err
	}
	path, escaped, ok := cutLast(path)
	head, word, named := cutLast(path)
	if !ok || !named {
		return target{}, errNoPath
	}
	last, err := url.PathUnescape(escaped)
	if err != nil {
		return target{}, errNoPath
	}
	var t target
	above, isUpload := strings.CutSuffix(head, "/blobs")
	switch {
	case word == "manifests":
		t.kind = kindManifest
		t.reference, err = oci.ParseReference(last)
	case word == "blobs" && last == "uploads":
		t.kind = kindUploads
	case word == "blobs":
		t.kind = kindBlob
		t.digest, err = oci.ParseDigest(last)
	case word == "tags" && last == "list":
		t.kind = kindTags
	case word == "referrers":
		t.kind = kindReferrers
		t.digest, err = oci.ParseDigest(last)
	case word == "uploads" && isUpload:
		head = above
		t.kind = kindUploads
		if last != "" {
			t.kind = kindUpload
			t.upload, err = parseUpload(last)
		}
	default:
		return target{}, errNoPath
	}
	if err != nil {
		return target{}, err
	}
	if t.repo, err = oci.ParseName(head); err != nil {
		return target{}, err
	}
	return t, nil
}

// wholeDigest refuses a digest with slashes in it, which parsed from the end
// would name nothing. No name holds a colon, so the first is a digest's.
func wholeDigest(path string) error {
	colon := strings.IndexByte(path, ':')
	if colon < 0 || !strings.Contains(path[colon:], "/") {
		return nil
	}
	above, _, _ := cutLast(path[:colon])
	switch _, word, _ := cutLast(above); word {
	case "manifests", "blobs", "referrers":
		_, err := oci.ParseDigest(path[len(above)+1:])
		return err
	}
	return nil
}

// cutLast cuts path before its last part.
func cutLast(path string) (before, last string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// parseUpload returns s as the identifier of an upload. What cannot be one
// names no upload.
func parseUpload(s string) (string, error) {
	const most = 128
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}
	if len(s) > most || strings.ContainsFunc(s, bad) {
		return "", oci.Errorf(oci.BlobUploadUnknown, "there is no such upload")
	}
	return s, nil
}

// path is the way back: the path that parsePath parses as t, without prefix.
func (t target) path() string {
	repo := "/v2/" + string(t.repo)
	switch t.kind {
	case kindTags:
		return repo + "/tags/list"
	case kindManifest:
		return repo + "/manifests/" + t.reference.String()
	case kindBlob:
		return repo + "/blobs/" + string(t.digest)
	case kindUploads:
		return repo + "/blobs/uploads/"
	case kindUpload:
		return repo + "/blobs/uploads/" + t.upload
	case kindReferrers:
		return repo + "/referrers/" + string(t.digest)
	case kindPage:
		return t.page
	}
	for path, k := range fixed {
		if k == t.kind && path != "/v2" {
			return path
		}
	}
	return "/"
}

// parseQuery parses the query of the address. Forms in the body are never
// looked at: the body is content.
func parseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	if strings.Count(r.URL.RawQuery, "&") >= maxQuery {
		return nil, badRequest("the query has more than %d keys", maxQuery)
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query is not well-formed")
	}
	return values, nil
}

// checkCookies bounds the cookies, which only pages read.
func checkCookies(r *http.Request) error {
	n := 0
	for _, line := range r.Header["Cookie"] {
		n += 1 + strings.Count(line, ";")
	}
	if n > maxCookies {
		return badRequest("the request has more than %d cookies", maxCookies)
	}
	return nil
}

// one returns the value of a query key that must not be there twice: what is
// checked and what is used have to be the same. It is "" when the key is absent.
func (x *exchange) one(key string) (string, error) {
	values := x.query[key]
	if len(values) > 1 {
		return "", badRequest("%s is in the query more than once", key)
	}
	return x.query.Get(key), nil
}

// digestOf returns the digest that a query key holds.
func (x *exchange) digestOf(key string) (oci.Digest, error) {
	value, err := x.one(key)
	if err != nil {
		return "", err
	}
	return oci.ParseDigest(value)
}
