package meta

import (
	"slices"

	"berth/oci"
	"berth/registry"
)

// An Adoption says that a tag or a manifest of a repository was taken over from
// Distribution.
type Adoption struct {
	Name   string // the tag, or the digest of the manifest
	Digest oci.Digest
}

// Adopted returns which of the names were taken over, and what they named.
func (tx *Tx) Adopted(repo oci.Name, names []string) (map[string]oci.Digest, error) {
	found := make(map[string]oci.Digest, len(names))
	for chunk := range slices.Chunk(names, chunkSize) {
		in := padded(chunk)
		list, err := rows(tx, "look for what was adopted",
			`SELECT name, digest FROM adoptions WHERE repository = $1 AND name IN (`+placeholders(2, len(in))+`)`,
			append([]any{string(repo)}, in...), scanAdoption)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			found[a.Name] = a.Digest
		}
	}
	return found, nil
}

func scanAdoption(r scanner) (a Adoption, err error) {
	err = r.Scan(&a.Name, &a.Digest)
	return a, err
}

// PutAdopted notes that a tag or a manifest was taken over.
func (tx *Tx) PutAdopted(repo oci.Name, a Adoption) error {
	_, err := tx.exec("note what was adopted", `
		INSERT INTO adoptions (repository, name, digest) VALUES ($1, $2, $3)
		ON CONFLICT (repository, name) DO UPDATE SET digest = excluded.digest`, string(repo), a.Name, string(a.Digest))
	return err
}

// TagInfo returns what the tag names, and since when. Errors: ErrNotExist.
func (tx *Tx) TagInfo(repo RepositoryID, t oci.Tag) (registry.TagInfo, error) {
	info := registry.TagInfo{Tag: t}
	var updated int64
	err := tx.row("find tag", `SELECT digest, updated FROM tags WHERE repository_id = $1 AND name = $2`,
		[]any{int64(repo), string(t)}, &info.Digest, &updated)
	info.Pushed = fromMicros(updated)
	return info, err
}

// AllRepositories returns up to limit repositories whose name is greater than
// after, those without a manifest too.
func (tx *Tx) AllRepositories(after oci.Name, limit int) ([]oci.Name, error) {
	return rows(tx, "list repositories", `SELECT name FROM repositories WHERE name > $1 ORDER BY name LIMIT $2`,
		[]any{string(after), limit}, scanText[oci.Name])
}

// BlobsOf returns up to limit blobs that can be read in the repository, in order
// of their IDs, which are greater than after.
func (tx *Tx) BlobsOf(repo oci.Name, after int64, limit int) ([]Blob, error) {
	return rows(tx, "list blobs of repository", `
		SELECT b.id, b.digest, b.size, b.object_key, b.stamp
		FROM repository_blobs l
		JOIN blobs b ON b.id = l.blob_id
		WHERE l.repository = $1 AND l.blob_id > $2 ORDER BY l.blob_id LIMIT $3`,
		[]any{string(repo), after, limit}, scanBlob)
}

// ManifestsOf returns the bytes of up to limit manifests of the repository, in
// order of their digests, which are greater than after.
func (tx *Tx) ManifestsOf(repo RepositoryID, after oci.Digest, limit int) ([]Blob, error) {
	return rows(tx, "list manifests", `
		SELECT b.id, b.digest, b.size, b.object_key, b.stamp
		FROM manifests m
		JOIN blobs b ON b.id = m.blob_id
		WHERE m.repository_id = $1 AND m.digest > $2 ORDER BY m.digest LIMIT $3`,
		[]any{int64(repo), string(after), limit}, scanBlob)
}

func scanBlob(r scanner) (b Blob, err error) {
	err = r.Scan(&b.ID, &b.Digest, &b.Size, &b.Key, &b.Stamp)
	return b, err
}
