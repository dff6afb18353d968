package meta

import (
	"database/sql"
	"errors"
	"slices"
	"time"

	"berth/oci"
)

// A Blob says where the bytes of a digest are. The bytes of a manifest are one
// too.
type Blob struct {
	ID     int64 // set by the database
	Digest oci.Digest
	Size   int64
	Key    string // in the blob store
	Stamp  string // of the store, when the bytes were last known to be right
}

// Blob returns the blob, whichever repositories it is in. Errors: ErrNotExist.
func (tx *Tx) Blob(d oci.Digest) (Blob, error) {
	b := Blob{Digest: d}
	err := tx.row("find blob", `SELECT id, size, object_key, stamp FROM blobs WHERE digest = $1`,
		[]any{string(d)}, &b.ID, &b.Size, &b.Key, &b.Stamp)
	return b, err
}

// A BlobPlace is a blob as it is seen from a repository.
type BlobPlace struct {
	Blob       Blob
	Exists     bool // in any repository
	Linked     bool // in this one, where it can be read
	Repository bool // there is such a repository
	// Needed: a manifest of the repository names it. Leased is the lease of a
	// link, which keeps one that is not needed.
	Needed bool
	Leased time.Time
}

// BlobPlace looks for the blob in the repository. What is not there is not an
// error.
func (tx *Tx) BlobPlace(repo oci.Name, d oci.Digest) (BlobPlace, error) {
	var id, size, leased sql.NullInt64
	var key, stamp sql.NullString
	var p BlobPlace
	err := tx.row("find blob of repository", `
		SELECT r.id IS NOT NULL, b.id, b.size, b.object_key, b.stamp, l.blob_id IS NOT NULL, l.created,
			EXISTS (SELECT 1 FROM manifest_references m WHERE m.child = $1 AND m.repository_id = r.id AND m.kind <> 'subject')
		FROM (SELECT 1) AS one
		LEFT JOIN repositories r ON r.name = $2
		LEFT JOIN blobs b ON b.digest = $1
		LEFT JOIN repository_blobs l ON l.blob_id = b.id AND l.repository = $2`,
		[]any{string(d), string(repo)}, &p.Repository, &id, &size, &key, &stamp, &p.Linked, &leased, &p.Needed)
	p.Exists, p.Leased = id.Valid, fromMicros(leased.Int64)
	p.Blob = Blob{ID: id.Int64, Digest: d, Size: size.Int64, Key: key.String, Stamp: stamp.String}
	return p, err
}

// HasBlobs reports whether there is any blob.
func (tx *Tx) HasBlobs() (bool, error) {
	var n int
	err := tx.row("look for blobs", `SELECT COUNT(*) FROM (SELECT 1 FROM blobs LIMIT 1) AS one`, nil, &n)
	return n > 0, err
}

// PutBlob makes the blob and returns it with its ID. Where the digest has bytes
// already, they stay and are returned, unless they are those under the key
// damaged, "" for none.
func (tx *Tx) PutBlob(b Blob, damaged string, now time.Time) (Blob, error) {
	err := tx.row("write blob", `
		INSERT INTO blobs (digest, size, object_key, stamp, created) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (digest) DO UPDATE SET size = excluded.size, object_key = excluded.object_key, stamp = excluded.stamp
		WHERE blobs.object_key = $6
		RETURNING id`,
		[]any{string(b.Digest), b.Size, b.Key, b.Stamp, micros(now), damaged}, &b.ID)
	if errors.Is(err, ErrNotExist) {
		return tx.Blob(b.Digest)
	}
	return b, err
}

// SetBlobStamp notes that the bytes under key are right as they are now.
// Errors: ErrNotExist when the blob has been given other bytes since.
func (tx *Tx) SetBlobStamp(d oci.Digest, key, stamp string) error {
	return tx.execOne("write stamp of blob", `UPDATE blobs SET stamp = $3 WHERE digest = $1 AND object_key = $2`, string(d), key, stamp)
}

// LinkBlob lets the blob be read in the repository, which is made where it is
// not there. Where it can be read already, its lease moves on.
func (tx *Tx) LinkBlob(repo oci.Name, b Blob, now time.Time) error {
	n, err := tx.exec("add blob to repository", `
		INSERT INTO repository_blobs (blob_id, repository, created)
		SELECT CAST($1 AS BIGINT), name, CAST($3 AS BIGINT) FROM repositories WHERE name = $2`+renewed, b.ID, string(repo), micros(now))
	if err != nil || n > 0 {
		return err
	}
	if _, err := tx.PutRepository(repo, now); err != nil {
		return err
	}
	_, err = tx.exec("add blob to repository", `
		INSERT INTO repository_blobs (blob_id, repository, created) VALUES ($1, $2, $3)`+renewed, b.ID, string(repo), micros(now))
	return err
}

// renewed moves the lease of a link that is there, and never back.
const renewed = `
		ON CONFLICT (blob_id, repository) DO UPDATE SET created =
			CASE WHEN repository_blobs.created > excluded.created THEN repository_blobs.created ELSE excluded.created END`

// UnlinkBlob takes the blob from the repository. Errors: ErrNotExist.
func (tx *Tx) UnlinkBlob(repo oci.Name, d oci.Digest) error {
	return tx.execOne("take blob from repository", `
		DELETE FROM repository_blobs
		WHERE blob_id = (SELECT id FROM blobs WHERE digest = $1) AND repository = $2`, string(d), string(repo))
}

// BlobSizes returns which of the digests are blobs that can be read in the
// repository, and their sizes. SQLite takes CROSS JOIN as an order: the few
// digests first, and not all that is in the repository.
func (tx *Tx) BlobSizes(repo oci.Name, digests []oci.Digest) (map[oci.Digest]int64, error) {
	found := make(map[oci.Digest]int64, len(digests))
	for chunk := range slices.Chunk(digests, chunkSize) {
		in := padded(chunk)
		query := `
			SELECT b.digest, b.size FROM blobs b
			CROSS JOIN repository_blobs r
			WHERE b.digest IN (` + placeholders(2, len(in)) + `) AND r.blob_id = b.id AND r.repository = $1`
		if err := tx.sizes("look for blobs", query, append([]any{string(repo)}, in...), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}
