package meta

import (
	"time"

	"berth/oci"
)

// An Upload is a blob on its way in, as it was when it was last suspended.
type Upload struct {
	ID         string
	Repository oci.Name
	Owner      string
	Key        string // in the blob store, where there is a StoreState
	Algorithm  oci.Algorithm
	HashState  []byte // of Algorithm over the bytes taken; nil, like StoreState, when there are none
	StoreState []byte
	Size       int64
	// Epoch counts the writers. Who knows only an older one has been overtaken.
	Epoch   int64
	Created time.Time
	Updated time.Time
}

const uploadColumns = `id, repository, owner, object_key, algorithm, hash_state, store_state, size, epoch, created, updated`

func scanUpload(r scanner) (Upload, error) {
	var u Upload
	var created, updated int64
	err := r.Scan(&u.ID, &u.Repository, &u.Owner, &u.Key, &u.Algorithm, &u.HashState, &u.StoreState, &u.Size, &u.Epoch, &created, &updated)
	u.Created, u.Updated = fromMicros(created), fromMicros(updated)
	return u, err
}

// CreateUpload adds u.
func (tx *Tx) CreateUpload(u Upload) error {
	_, err := tx.exec("write upload",
		`INSERT INTO uploads (`+uploadColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
		u.ID, string(u.Repository), u.Owner, u.Key, string(u.Algorithm), u.HashState, u.StoreState, u.Size, u.Epoch,
		micros(u.Created), micros(u.Updated))
	return err
}

// Upload returns the upload. Errors: ErrNotExist.
func (tx *Tx) Upload(id string) (Upload, error) {
	list, err := rows(tx, "find upload", `SELECT `+uploadColumns+` FROM uploads WHERE id = $1`, []any{id}, scanUpload)
	if err == nil && len(list) == 0 {
		err = ErrNotExist
	}
	if err != nil {
		return Upload{}, err
	}
	return list[0], nil
}

// SuspendUpload writes how far u has come, under which key, and when.
// Errors: ErrNotExist, when it is not there, or of another epoch.
func (tx *Tx) SuspendUpload(u Upload) error {
	return tx.execOne("suspend upload", `
		UPDATE uploads SET object_key = $3, hash_state = $4, store_state = $5, size = $6, updated = $7
		WHERE id = $1 AND epoch = $2`, u.ID, u.Epoch, u.Key, u.HashState, u.StoreState, u.Size, micros(u.Updated))
}

// OvertakeUpload begins another epoch of the upload, which is used now, and
// returns it. Errors: ErrNotExist.
func (tx *Tx) OvertakeUpload(id string, now time.Time) (Upload, error) {
	if err := tx.execOne("overtake upload", `UPDATE uploads SET epoch = epoch + 1, updated = $2 WHERE id = $1`, id, micros(now)); err != nil {
		return Upload{}, err
	}
	return tx.Upload(id)
}

// DeleteUpload removes the upload. Errors: ErrNotExist, when it is not there, or
// of another epoch.
func (tx *Tx) DeleteUpload(id string, epoch int64) error {
	return tx.execOne("delete upload", `DELETE FROM uploads WHERE id = $1 AND epoch = $2`, id, epoch)
}

// CountUploads returns how many uploads the owner has, but counts only to limit.
func (tx *Tx) CountUploads(owner string, limit int) (int, error) {
	var n int
	err := tx.row("count uploads", `SELECT COUNT(*) FROM (SELECT 1 FROM uploads WHERE owner = $1 LIMIT $2) AS mine`,
		[]any{owner, limit}, &n)
	return n, err
}

// IdleUploads returns up to limit uploads that were last suspended before the
// time, the oldest first.
func (tx *Tx) IdleUploads(before time.Time, limit int) ([]Upload, error) {
	return rows(tx, "list idle uploads", `SELECT `+uploadColumns+` FROM uploads WHERE updated < $1 ORDER BY updated LIMIT $2`,
		[]any{micros(before), limit}, scanUpload)
}

// CountIdleUploads returns how many uploads were last suspended before the time.
func (tx *Tx) CountIdleUploads(before time.Time) (int, error) {
	var n int
	err := tx.row("count idle uploads", `SELECT COUNT(*) FROM uploads WHERE updated < $1`, []any{micros(before)}, &n)
	return n, err
}

// DeleteUploads removes all uploads; their bytes are somebody else's concern.
func (tx *Tx) DeleteUploads() error {
	_, err := tx.exec("delete uploads", `DELETE FROM uploads`)
	return err
}
