package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"berth/access"
	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// putManifest stores a manifest, under the tag or the digest of the path. The
// view decides, but only when the manifest is here: who may not push at all is
// not listened to.
func (s *Server) putManifest(x *exchange) error {
	if x.caller.Expired || !s.may(&x.caller, access.Push, x.target) {
		where := string(x.target.repo)
		if tag := x.target.reference.Tag; tag != "" {
			where += ":" + string(tag)
		}
		return x.denied("push to " + where)
	}
	options, err := putOptions(x)
	if err != nil {
		return err
	}
	data, release, err := s.readManifest(x)
	if err != nil {
		return err
	}
	defer release()
	m, err := s.parseManifest(x, data)
	if err != nil {
		return err
	}
	d, err := x.registry.PutManifest(x.r.Context(), x.target.repo, m, options)
	if errors.Is(err, oci.Conflict) && (options.IfNoneMatch || len(options.IfMatch) > 0) {
		return &statusError{http.StatusPreconditionFailed, oci.Errorf(oci.Conflict, "the tag is not what the request expects")}
	}
	if err != nil {
		return err
	}
	s.auditContent(x, audit.Push, d.Digest, options.Tags)
	h := x.w.Header()
	h.Set("Location", s.location(target{kind: kindManifest, repo: x.target.repo, reference: x.target.reference}))
	h.Set("Docker-Content-Digest", string(d.Digest))
	if x.target.reference.Digest != "" {
		for _, tag := range options.Tags {
			h.Add("OCI-Tag", string(tag))
		}
	}
	if m.Subject != nil {
		h.Set("OCI-Subject", string(m.Subject.Digest))
	}
	x.w.WriteHeader(http.StatusCreated)
	return nil
}

// putOptions reads what a push does besides storing the manifest: the tags, and
// what they must name.
func putOptions(x *exchange) (registry.PutOptions, error) {
	var o registry.PutOptions
	if tag := x.target.reference.Tag; tag != "" {
		if len(x.query["tag"]) > 0 {
			return o, badRequest("tags are in the query only with a digest in the path")
		}
		o.Tags = []oci.Tag{tag}
	}
	for _, value := range x.query["tag"] {
		tag, err := oci.ParseTag(value)
		if err != nil {
			return o, err
		}
		if !slices.Contains(o.Tags, tag) {
			o.Tags = append(o.Tags, tag)
		}
	}
	for _, etag := range list(x.r.Header["If-Match"]) {
		d, err := oci.ParseDigest(strings.Trim(etag, `"`))
		if err != nil {
			return o, badRequest("If-Match is not a list of digests")
		}
		o.IfMatch = append(o.IfMatch, d)
	}
	if lines := list(x.r.Header["If-None-Match"]); len(lines) > 0 {
		if len(lines) != 1 || lines[0] != "*" {
			return o, badRequest("If-None-Match of a push is not *")
		}
		o.IfNoneMatch = true
	}
	return o, nil
}

// parseManifest parses the bytes that were sent. Few are parsed at a time, as
// each takes many times its size.
func (s *Server) parseManifest(x *exchange, data []byte) (registry.ManifestContent, error) {
	release, err := s.takeTurn(x)
	if err != nil {
		return registry.ManifestContent{}, err
	}
	defer release()
	algorithm := oci.SHA256
	want := x.target.reference.Digest
	if want != "" {
		algorithm = want.Algorithm()
	}
	d := oci.DigestOf(algorithm, data)
	if want != "" && d != want {
		return registry.ManifestContent{}, oci.Errorf(oci.DigestInvalid, "the digest of the manifest is %s", d)
	}
	m, err := oci.ParseManifest(x.r.Header.Get("Content-Type"), data)
	if err != nil {
		return registry.ManifestContent{}, err
	}
	return registry.ManifestContent{Manifest: m, Digest: d, Bytes: data}, nil
}

// takeTurn waits until the request may decode what takes many times its size.
// Then release must be called.
func (s *Server) takeTurn(x *exchange) (release func(), err error) {
	select {
	case s.decoding <- struct{}{}:
		return func() { <-s.decoding }, nil
	case <-x.r.Context().Done():
		return nil, x.r.Context().Err()
	}
}
