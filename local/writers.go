package local

import (
	"context"
	"encoding"
	"errors"
	"fmt"

	"berth/blob"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// StartUpload implements registry.Writer. The row is written when the upload is
// suspended, and not at all when it is committed before. What could not be named
// at the end is not taken in the first place.
func (r *Registry) StartUpload(ctx context.Context, repo oci.Name, o registry.UploadOptions) (registry.Upload, error) {
	if err := r.db.Room(); err != nil {
		return nil, storage(err)
	}
	room, err := r.room(ctx, repo, max(o.Size, 1))
	if err != nil {
		return nil, err
	}
	if o.Algorithm == "" {
		o.Algorithm = oci.SHA256
	}
	id, err := r.random()
	if err != nil {
		return nil, err
	}
	key, err := r.newKey()
	if err != nil {
		return nil, err
	}
	now := r.o.Now()
	u := &upload{
		r: r, ctx: ctx, hash: o.Algorithm.New(), room: room,
		row: meta.Upload{ID: id, Repository: repo, Owner: o.Owner, Key: key, Algorithm: o.Algorithm, Created: now, Updated: now},
	}
	if err := r.admit(ctx, u); err != nil {
		return nil, err
	}
	return u, nil
}

// admit makes u the writer of its upload, unless its owner has too many. An
// upload on its way from the one count to the other counts twice for a moment.
func (r *Registry) admit(ctx context.Context, u *upload) error {
	r.mu.Lock()
	r.starting[u.row.Owner]++
	r.writers[u.row.ID] = u
	n := r.starting[u.row.Owner]
	r.mu.Unlock()
	rows, err := r.saved.load(u.row.Owner, func() (rows int, err error) {
		err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
			rows, err = tx.CountUploads(u.row.Owner, r.o.MaxOpenUploads)
			return err
		})
		return rows, err
	})
	if err == nil && n+rows > r.o.MaxOpenUploads {
		err = r.tooMany()
	}
	if err != nil {
		r.leave(u)
	}
	return err
}

// enter makes u the writer of its upload, and returns who was it, nil for
// nobody. Where the upload was kept, u goes on with it as it is.
func (r *Registry) enter(u *upload) (earlier *upload, kept bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	earlier = r.writers[u.row.ID]
	r.writers[u.row.ID] = u
	return earlier, r.takeUp(u)
}

// leave undoes admit or enter, unless u was overtaken.
func (r *Registry) leave(u *upload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.writers[u.row.ID] == u {
		delete(r.writers, u.row.ID)
	}
	if u.named {
		return
	}
	if r.starting[u.row.Owner]--; r.starting[u.row.Owner] == 0 {
		delete(r.starting, u.row.Owner)
	}
}

// ResumeUpload implements registry.Writer. It goes on behind the bytes that were
// last suspended.
func (r *Registry) ResumeUpload(ctx context.Context, repo oci.Name, id string, o registry.UploadOptions) (registry.Upload, error) {
	row, err := r.findUpload(ctx, repo, id, o.Owner)
	if err != nil {
		return nil, err
	}
	u := &upload{r: r, ctx: ctx, row: row, named: true}
	more := o.Size
	if more > 0 {
		more += row.Size
	}
	if u.room, err = r.room(ctx, repo, more); err != nil {
		return nil, err
	}
	u.mu.Lock() // who overtakes u waits until it is ready
	defer u.mu.Unlock()
	earlier, kept := r.enter(u)
	switch {
	case kept:
		return u, nil
	case earlier != nil:
		err = u.overtake(context.WithoutCancel(ctx), earlier)
	case r.o.Shared && !o.Last:
		err = u.overtakeElsewhere(context.WithoutCancel(ctx))
	default:
		// It may have been suspended, or ended, since.
		u.row, err = r.findUpload(ctx, repo, id, o.Owner)
		u.saved = u.row.Size
	}
	if err == nil {
		err = u.restore(context.WithoutCancel(ctx))
	}
	if err != nil {
		u.end(errOver)
		return nil, err
	}
	return u, nil
}

// findUpload returns the row. Errors: oci.BlobUploadUnknown, also when it is of
// another repository or owner.
func (r *Registry) findUpload(ctx context.Context, repo oci.Name, id, owner string) (row meta.Upload, err error) {
	if base := r.keptBase(id); base != nil {
		row = *base
	} else {
		err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
			row, err = tx.Upload(id)
			return err
		})
	}
	if errors.Is(err, meta.ErrNotExist) || err == nil && (row.Repository != repo || row.Owner != owner) {
		row, err = meta.Upload{}, unknownUpload()
	}
	row.ID = id
	return row, err
}

func unknownUpload() error {
	return oci.Errorf(oci.BlobUploadUnknown, "there is no such upload: begin again")
}

// overtake stops the earlier writer, and begins an epoch of its own.
func (u *upload) overtake(ctx context.Context, earlier *upload) error {
	earlier.mu.Lock()
	var abandoned blob.Writer // of bytes under a key that no row names
	if earlier.ended == nil {
		earlier.ended = errOvertaken
		u.named = earlier.named
		u.r.setBase(u, earlier.base)
		if earlier.row.StoreState == nil {
			abandoned = earlier.w
		}
	}
	earlier.mu.Unlock()

	err := u.overtakeElsewhere(ctx)
	if err != nil {
		earlier.release(ctx) // nobody calls it any more
		return err
	}
	if abandoned != nil {
		return abandoned.Abort(ctx)
	}
	return nil
}

// overtakeElsewhere begins an epoch, in which whoever writes on another node is
// overtaken.
func (u *upload) overtakeElsewhere(ctx context.Context) error {
	err := u.beginEpoch(ctx)
	if errors.Is(err, meta.ErrNotExist) {
		return unknownUpload()
	}
	if err != nil {
		return storage(fmt.Errorf("go on with upload: %w", err))
	}
	return nil
}

// beginEpoch begins another epoch of the row, and reads it, but where it is
// known better from when the upload was kept.
func (u *upload) beginEpoch(ctx context.Context) error {
	row := u.row
	if u.named {
		err := u.r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			row, err = tx.OvertakeUpload(u.row.ID, u.r.o.Now())
			return err
		})
		if err != nil {
			return err
		}
	}
	if u.base == nil {
		u.row, u.saved = row, row.Size
		return nil
	}
	u.row = *u.base
	u.row.Epoch = row.Epoch
	return nil
}

// restore takes up the state of the row. Where there is none, another process
// may have begun to write all the same: the bytes get a key of their own.
func (u *upload) restore(ctx context.Context) error {
	u.hash = u.row.Algorithm.New()
	if u.row.StoreState == nil {
		var err error
		u.row.Key, err = u.r.newKey()
		return err
	}
	if err := u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(u.row.HashState); err != nil {
		return fmt.Errorf("go on with upload: %w", err)
	}
	w, err := u.r.store.Resume(ctx, u.row.Key, u.row.StoreState)
	if errors.Is(err, blob.ErrStale) {
		if err := u.discard(ctx); err != nil {
			return err
		}
		return unknownUpload()
	}
	if err != nil {
		return storage(fmt.Errorf("go on with upload: %w", err))
	}
	u.w, u.size = w, u.row.Size
	return nil
}

// UploadStatus implements registry.Writer. It tells of the bytes that were last
// suspended, because ResumeUpload goes on there.
func (r *Registry) UploadStatus(ctx context.Context, repo oci.Name, id string, o registry.UploadOptions) (int64, error) {
	row, err := r.findUpload(ctx, repo, id, o.Owner)
	return row.Size, err
}

// reapPage is how many idle uploads are looked up at a time.
const reapPage = 100

// ReapUploads removes the uploads that nobody went on with for UploadIdle, and
// returns their number.
func (r *Registry) ReapUploads(ctx context.Context) (int, error) {
	before := r.o.Now().Add(-r.o.UploadIdle)
	reaped := 0
	for {
		var idle []meta.Upload
		err := r.db.View(ctx, func(tx *meta.Tx) (err error) {
			idle, err = tx.IdleUploads(before, reapPage)
			return err
		})
		if err != nil {
			return reaped, fmt.Errorf("look for idle uploads: %w", err)
		}
		n := reaped
		for _, row := range idle {
			ok, err := r.reap(ctx, row)
			if err != nil {
				return reaped, err
			}
			if ok {
				reaped++
			}
		}
		if len(idle) < reapPage || reaped == n {
			return reaped, nil
		}
	}
}

// reap removes one upload, unless somebody writes to it.
func (r *Registry) reap(ctx context.Context, row meta.Upload) (bool, error) {
	u := &upload{r: r, ctx: ctx, row: row, named: true}
	u.mu.Lock()
	defer u.mu.Unlock()
	r.mu.Lock()
	busy := r.writers[row.ID] != nil || r.kept[row.ID] != nil
	if !busy {
		r.writers[row.ID] = u
	}
	r.mu.Unlock()
	if busy {
		return false, nil
	}
	defer u.end(errOver)
	defer r.saved.hold(row.Owner)()
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.Upload(row.ID)
		if err == nil && !now.Updated.Equal(row.Updated) {
			return meta.ErrNotExist // it was used since
		}
		if err == nil {
			err = tx.DeleteUpload(row.ID, row.Epoch)
		}
		return err
	})
	if errors.Is(err, meta.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("give up upload: %w", err)
	}
	return true, u.drop(ctx)
}

// CountIdleUploads returns how many uploads ReapUploads would look at.
func (r *Registry) CountIdleUploads(ctx context.Context) (n int, err error) {
	err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
		n, err = tx.CountIdleUploads(r.o.Now().Add(-r.o.UploadIdle))
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count idle uploads: %w", err)
	}
	return n, nil
}
