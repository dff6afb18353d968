package local

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"sync"

	"berth/blob"
	"berth/meta"
	"berth/oci"
)

// Why an upload takes no more calls.
var (
	errOvertaken = oci.Errorf(oci.Conflict, "somebody else goes on with this upload")
	errOver      = oci.Errorf(oci.BlobUploadUnknown, "the upload is over")
)

// An upload is the one writer of a blob on its way in. Its lock is held while
// something happens in the store or the database, and never while a client is
// waited for; whoever overtakes it takes the lock and sets ended.
type upload struct {
	r   *Registry
	ctx context.Context // of the request

	mu    sync.Mutex
	ended error
	row   meta.Upload // as it is in the database, or will be
	named bool        // the row is in the database
	saved int64       // bytes that are durable, with a row that says so
	// base is where whoever overtakes goes on, when it is not in the database:
	// the upload as it was kept.
	base *meta.Upload
	w    blob.Writer // nil until bytes come
	hash hash.Hash
	size int64
	room *room // of the quotas when the request began; nil for any number of bytes
}

// ID implements registry.Upload.
func (u *upload) ID() string { return u.row.ID }

// Size implements registry.Upload.
func (u *upload) Size() int64 { return u.size }

// Write implements registry.Upload.
func (u *upload) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return 0, u.ended
	}
	if err := u.room.take(u.size + int64(len(p))); err != nil {
		return 0, err
	}
	if err := u.begin(u.ctx); err != nil {
		return 0, err
	}
	n, err := u.take(p)
	u.size += int64(n)
	if err != nil {
		return n, storage(fmt.Errorf("write upload: %w", err))
	}
	return n, nil
}

// worthHashingBeside is how many bytes it takes to hash them while they are
// written, on another processor.
const worthHashingBeside = 64 << 10

// take writes p to the store and to the hash. The caller holds the lock.
func (u *upload) take(p []byte) (int, error) {
	if len(p) < worthHashingBeside {
		n, err := u.w.Write(p)
		u.hash.Write(p[:n])
		return n, err
	}
	before, err := u.hash.(hash.Cloner).Clone()
	if err != nil {
		return 0, err
	}
	hashed := make(chan struct{})
	go func() {
		defer close(hashed)
		u.hash.Write(p)
	}()
	n, err := u.w.Write(p)
	<-hashed
	if n < len(p) {
		before.Write(p[:n])
		u.hash = before
	}
	return n, err
}

// begin makes the stream in the store, if there is none yet. The caller holds
// the lock.
func (u *upload) begin(ctx context.Context) error {
	if u.w != nil {
		return nil
	}
	w, err := u.r.store.Create(ctx, u.row.Key)
	if err != nil {
		return storage(fmt.Errorf("begin upload: %w", err))
	}
	u.w = w
	return nil
}

// Close implements registry.Upload. It does its work even when the request is
// over: that is when it matters.
func (u *upload) Close(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return u.closedAgain()
	}
	if u.r.keep(u) {
		return nil
	}
	return u.save(ctx)
}

// save makes the upload durable, and ends this writer. The caller holds the
// lock.
func (u *upload) save(ctx context.Context) error {
	defer u.end(errOver)
	if u.w != nil {
		if err := u.suspend(ctx); err != nil {
			// A failed sync is never tried again: the bytes cannot be trusted.
			return storage(errors.Join(fmt.Errorf("suspend upload: %w", err), u.discard(ctx)))
		}
	} else if u.named {
		return nil
	}
	u.row.Updated = u.r.o.Now()
	defer u.r.saved.hold(u.row.Owner)()
	err := u.r.db.Update(ctx, func(tx *meta.Tx) error {
		if u.named {
			return tx.SuspendUpload(u.row)
		}
		if err := u.r.checkCount(tx, u.row.Owner); err != nil {
			return err
		}
		return tx.CreateUpload(u.row)
	})
	if errors.Is(err, meta.ErrNotExist) {
		return errOvertaken
	}
	return storage(err)
}

// suspend makes the bytes durable and fills in the row.
func (u *upload) suspend(ctx context.Context) error {
	state, err := u.w.Suspend(ctx)
	if err != nil {
		return err
	}
	return u.fill(state)
}

// fill makes the row say how far the upload is, with that state of the store.
func (u *upload) fill(state []byte) error {
	h, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return err
	}
	u.row.StoreState, u.row.HashState, u.row.Size = state, h, u.size
	return nil
}

// Cancel implements registry.Upload.
func (u *upload) Cancel(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return u.closedAgain()
	}
	defer u.end(errOver)
	return u.discard(context.WithoutCancel(ctx))
}

// closedAgain is what Close and Cancel return after the end: nothing, unless the
// upload went on without them.
func (u *upload) closedAgain() error {
	if errors.Is(u.ended, oci.Conflict) {
		return u.ended
	}
	return nil
}

// discard removes the row and then the bytes. Where the row has another epoch,
// the bytes are somebody else's. The caller holds the lock.
func (u *upload) discard(ctx context.Context) error {
	if u.named {
		defer u.r.saved.hold(u.row.Owner)()
		err := u.r.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteUpload(u.row.ID, u.row.Epoch) })
		if errors.Is(err, meta.ErrNotExist) {
			return errOvertaken
		}
		if err != nil {
			return fmt.Errorf("give up upload: %w", err)
		}
	}
	return u.drop(ctx)
}

// drop removes the bytes, which no row names any more, and the writer's file
// with them.
func (u *upload) drop(ctx context.Context) error {
	var err error
	if u.w != nil {
		err = u.w.Abort(ctx)
	}
	if err := errors.Join(err, u.r.store.Delete(ctx, u.row.Key)); err != nil {
		return fmt.Errorf("remove the bytes of an upload: %w", err)
	}
	return nil
}

// end lets no further call through. The caller holds the lock.
func (u *upload) end(why error) {
	u.ended = why
	u.r.leave(u)
}
