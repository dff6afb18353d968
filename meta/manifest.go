package meta

import (
	"database/sql"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"berth/oci"
)

// A Manifest is a manifest of one repository.
type Manifest struct {
	Digest       oci.Digest
	MediaType    string
	ArtifactType string
	Size         int64
	Subject      oci.Digest        // "" for none
	Annotations  map[string]string // read by Referrers alone
	Blob         Blob              // where the bytes are
}

// A Kind says what a manifest refers to.
type Kind string

// The kinds of references.
const (
	KindConfig   Kind = "config"
	KindLayer    Kind = "layer"
	KindManifest Kind = "manifest" // a child of an index, which may be a blob
	kindSubject  Kind = "subject"
)

// A Child is what a manifest refers to.
type Child struct {
	Digest oci.Digest
	Kind   Kind
}

const selectManifest = `
	SELECT m.digest, m.media_type, m.artifact_type, m.size, b.id, b.object_key, b.stamp
	FROM repositories r
	JOIN manifests m ON m.repository_id = r.id
	JOIN blobs b ON b.id = m.blob_id `

func (tx *Tx) manifest(query string, args ...any) (Manifest, error) {
	var m Manifest
	err := tx.row("find manifest", query, args, &m.Digest, &m.MediaType, &m.ArtifactType, &m.Size, &m.Blob.ID, &m.Blob.Key, &m.Blob.Stamp)
	m.Blob.Digest, m.Blob.Size = m.Digest, m.Size
	return m, err
}

// Manifest returns the manifest of that digest. Errors: ErrNotExist.
func (tx *Tx) Manifest(repo oci.Name, d oci.Digest) (Manifest, error) {
	return tx.manifest(selectManifest+`WHERE r.name = $1 AND m.digest = $2`, string(repo), string(d))
}

// TaggedManifest returns the manifest that the tag names. Errors: ErrNotExist.
func (tx *Tx) TaggedManifest(repo oci.Name, t oci.Tag) (Manifest, error) {
	return tx.manifest(selectManifest+`
		JOIN tags t ON t.repository_id = r.id AND t.digest = m.digest
		WHERE r.name = $1 AND t.name = $2`, string(repo), string(t))
}

// ManifestSizes returns which of the digests are manifests of the repository,
// and their sizes.
func (tx *Tx) ManifestSizes(repo RepositoryID, digests []oci.Digest) (map[oci.Digest]int64, error) {
	found := make(map[oci.Digest]int64, len(digests))
	for chunk := range slices.Chunk(digests, chunkSize) {
		in := padded(chunk)
		query := `SELECT digest, size FROM manifests WHERE repository_id = $1 AND digest IN (` + placeholders(2, len(in)) + `)`
		if err := tx.sizes("look for manifests", query, append([]any{int64(repo)}, in...), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// PutManifest makes the manifest with its references, or notes that it was pushed
// again. m.Blob must have its ID.
func (tx *Tx) PutManifest(repo RepositoryID, m Manifest, children []Child, now time.Time) error {
	var annotations sql.NullString
	if len(m.Annotations) > 0 {
		data, err := json.Marshal(m.Annotations)
		if err != nil {
			return tx.fail("write annotations", err)
		}
		annotations = sql.NullString{String: string(data), Valid: true}
	}
	n, err := tx.exec("write manifest", `
		INSERT INTO manifests (repository_id, digest, blob_id, media_type, artifact_type, size, subject, annotations, created, updated)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (repository_id, digest) DO NOTHING`,
		int64(repo), string(m.Digest), m.Blob.ID, m.MediaType, m.ArtifactType, m.Size,
		sql.NullString{String: string(m.Subject), Valid: m.Subject != ""}, annotations, micros(now))
	if err != nil {
		return err
	}
	if n == 0 {
		return tx.execOne("note another push of a manifest", `UPDATE manifests SET updated = $3 WHERE repository_id = $1 AND digest = $2`,
			int64(repo), string(m.Digest), micros(now))
	}
	references := make([]reference, 0, len(children)+1)
	for _, c := range children {
		references = append(references, reference{m.Digest, c.Digest, c.Kind})
	}
	if m.Subject != "" {
		references = append(references, reference{m.Subject, m.Digest, kindSubject})
	}
	if err := tx.putReferences(repo, references); err != nil {
		return err
	}
	return tx.countManifests(repo, 1)
}

// A reference says that parent keeps child.
type reference struct {
	parent, child oci.Digest
	kind          Kind
}

// putReferences writes many rows with few statements. Where it pads the last of
// them with rows that are there, nothing happens.
func (tx *Tx) putReferences(repo RepositoryID, references []reference) error {
	for chunk := range slices.Chunk(references, chunkSize/4) {
		n := 1
		for n < len(chunk) {
			n *= 2
		}
		values := make([]string, 0, n)
		args := []any{int64(repo)}
		for i := range n {
			r := chunk[min(i, len(chunk)-1)]
			values = append(values, "($1, "+placeholders(len(args)+1, 3)+")")
			args = append(args, string(r.parent), string(r.child), string(r.kind))
		}
		_, err := tx.exec("write references", `
			INSERT INTO manifest_references (repository_id, parent, child, kind) VALUES `+strings.Join(values, ", ")+`
			ON CONFLICT (repository_id, parent, child, kind) DO NOTHING`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func (tx *Tx) countManifests(repo RepositoryID, change int) error {
	return tx.execOne("count manifests", `UPDATE repositories SET manifests = manifests + $2 WHERE id = $1`, int64(repo), change)
}

// DeleteManifest removes the manifest, its references and every tag that names
// it, and returns those tags. Errors: ErrNotExist.
func (tx *Tx) DeleteManifest(repo RepositoryID, d oci.Digest) ([]oci.Tag, error) {
	const doing = "delete manifest"
	args := []any{int64(repo), string(d)}
	tags, err := rows(tx, doing, `DELETE FROM tags WHERE repository_id = $1 AND digest = $2 RETURNING name`, args, scanText[oci.Tag])
	if err != nil {
		return nil, err
	}
	for _, query := range []string{
		`DELETE FROM manifest_references WHERE repository_id = $1 AND parent = $2 AND kind <> 'subject'`,
		`DELETE FROM manifest_references WHERE repository_id = $1 AND child = $2 AND kind = 'subject'`,
	} {
		if _, err := tx.exec(doing, query, args...); err != nil {
			return nil, err
		}
	}
	if err := tx.execOne(doing, `DELETE FROM manifests WHERE repository_id = $1 AND digest = $2`, args...); err != nil {
		return nil, err
	}
	return tags, tx.countManifests(repo, -1)
}

// Referrers returns up to limit manifests whose subject is d and whose digest is
// greater than after, in order of digest; unless types is empty, only those of
// one of these artifact types.
func (tx *Tx) Referrers(repo RepositoryID, d, after oci.Digest, types []string, limit int) ([]oci.Descriptor, error) {
	var query strings.Builder
	query.WriteString(`
		SELECT digest, media_type, artifact_type, size, annotations FROM manifests
		WHERE repository_id = $1 AND subject = $2 AND digest > $3`)
	args := []any{int64(repo), string(d), string(after), limit}
	if len(types) > 0 {
		in := padded(types)
		query.WriteString(` AND artifact_type IN (` + placeholders(len(args)+1, len(in)) + `)`)
		args = append(args, in...)
	}
	query.WriteString(` ORDER BY digest LIMIT $4`)
	return rows(tx, "list referrers", query.String(), args, scanReferrer)
}

func scanReferrer(r scanner) (oci.Descriptor, error) {
	var d oci.Descriptor
	var annotations sql.NullString
	if err := r.Scan(&d.Digest, &d.MediaType, &d.ArtifactType, &d.Size, &annotations); err != nil {
		return d, err
	}
	if !annotations.Valid {
		return d, nil
	}
	return d, json.Unmarshal([]byte(annotations.String), &d.Annotations)
}
