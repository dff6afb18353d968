package meta

import (
	"errors"

	"berth/oci"
	"berth/registry"
)

// Table repository_usage is kept by triggers: no method here writes to it but
// the one that mends it.

// Usage returns what the repositories of the span hold together. It reads a row
// for each of them.
func (tx *Tx) Usage(s registry.Span) (registry.Usage, error) {
	below, upper := endOf(s)
	var u registry.Usage
	err := tx.row("sum what repositories hold", `
		SELECT COUNT(*), CAST(COALESCE(SUM(bytes), 0) AS BIGINT), CAST(COALESCE(SUM(tags), 0) AS BIGINT)
		FROM repository_usage WHERE repository >= $1 AND repository`+below+`$2`, []any{s.From, upper}, &u.Repositories, &u.Bytes, &u.Tags)
	return u, err
}

// RepositoryUsage returns what one repository holds; where there is none, none.
func (tx *Tx) RepositoryUsage(repo oci.Name) (registry.Usage, error) {
	u := registry.Usage{Repositories: 1}
	err := tx.row("find what a repository holds", `SELECT bytes, tags FROM repository_usage WHERE repository = $1`,
		[]any{string(repo)}, &u.Bytes, &u.Tags)
	if errors.Is(err, ErrNotExist) {
		return registry.Usage{}, nil
	}
	return u, err
}

// RepositoryUsages returns repositories with what they hold, those without a
// manifest too.
func (tx *Tx) RepositoryUsages(r RepositoryRange) ([]registry.RepositoryUsage, error) {
	where, args := r.where("u.repository", 1)
	return rows(tx, "list what repositories hold", `
		SELECT u.repository, r.created, u.bytes, r.manifests, u.tags
		FROM repository_usage u CROSS JOIN repositories r WHERE r.name = u.repository AND `+where,
		args, func(r scanner) (u registry.RepositoryUsage, err error) {
			var created int64
			err = r.Scan(&u.Name, &created, &u.Bytes, &u.Manifests, &u.Tags)
			u.Created = fromMicros(created)
			return u, err
		})
}

// countUsage reads all that is in a repository.
const countUsage = `
	SELECT CAST(
			(SELECT COALESCE(SUM(b.size), 0) FROM repository_blobs l CROSS JOIN blobs b WHERE l.repository = $1 AND b.id = l.blob_id)
			+ (SELECT COALESCE(SUM(m.size), 0) FROM manifests m WHERE m.repository_id = $2) AS BIGINT),
		(SELECT COUNT(*) FROM tags t WHERE t.repository_id = $2)`

// CountUsage counts what the repository holds, without the totals: it reads all
// that is in it. Errors: ErrNotExist.
func (tx *Tx) CountUsage(repo oci.Name) (registry.Usage, error) {
	id, err := tx.Repository(repo)
	if err != nil {
		return registry.Usage{}, err
	}
	u := registry.Usage{Repositories: 1}
	err = tx.row("count what a repository holds", countUsage, []any{string(repo), int64(id)}, &u.Bytes, &u.Tags)
	return u, err
}

// SetUsage mends the totals of a repository that is there.
func (tx *Tx) SetUsage(repo oci.Name, u registry.Usage) error {
	_, err := tx.exec("mend what a repository holds", `
		INSERT INTO repository_usage (repository, bytes, tags) VALUES ($1, $2, $3)
		ON CONFLICT (repository) DO UPDATE SET bytes = excluded.bytes, tags = excluded.tags`, string(repo), u.Bytes, u.Tags)
	return err
}
