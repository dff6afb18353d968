package meta

import (
	"strings"
	"time"

	"berth/oci"
	"berth/registry"
)

// A RepositoryID stands for a repository as long as it is there; one that is
// made again has another.
type RepositoryID int64

// Repository returns the repository of that name. Errors: ErrNotExist.
func (tx *Tx) Repository(name oci.Name) (RepositoryID, error) {
	var id RepositoryID
	err := tx.row("find repository", `SELECT id FROM repositories WHERE name = $1`, []any{string(name)}, &id)
	return id, err
}

// PutRepository makes the repository where it is not there, and returns it.
func (tx *Tx) PutRepository(name oci.Name, now time.Time) (RepositoryID, error) {
	_, err := tx.exec("make repository",
		`INSERT INTO repositories (name, created) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, string(name), micros(now))
	if err != nil {
		return 0, err
	}
	return tx.Repository(name)
}

// DeleteRepository removes the repository and all that is in it.
// Errors: ErrNotExist.
func (tx *Tx) DeleteRepository(name oci.Name) error {
	id, err := tx.Repository(name)
	if err != nil {
		return err
	}
	const doing = "delete repository"
	for _, query := range []string{
		`DELETE FROM tags WHERE repository_id = $1`,
		`DELETE FROM manifest_references WHERE repository_id = $1`,
		`DELETE FROM manifests WHERE repository_id = $1`,
	} {
		if _, err := tx.exec(doing, query, int64(id)); err != nil {
			return err
		}
	}
	if _, err := tx.exec(doing, `DELETE FROM repository_blobs WHERE repository = $1`, string(name)); err != nil {
		return err
	}
	return tx.execOne(doing, `DELETE FROM repositories WHERE id = $1`, int64(id))
}

// A RepositoryRange picks repositories in order of their names.
type RepositoryRange struct {
	registry.Span
	After    oci.Name // names greater than this
	Contains string   // part of the name
	Limit    int
}

// beyondNames is greater than every name.
const beyondNames = "\x7f"

// where returns the condition on column, and its parameters, which begin with
// $first.
func (r RepositoryRange) where(column string, first int) (string, []any) {
	lower, operator := r.From, " >= "
	if string(r.After) >= r.From {
		lower, operator = string(r.After), " > "
	}
	below, upper := endOf(r.Span)
	p := func(i int) string { return placeholders(first+i, 1) }
	condition := column + operator + p(0) + " AND " + column + below + p(1)
	args := []any{lower, upper}
	if r.Contains != "" {
		// Both databases have replace, and only one instr, or LIKE that minds the case.
		condition += " AND " + column + " <> replace(" + column + ", " + p(2) + ", '')"
		args = append(args, r.Contains)
	}
	condition += " ORDER BY " + column + " LIMIT " + p(len(args))
	return condition, append(args, r.Limit)
}

// endOf returns the operator and the name that bound a span.
func endOf(s registry.Span) (below, upper string) {
	if s.To == "" {
		return " < ", beyondNames
	}
	// The name itself is the last before it with a 0, which PostgreSQL cannot say.
	if last, ok := strings.CutSuffix(s.To, "\x00"); ok {
		return " <= ", last
	}
	return " < ", s.To
}

// Repositories returns repositories that hold a manifest.
func (tx *Tx) Repositories(r RepositoryRange) ([]oci.Name, error) {
	where, args := r.where("name", 1)
	return rows(tx, "list repositories", `SELECT name FROM repositories WHERE manifests > 0 AND `+where, args, scanText[oci.Name])
}

// BlobRepositories returns repositories in which the blob can be read.
func (tx *Tx) BlobRepositories(d oci.Digest, r RepositoryRange) ([]oci.Name, error) {
	where, args := r.where("repository", 2)
	return rows(tx, "list repositories of a blob",
		`SELECT repository FROM repository_blobs WHERE blob_id = (SELECT id FROM blobs WHERE digest = $1) AND `+where,
		append([]any{string(d)}, args...), scanText[oci.Name])
}
