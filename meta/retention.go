package meta

import (
	"time"

	"berth/oci"
)

// A RepositoryRow is a repository as the sweep sees it.
type RepositoryRow struct {
	ID        RepositoryID
	Name      oci.Name
	Manifests int
	Created   time.Time
}

// RepositoryRows returns up to limit repositories after that name, be they empty
// or not.
func (tx *Tx) RepositoryRows(after oci.Name, limit int) ([]RepositoryRow, error) {
	return rows(tx, "walk over repositories", `
		SELECT id, name, manifests, created FROM repositories WHERE name > $1 ORDER BY name LIMIT $2`,
		[]any{string(after), limit}, func(r scanner) (row RepositoryRow, err error) {
			var created int64
			err = r.Scan(&row.ID, &row.Name, &row.Manifests, &created)
			row.Created = fromMicros(created)
			return row, err
		})
}

// RemoveRepository removes a repository that holds nothing and was made before
// the time. Errors: ErrNotExist.
func (tx *Tx) RemoveRepository(id RepositoryID, made time.Time) error {
	return tx.execOne("remove repository", `DELETE FROM repositories WHERE id = $1 AND manifests = 0 AND created < $2
		AND NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.repository = repositories.name)`, int64(id), micros(made))
}

// A TagUse is a tag, and when what it names was last read.
type TagUse struct {
	Tag     oci.Tag
	Digest  oci.Digest
	Updated time.Time
	Pulled  time.Time // the zero time for never
}

const selectTagUse = `
	SELECT t.name, t.digest, t.updated, m.pulled FROM tags t
	JOIN manifests m ON m.repository_id = t.repository_id AND m.digest = t.digest
	WHERE t.repository_id = $1 `

func scanTagUse(r scanner) (t TagUse, err error) {
	var updated, pulled int64
	err = r.Scan(&t.Tag, &t.Digest, &updated, &pulled)
	t.Updated, t.Pulled = fromMicros(updated), orNever(pulled)
	return t, err
}

// TagUses returns up to limit tags after that one.
func (tx *Tx) TagUses(repo RepositoryID, after oci.Tag, limit int) ([]TagUse, error) {
	return rows(tx, "walk over tags", selectTagUse+`AND t.name > $2 ORDER BY t.name LIMIT $3`, []any{int64(repo), string(after), limit}, scanTagUse)
}

// TagUse returns one tag. Errors: ErrNotExist.
func (tx *Tx) TagUse(repo RepositoryID, tag oci.Tag) (TagUse, error) {
	list, err := rows(tx, "find tag", selectTagUse+`AND t.name = $2`, []any{int64(repo), string(tag)}, scanTagUse)
	if err == nil && len(list) == 0 {
		err = ErrNotExist
	}
	if err != nil {
		return TagUse{}, err
	}
	return list[0], nil
}

// LoseTag notes that a manifest loses the tag now, before it does, unless the tag
// goes on to name it. A tag that is not there is no error.
func (tx *Tx) LoseTag(repo RepositoryID, tag oci.Tag, next oci.Digest, now time.Time) error {
	_, err := tx.exec("note the loss of a tag", `
		UPDATE manifests SET updated = $4 WHERE repository_id = $1
		AND digest = (SELECT digest FROM tags WHERE repository_id = $1 AND name = $2 AND digest <> $3)`,
		int64(repo), string(tag), string(next), micros(now))
	return err
}

// LoseParent notes that all that a manifest keeps loses it now, before it does:
// manifests, and the leases of blobs.
func (tx *Tx) LoseParent(repo RepositoryID, d oci.Digest, now time.Time) error {
	_, err := tx.exec("note the loss of a parent", `
		UPDATE manifests SET updated = $3 WHERE repository_id = $1
		AND digest IN (SELECT child FROM manifest_references WHERE repository_id = $1 AND parent = $2)`,
		int64(repo), string(d), micros(now))
	if err != nil {
		return err
	}
	return tx.RenewLinks(repo, d, now)
}

// RenewLinks moves on the leases of the blobs that a manifest names.
func (tx *Tx) RenewLinks(repo RepositoryID, d oci.Digest, now time.Time) error {
	_, err := tx.exec("renew leases of blobs", `
		UPDATE repository_blobs SET created = $3
		WHERE repository = (SELECT name FROM repositories WHERE id = $1) AND created < $3 AND blob_id IN (
			SELECT b.id FROM manifest_references m CROSS JOIN blobs b
			WHERE m.repository_id = $1 AND m.parent = $2 AND b.digest = m.child)`,
		int64(repo), string(d), micros(now))
	return err
}

// A ManifestUse is a manifest of a repository, and when it was last of use.
type ManifestUse struct {
	Digest oci.Digest
	Blob   int64
	Size   int64
	Tagged bool
	// Written is when it was last pushed, or lost a tag or a parent; Used may be
	// later, when it was read.
	Written, Used time.Time
}

func scanManifestUse(r scanner) (m ManifestUse, err error) {
	var created, updated, pulled int64
	err = r.Scan(&m.Digest, &m.Blob, &m.Size, &m.Tagged, &created, &updated, &pulled)
	m.Written, m.Used = fromMicros(max(created, updated)), fromMicros(max(created, updated, pulled))
	return m, err
}

const manifestUseColumns = `m.digest, m.blob_id, m.size,
	EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = m.repository_id AND t.digest = m.digest), m.created, m.updated, m.pulled`

// ManifestPage returns where a page of limit manifests ends that begins after the
// digest. ok is false when there are not so many.
func (tx *Tx) ManifestPage(repo RepositoryID, after oci.Digest, limit int) (end oci.Digest, ok bool, err error) {
	ends, err := rows(tx, "walk over manifests", `
		SELECT digest FROM manifests WHERE repository_id = $1 AND digest > $2 ORDER BY digest LIMIT 1 OFFSET $3`,
		[]any{int64(repo), string(after), limit - 1}, scanText[oci.Digest])
	if len(ends) == 0 {
		return "", false, err
	}
	return ends[0], true, err
}

// beyondDigests is greater than every digest.
const beyondDigests = "\x7f"

// UntaggedManifests returns the manifests of a page, which ends with end where
// more is set, that no tag names and that were last of use before the time.
func (tx *Tx) UntaggedManifests(repo RepositoryID, after, end oci.Digest, more bool, used time.Time) ([]oci.Digest, error) {
	if !more {
		end = beyondDigests
	}
	return rows(tx, "look for untagged manifests", `
		SELECT m.digest FROM manifests m
		WHERE m.repository_id = $1 AND m.digest > $2 AND m.digest <= $3 AND m.created < $4 AND m.updated < $4 AND m.pulled < $4
		AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository_id = m.repository_id AND t.digest = m.digest)`,
		[]any{int64(repo), string(after), string(end), micros(used)}, scanText[oci.Digest])
}

// holders climbs from a digest to all that keeps it. CROSS JOIN tells SQLite to
// look up what was met.
func holders(collation string) string {
	return `
	WITH RECURSIVE reaching (digest) AS (
		SELECT CAST($2 AS TEXT)` + collation + `
		UNION
		SELECT m.parent FROM reaching r
		CROSS JOIN manifest_references m WHERE m.repository_id = $1 AND m.child = r.digest
	)
	SELECT ` + manifestUseColumns + ` FROM reaching r
	CROSS JOIN manifests m WHERE m.repository_id = $1 AND m.digest = r.digest LIMIT $3`
}

// Holders returns the manifest, and up to limit of all in the repository that keep
// it, at any distance.
func (tx *Tx) Holders(repo RepositoryID, d oci.Digest, limit int) ([]ManifestUse, error) {
	return rows(tx, "look for what keeps a manifest", holders(tx.conn.dialect.collation), []any{int64(repo), string(d), limit}, scanManifestUse)
}

// Children returns the blobs of the repository that the manifest names.
func (tx *Tx) Children(repo RepositoryID, name oci.Name, d oci.Digest) ([]Link, error) {
	return rows(tx, "list blobs of a manifest", `
		SELECT DISTINCT l.blob_id, l.repository, b.digest, b.size
		FROM manifest_references m CROSS JOIN blobs b CROSS JOIN repository_blobs l
		WHERE m.repository_id = $1 AND m.parent = $2 AND m.kind <> 'subject' AND b.digest = m.child AND l.blob_id = b.id AND l.repository = $3`,
		[]any{int64(repo), string(d), string(name)}, scanLink)
}

// Parents returns up to limit digests after that one of manifests that name the
// blob.
func (tx *Tx) Parents(repo RepositoryID, child, after oci.Digest, limit int) ([]oci.Digest, error) {
	return rows(tx, "list parents of a blob", `
		SELECT parent FROM manifest_references
		WHERE child = $2 AND repository_id = $1 AND parent > $3 AND kind <> 'subject' ORDER BY parent LIMIT $4`,
		[]any{int64(repo), string(child), string(after), limit}, scanText[oci.Digest])
}

// ManifestDigests returns up to limit manifests after that one.
func (tx *Tx) ManifestDigests(repo RepositoryID, after oci.Digest, limit int) ([]oci.Digest, error) {
	return rows(tx, "list manifests", `SELECT digest FROM manifests WHERE repository_id = $1 AND digest > $2 ORDER BY digest LIMIT $3`,
		[]any{int64(repo), string(after), limit}, scanText[oci.Digest])
}

// A Pull says that a manifest was read.
type Pull struct {
	Repository oci.Name
	Digest     oci.Digest
	Time       time.Time
}

// NotePull notes it. A manifest that is gone is no error.
func (tx *Tx) NotePull(p Pull) error {
	_, err := tx.exec("note a pull", `
		UPDATE manifests SET pulled = $3
		WHERE repository_id = (SELECT id FROM repositories WHERE name = $1) AND digest = $2 AND pulled < $3`,
		string(p.Repository), string(p.Digest), micros(p.Time))
	return err
}
