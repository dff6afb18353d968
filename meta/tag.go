package meta

import (
	"strings"
	"time"

	"berth/oci"
	"berth/registry"
)

// Tag returns what the tag names. Errors: ErrNotExist.
func (tx *Tx) Tag(repo RepositoryID, t oci.Tag) (oci.Digest, error) {
	var d oci.Digest
	err := tx.row("find tag", `SELECT digest FROM tags WHERE repository_id = $1 AND name = $2`, []any{int64(repo), string(t)}, &d)
	return d, err
}

// PutTag lets the tag name a manifest of the repository.
func (tx *Tx) PutTag(repo RepositoryID, t oci.Tag, d oci.Digest, now time.Time) error {
	if err := tx.LoseTag(repo, t, d, now); err != nil {
		return err
	}
	_, err := tx.exec("write tag", `
		INSERT INTO tags (repository_id, name, digest, updated) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository_id, name) DO UPDATE SET digest = excluded.digest, updated = excluded.updated`,
		int64(repo), string(t), string(d), micros(now))
	return err
}

// DeleteTag removes the tag. Errors: ErrNotExist.
func (tx *Tx) DeleteTag(repo RepositoryID, t oci.Tag) error {
	return tx.execOne("delete tag", `DELETE FROM tags WHERE repository_id = $1 AND name = $2`, int64(repo), string(t))
}

// Tags returns a page of tags, in byte order.
func (tx *Tx) Tags(repo RepositoryID, q registry.TagQuery) ([]registry.TagInfo, error) {
	args := []any{int64(repo), string(q.After), q.Limit}
	query := `
		SELECT name, digest, updated FROM tags
		WHERE repository_id = $1 AND name > $2 ORDER BY name LIMIT $3`
	if q.Reaching != "" {
		args = append(args, string(q.Reaching))
		query = tagsReaching(tx.conn.dialect.collation)
	}
	return rows(tx, "list tags", query, args, scanTag)
}

// tagsReaching climbs from a digest to all that keeps it, and takes the tags of
// what it meets. CROSS JOIN tells SQLite not to begin with all the tags.
func tagsReaching(collation string) string {
	return `
	WITH RECURSIVE reaching (digest) AS (
		SELECT CAST($4 AS TEXT)` + collation + `
		UNION
		SELECT m.parent FROM reaching r
		CROSS JOIN manifest_references m WHERE m.repository_id = $1 AND m.child = r.digest
	)
	SELECT t.name, t.digest, t.updated FROM reaching r
	CROSS JOIN tags t WHERE t.repository_id = $1 AND t.digest = r.digest AND t.name > $2
	ORDER BY t.name LIMIT $3`
}

// TagsNeeding returns a page of tags whose manifest is d, or needs it, at any
// depth: what is only said about a manifest (its referrers) it does not need.
func (tx *Tx) TagsNeeding(repo RepositoryID, d oci.Digest, after oci.Tag, limit int) ([]registry.TagInfo, error) {
	query := strings.Replace(tagsReaching(tx.conn.dialect.collation), "m.child = r.digest", "m.child = r.digest AND m.kind <> 'subject'", 1)
	return rows(tx, "list tags", query, []any{int64(repo), string(after), limit, string(d)}, scanTag)
}

func scanTag(r scanner) (registry.TagInfo, error) {
	var t registry.TagInfo
	var updated int64
	err := r.Scan(&t.Tag, &t.Digest, &updated)
	t.Pushed = fromMicros(updated)
	return t, err
}
