package meta

import (
	"slices"
	"time"

	"berth/oci"
)

// A page of a walk over a table ends at a row that is looked up first, so that
// no look at the database takes long, however few of the rows are garbage.

// A LinkKey is a place in the order of all links of blobs to repositories.
type LinkKey struct {
	Blob       int64
	Repository oci.Name
}

// A Link lets a blob be read in a repository.
type Link struct {
	LinkKey
	Digest oci.Digest
	Size   int64
}

// LinkPage returns where a page of limit links ends that begins after the key.
// ok is false when there are not so many.
func (tx *Tx) LinkPage(after LinkKey, limit int) (end LinkKey, ok bool, err error) {
	ends, err := rows(tx, "walk over links", `
		SELECT blob_id, repository FROM repository_blobs WHERE (blob_id, repository) > ($1, $2)
		ORDER BY blob_id, repository LIMIT 1 OFFSET $3`,
		[]any{after.Blob, string(after.Repository), limit - 1}, func(r scanner) (k LinkKey, err error) {
			err = r.Scan(&k.Blob, &k.Repository)
			return k, err
		})
	if len(ends) == 0 {
		return LinkKey{}, false, err
	}
	return ends[0], true, err
}

// lastLink is greater than every LinkKey.
var lastLink = LinkKey{Blob: 1<<63 - 1}

// UnneededLinks returns the links of a page, which ends with end where more is
// set, that no manifest of their repository needs and whose lease is older than
// the time.
func (tx *Tx) UnneededLinks(after, end LinkKey, more bool, leased time.Time) ([]Link, error) {
	if !more {
		end = lastLink
	}
	return rows(tx, "look for unneeded links", `
		SELECT l.blob_id, l.repository, b.digest, b.size
		FROM repository_blobs l CROSS JOIN blobs b
		WHERE b.id = l.blob_id AND (l.blob_id, l.repository) > ($1, $2) AND l.blob_id <= $3 AND (l.blob_id, l.repository) <= ($3, $4) AND l.created < $5 AND `+isUnneeded,
		[]any{after.Blob, string(after.Repository), end.Blob, string(end.Repository), micros(leased)}, scanLink)
}

func scanLink(r scanner) (l Link, err error) {
	err = r.Scan(&l.Blob, &l.Repository, &l.Digest, &l.Size)
	return l, err
}

// isUnneeded is the condition on a link l of a blob b.
const isUnneeded = `NOT EXISTS (
	SELECT 1 FROM repositories r JOIN manifest_references m ON m.repository_id = r.id
	WHERE r.name = l.repository AND m.child = b.digest AND m.kind <> 'subject')`

// RepositoryLinks returns up to limit links of the repository whose lease is
// older than the time and which no manifest needs.
func (tx *Tx) RepositoryLinks(repo oci.Name, after int64, leased time.Time, limit int) ([]Link, error) {
	return rows(tx, "list links of a repository", `
		SELECT l.blob_id, l.repository, b.digest, b.size
		FROM repository_blobs l CROSS JOIN blobs b
		WHERE b.id = l.blob_id AND l.repository = $1 AND l.blob_id > $2 AND l.created < $3 AND `+isUnneeded+`
		ORDER BY l.blob_id LIMIT $4`, []any{string(repo), after, micros(leased), limit}, scanLink)
}

// RemoveLink takes the blob from the repository, unless a manifest needs it or
// its lease is not older than the time. Errors: ErrNotExist.
func (tx *Tx) RemoveLink(l Link, leased time.Time) error {
	return tx.execOne("remove link", `
		DELETE FROM repository_blobs WHERE blob_id = $1 AND repository = $2 AND created < $3 AND NOT EXISTS (
			SELECT 1 FROM repositories r JOIN manifest_references m ON m.repository_id = r.id
			WHERE r.name = $2 AND m.child = $4 AND m.kind <> 'subject')`,
		l.Blob, string(l.Repository), micros(leased), string(l.Digest))
}

// RenewLink moves the lease of a blob of the repository on.
// Errors: ErrNotExist.
func (tx *Tx) RenewLink(repo oci.Name, blob int64, now time.Time) error {
	return tx.execOne("renew lease of blob", `
		UPDATE repository_blobs SET created = CASE WHEN created > $3 THEN created ELSE $3 END WHERE blob_id = $1 AND repository = $2`,
		blob, string(repo), micros(now))
}

// BlobPage returns where a page of limit blobs ends that begins after the ID. ok
// is false when there are not so many.
func (tx *Tx) BlobPage(after int64, limit int) (end int64, ok bool, err error) {
	ends, err := rows(tx, "walk over blobs", `SELECT id FROM blobs WHERE id > $1 ORDER BY id LIMIT 1 OFFSET $2`,
		[]any{after, limit - 1}, func(r scanner) (id int64, err error) {
			err = r.Scan(&id)
			return id, err
		})
	if len(ends) == 0 {
		return 0, false, err
	}
	return ends[0], true, err
}

// UnusedBlobs returns the blobs of a page, which ends with end where more is set,
// that are in no repository, and were made before the time.
func (tx *Tx) UnusedBlobs(after, end int64, more bool, made time.Time) ([]Blob, error) {
	if !more {
		end = lastLink.Blob
	}
	return rows(tx, "look for unused blobs", `
		SELECT b.id, b.digest, b.size, b.object_key FROM blobs b
		WHERE b.id > $1 AND b.id <= $2 AND b.created < $3 AND `+isUnused,
		[]any{after, end, micros(made)}, func(r scanner) (b Blob, err error) {
			err = r.Scan(&b.ID, &b.Digest, &b.Size, &b.Key)
			return b, err
		})
}

// isUnused is the condition on a blob b.
const isUnused = `NOT EXISTS (SELECT 1 FROM repository_blobs l WHERE l.blob_id = b.id) AND NOT EXISTS (SELECT 1 FROM manifests m WHERE m.blob_id = b.id)`

// RemoveBlob removes the row of a blob that is in no repository, and notes the
// key of its bytes for deletion. Errors: ErrNotExist, also when it is in use.
func (tx *Tx) RemoveBlob(id int64, now time.Time) error {
	var key string
	var size int64
	err := tx.row("remove blob", `
		DELETE FROM blobs AS b WHERE b.id = $1 AND `+isUnused+` RETURNING object_key, size`, []any{id}, &key, &size)
	if err != nil {
		return err
	}
	return tx.DeleteObject(key, size, now)
}

// CountBlobUses returns how many repositories hold the blob, and how many
// manifests it is the bytes of.
func (tx *Tx) CountBlobUses(id int64) (links, manifests int, err error) {
	err = tx.row("count uses of blob", `
		SELECT (SELECT COUNT(*) FROM repository_blobs WHERE blob_id = $1), (SELECT COUNT(*) FROM manifests WHERE blob_id = $1)`,
		[]any{id}, &links, &manifests)
	return links, manifests, err
}

// An Object is a key of the blob store that no blob has.
type Object struct {
	Key   string
	Size  int64
	Found time.Time // since when it is known to be unknown
	Seen  time.Time // when the sweep began that met it last
}

// DeleteObject notes a key whose bytes have to go.
func (tx *Tx) DeleteObject(key string, size int64, now time.Time) error {
	_, err := tx.exec("note deleted object", `
		INSERT INTO deleted_objects (object_key, size, deleted) VALUES ($1, $2, $3) ON CONFLICT (object_key) DO NOTHING`,
		key, size, micros(now))
	return err
}

// DeletedObjects returns up to limit keys after that one which were noted before
// the time.
func (tx *Tx) DeletedObjects(after string, before time.Time, limit int) ([]Object, error) {
	return rows(tx, "list deleted objects", `
		SELECT object_key, size FROM deleted_objects WHERE object_key > $1 AND deleted <= $2 ORDER BY object_key LIMIT $3`,
		[]any{after, micros(before), limit}, func(r scanner) (o Object, err error) {
			err = r.Scan(&o.Key, &o.Size)
			return o, err
		})
}

// IsDeleted reports whether the key was noted for deletion.
func (tx *Tx) IsDeleted(key string) (bool, error) {
	var n int
	err := tx.row("find deleted object", `SELECT COUNT(*) FROM deleted_objects WHERE object_key = $1`, []any{key}, &n)
	return n > 0, err
}

// ForgetDeleted drops the notes of keys whose bytes are gone.
func (tx *Tx) ForgetDeleted(keys []string) error {
	return tx.eachChunk("forget deleted objects", `DELETE FROM deleted_objects WHERE object_key IN `, keys)
}

// ForgetUnknown drops the notes of keys that are no longer unknown.
func (tx *Tx) ForgetUnknown(keys []string) error {
	return tx.eachChunk("forget unknown objects", `DELETE FROM unknown_objects WHERE object_key IN `, keys)
}

func (tx *Tx) eachChunk(doing, query string, keys []string) error {
	for chunk := range slices.Chunk(keys, chunkSize) {
		in := padded(chunk)
		if _, err := tx.exec(doing, query+"("+placeholders(1, len(in))+")", in...); err != nil {
			return err
		}
	}
	return nil
}

// KnownKeys returns which of the keys have a row: those of a blob, of an upload,
// or of bytes that have to go.
func (tx *Tx) KnownKeys(keys []string) (map[string]bool, error) {
	known := make(map[string]bool, len(keys))
	for chunk := range slices.Chunk(keys, chunkSize) {
		in := padded(chunk)
		for _, table := range []string{"blobs", "uploads", "deleted_objects"} {
			list, err := rows(tx, "look for keys", `SELECT object_key FROM `+table+` WHERE object_key IN (`+placeholders(1, len(in))+`)`, in, scanText[string])
			if err != nil {
				return nil, err
			}
			for _, key := range list {
				known[key] = true
			}
		}
	}
	return known, nil
}

// NoteUnknown notes a key that nothing names.
func (tx *Tx) NoteUnknown(o Object) error {
	_, err := tx.exec("note unknown object", `
		INSERT INTO unknown_objects (object_key, size, found, seen) VALUES ($1, $2, $3, $4)
		ON CONFLICT (object_key) DO UPDATE SET size = excluded.size, seen = excluded.seen`,
		o.Key, o.Size, micros(o.Found), micros(o.Seen))
	return err
}

// UnknownObjects returns up to limit of the keys that were noted, after that one.
func (tx *Tx) UnknownObjects(after string, limit int) ([]Object, error) {
	return rows(tx, "list unknown objects", `
		SELECT object_key, size, found, seen FROM unknown_objects WHERE object_key > $1 ORDER BY object_key LIMIT $2`,
		[]any{after, limit}, func(r scanner) (o Object, err error) {
			var found, seen int64
			err = r.Scan(&o.Key, &o.Size, &found, &seen)
			o.Found, o.Seen = fromMicros(found), fromMicros(seen)
			return o, err
		})
}
