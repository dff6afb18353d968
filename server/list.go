package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"berth/oci"
	"berth/registry"
)

// A page is what a client asks of a listing.
type page struct {
	n    int // entries, when given
	all  bool
	last string
}

// parsePage reads n and last. Where there is no n, all is set; one that is too
// large is clamped.
func parsePage(x *exchange, limit int) (page, error) {
	n, err := x.one("n")
	if err != nil {
		return page{}, err
	}
	p := page{n: limit, all: n == ""}
	if p.last, err = x.one("last"); err != nil || p.all {
		return p, err
	}
	if p.n, err = strconv.Atoi(n); err != nil || p.n < 0 {
		return page{}, oci.Errorf(oci.PageInvalid, "n is not a number of entries")
	}
	p.n = min(p.n, limit)
	return p, nil
}

// linkNext points at the next page: a path, as in location.
func (s *Server) linkNext(x *exchange, last string, n int) {
	query := url.Values{"last": {last}}
	if n > 0 {
		query.Set("n", strconv.Itoa(n))
	}
	if types := x.query["artifactType"]; len(types) > 0 {
		query["artifactType"] = types
	}
	x.w.Header().Set("Link", "<"+s.prefix+x.target.path()+"?"+query.Encode()+`>; rel="next"`)
}

// catalog names the repositories that the caller may see.
func (s *Server) catalog(x *exchange) error {
	p, err := parsePage(x, s.o.MaxCatalog)
	if err != nil {
		return err
	}
	q := registry.RepoQuery{Limit: p.n}
	if p.last != "" {
		if q.After, err = oci.ParseName(p.last); err != nil {
			return err
		}
	}
	names := []oci.Name{}
	if p.n > 0 {
		repos, err := x.registry.Repos(x.r.Context(), q)
		if err != nil {
			return err
		}
		for _, repo := range repos {
			names = append(names, repo.Name)
		}
	}
	if p.n > 0 && len(names) == p.n {
		q.After, q.Limit = names[len(names)-1], 1
		more, err := x.registry.Repos(x.r.Context(), q)
		if err != nil {
			return err
		}
		if len(more) > 0 {
			s.linkNext(x, string(q.After), p.n)
		}
	}
	x.w.Header().Set("Cache-Control", "no-store")
	return x.w.writeJSON(http.StatusOK, struct {
		Repositories []oci.Name `json:"repositories"`
	}{names})
}

// tags names the tags of a repository: a page, or without n all of them.
func (s *Server) tags(x *exchange) error {
	p, err := parsePage(x, s.o.MaxTags)
	if err != nil {
		return err
	}
	q := registry.TagQuery{Limit: max(p.n, 1)}
	if p.last != "" {
		if q.After, err = oci.ParseTag(p.last); err != nil {
			return err
		}
	}
	tags, err := x.registry.Tags(x.r.Context(), x.target.repo, q)
	if err != nil {
		return err
	}
	tags = tags[:min(len(tags), p.n)]
	full := p.n > 0 && len(tags) == p.n
	if full {
		q.After = tags[len(tags)-1].Tag
	}
	if full && !p.all {
		more, err := x.registry.Tags(x.r.Context(), x.target.repo, registry.TagQuery{After: q.After, Limit: 1})
		if err != nil {
			return err
		}
		if len(more) > 0 {
			s.linkNext(x, string(q.After), p.n)
		}
		full = false
	}
	x.w.Header().Set("Cache-Control", "no-store")
	x.w.Header().Set("Content-Type", "application/json")
	return streamTags(x, tags, q, full)
}

// streamTags writes a list of tags page by page, so that it takes the memory of
// one page however long it is.
func streamTags(x *exchange, tags []registry.TagInfo, q registry.TagQuery, more bool) error {
	w := bufio.NewWriter(x.w)
	// A valid name or tag needs no escapes. What cannot be written is told by Flush.
	w.WriteString(`{"name":"` + string(x.target.repo) + `","tags":[`)
	separator := ""
	for {
		for _, t := range tags {
			w.WriteString(separator + `"` + string(t.Tag) + `"`)
			separator = ","
		}
		if !more {
			break
		}
		var err error
		if tags, err = x.registry.Tags(x.r.Context(), x.target.repo, q); err != nil {
			w.Flush() // what has begun can only be broken off
			return err
		}
		if more = len(tags) == q.Limit; more {
			q.After = tags[len(tags)-1].Tag
		}
	}
	w.WriteString("]}\n")
	return gone(w.Flush())
}

// index is a page of referrers: an image index, as the distribution
// specification has it in "Listing Referrers".
type index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []json.RawMessage `json:"manifests"`
}

// referrers names the manifests that refer to a digest. There may be some to
// what is not here yet, so an unknown digest, or repository, has none.
func (s *Server) referrers(x *exchange) error {
	p, err := parsePage(x, maxPage)
	if err != nil {
		return err
	}
	q := registry.ReferrerQuery{ArtifactTypes: x.query["artifactType"]}
	if p.last != "" {
		if q.After, err = oci.ParseDigest(p.last); err != nil {
			return err
		}
	}
	found, last, err := s.collectReferrers(x, q, p.n)
	if err != nil {
		return err
	}
	if last != "" {
		given := 0
		if !p.all {
			given = p.n
		}
		s.linkNext(x, string(last), given)
	}
	if len(q.ArtifactTypes) > 0 {
		x.w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	x.w.Header().Set("Content-Type", oci.MediaTypeIndex)
	x.w.Header().Set("Cache-Control", "no-store")
	return x.w.writeJSON(http.StatusOK, index{SchemaVersion: 2, MediaType: oci.MediaTypeIndex, Manifests: found})
}

// collectReferrers returns a page of up to n descriptors, encoded, and behind
// which of them there may be more, if any. It asks for a few at a time, and few
// requests do so at a time: one descriptor can have annotations of megabytes,
// which take many times their size. It asks once even when n is 0: whether the
// caller may.
func (s *Server) collectReferrers(x *exchange, q registry.ReferrerQuery, n int) (page []json.RawMessage, last oci.Digest, err error) {
	release, err := s.takeTurn(x)
	if err != nil {
		return nil, "", err
	}
	defer release()
	page = []json.RawMessage{}
	size := 0
	for {
		q.Limit = max(1, min(n-len(page), referrersAtOnce))
		found, err := x.registry.Referrers(x.r.Context(), x.target.repo, x.target.digest, q)
		if err != nil && !errors.Is(err, oci.NameUnknown) {
			return nil, "", err
		}
		for _, d := range found[:min(len(found), n-len(page))] {
			encoded, err := json.Marshal(d)
			if err != nil {
				return nil, "", err
			}
			if size += len(encoded) + 1; size > maxReferrers && len(page) > 0 {
				return page, q.After, nil
			}
			page = append(page, encoded)
			q.After = d.Digest
		}
		switch {
		case len(found) < q.Limit, n == 0:
			return page, "", nil
		case len(page) == n:
			return page, q.After, nil
		}
	}
}
