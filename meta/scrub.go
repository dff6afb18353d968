package meta

import "berth/oci"

// BlobsAfter returns up to limit blobs in order of their IDs, which are greater
// than after.
func (tx *Tx) BlobsAfter(after int64, limit int) ([]Blob, error) {
	return rows(tx, "walk over blobs", `SELECT id, digest, size, object_key, stamp FROM blobs WHERE id > $1 ORDER BY id LIMIT $2`,
		[]any{after, limit}, scanBlob)
}

// ManifestRepositories returns up to limit repositories that have the blob as the
// bytes of a manifest.
func (tx *Tx) ManifestRepositories(blob int64, limit int) ([]oci.Name, error) {
	return rows(tx, "list repositories of a manifest", `
		SELECT r.name FROM manifests m JOIN repositories r ON r.id = m.repository_id WHERE m.blob_id = $1 LIMIT $2`,
		[]any{blob, limit}, scanText[oci.Name])
}

// ParentsOf returns up to limit manifests of the repository that name the digest.
func (tx *Tx) ParentsOf(repo RepositoryID, d oci.Digest, limit int) ([]oci.Digest, error) {
	return rows(tx, "list manifests that need a blob", `
		SELECT parent FROM manifest_references WHERE child = $1 AND repository_id = $2 AND kind <> 'subject' ORDER BY parent LIMIT $3`,
		[]any{string(d), int64(repo), limit}, scanText[oci.Digest])
}
