package local

import (
	"context"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// Repos implements registry.Lister.
func (r *Registry) Repos(ctx context.Context, q registry.RepoQuery) ([]registry.Repo, error) {
	return r.page(ctx, q, (*meta.Tx).Repositories)
}

// BlobRepos implements registry.Lister.
func (r *Registry) BlobRepos(ctx context.Context, d oci.Digest, q registry.RepoQuery) ([]registry.Repo, error) {
	return r.page(ctx, q, func(tx *meta.Tx, part meta.RepositoryRange) ([]oci.Name, error) {
		return tx.BlobRepositories(d, part)
	})
}

// page fills a page from one span after the other, with what Match accepts. It
// lets go of the database between two looks.
func (r *Registry) page(ctx context.Context, q registry.RepoQuery, look func(*meta.Tx, meta.RepositoryRange) ([]oci.Name, error)) ([]registry.Repo, error) {
	spans, match := []registry.Span{{}}, func(oci.Name) bool { return true }
	if q.Visible != nil {
		spans = q.Visible.Spans
		if q.Visible.Match != nil {
			match = q.Visible.Match
		}
	}
	var page []registry.Repo
	for _, span := range spans {
		part := meta.RepositoryRange{Span: span, After: q.After, Contains: q.Contains, Limit: q.Limit}
		for more := span.To == "" || string(q.After) < span.To; more; {
			var names []oci.Name
			err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
				names, err = look(tx, part)
				return err
			})
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				if !match(name) {
					continue
				}
				if page = append(page, registry.Repo{Name: name}); len(page) == q.Limit {
					return page, nil
				}
			}
			if more = len(names) == part.Limit; more {
				part.After, part.Limit = names[len(names)-1], registry.MaxPage
			}
		}
	}
	return page, nil
}

// Tags implements registry.Lister.
func (r *Registry) Tags(ctx context.Context, repo oci.Name, q registry.TagQuery) (page []registry.TagInfo, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		id, err := repository(tx, repo)
		if err != nil {
			return err
		}
		page, err = tx.Tags(id, q)
		return err
	})
	return page, err
}

// Referrers implements registry.Lister.
func (r *Registry) Referrers(ctx context.Context, repo oci.Name, d oci.Digest, q registry.ReferrerQuery) (page []oci.Descriptor, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		id, err := repository(tx, repo)
		if err != nil {
			return err
		}
		page, err = tx.Referrers(id, d, q.After, q.ArtifactTypes, q.Limit)
		return err
	})
	return page, err
}
