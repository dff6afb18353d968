package guard

import (
	"context"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

// minPage is the least that is asked for at a time where entries are left out
// of a page after it was read.
const minPage = 100

// Repos needs the list of repositories, and shows what the caller may list.
func (g *guard) Repos(ctx context.Context, q registry.RepoQuery) ([]registry.Repo, error) {
	if err := g.require(ctx, g.byTag(access.List, ""), ""); err != nil {
		return nil, err
	}
	q.Visible = registry.Both(q.Visible, g.policy.Visible(&g.caller))
	if nothing(q.Visible) {
		return nil, nil
	}
	return g.reg.Repos(ctx, q)
}

// BlobRepos shows where the caller may pull the blob from. It is never refused.
func (g *guard) BlobRepos(ctx context.Context, d oci.Digest, q registry.RepoQuery) ([]registry.Repo, error) {
	q.Visible = registry.Both(q.Visible, g.policy.Readable(&g.caller))
	if nothing(q.Visible) {
		return nil, nil
	}
	next := func(last *registry.Repo, limit int) ([]registry.Repo, error) {
		page := q
		page.Limit = limit
		if last != nil {
			page.After = last.Name
		}
		return g.reg.BlobRepos(ctx, d, page)
	}
	return fill(q.Limit, minPage, next, func(r registry.Repo) (bool, error) { return g.readable(ctx, r.Name, d) })
}

// Tags needs list, and shows the tags that the caller may list.
func (g *guard) Tags(ctx context.Context, repo oci.Name, q registry.TagQuery) ([]registry.TagInfo, error) {
	all := g.byDigest(access.List, repo) // any content, for all that is known of it
	switch d := g.policy.Decide(all); {
	case d.Allow:
		return g.reg.Tags(ctx, repo, q)
	case !d.NeedTags:
		return nil, g.denied(all)
	}
	next := func(last *registry.TagInfo, limit int) ([]registry.TagInfo, error) {
		page := q
		page.Limit = limit
		if last != nil {
			page.After = last.Tag
		}
		return g.reg.Tags(ctx, repo, page)
	}
	return fill(q.Limit, minPage, next, func(t registry.TagInfo) (bool, error) {
		return g.policy.Decide(g.byTag(access.List, repo, t.Tag)).Allow, nil
	})
}

// Referrers needs pull, and shows the referrers that the caller may pull.
func (g *guard) Referrers(ctx context.Context, repo oci.Name, d oci.Digest, q registry.ReferrerQuery) ([]oci.Descriptor, error) {
	all := g.byDigest(access.Pull, repo)
	switch decision := g.policy.Decide(all); {
	case decision.Allow:
		return g.reg.Referrers(ctx, repo, d, q)
	case !decision.NeedTags:
		return nil, g.denied(all)
	}
	next := func(last *oci.Descriptor, limit int) ([]oci.Descriptor, error) {
		page := q
		page.Limit = limit
		if last != nil {
			page.After = last.Digest
		}
		return g.reg.Referrers(ctx, repo, d, page)
	}
	// No more at a time than are asked for: each can be of megabytes.
	return fill(q.Limit, 1, next, func(r oci.Descriptor) (bool, error) { return g.readable(ctx, repo, r.Digest) })
}

// fill returns the first limit entries that keep accepts. next returns a page of
// up to so many entries behind last, from the start when that is nil; it is
// asked for at least least.
func fill[T any](limit, least int, next func(last *T, limit int) ([]T, error), keep func(T) (bool, error)) ([]T, error) {
	size := max(limit, least)
	var kept []T
	var last *T
	for len(kept) < limit {
		page, err := next(last, size)
		if err != nil {
			return nil, err
		}
		for i := range page {
			ok, err := keep(page[i])
			if err != nil {
				return nil, err
			}
			if ok && len(kept) < limit {
				kept = append(kept, page[i])
			}
		}
		if len(page) < size {
			break
		}
		last = &page[len(page)-1]
	}
	return kept, nil
}

func nothing(v *registry.Visibility) bool { return v != nil && len(v.Spans) == 0 }
