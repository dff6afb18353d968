package local

import (
	"context"
	"errors"
	"time"

	"berth/meta"
)

// settleBlob returns the blob of b's digest: the one that is there, unless its
// bytes are those under the key damaged, else b. A b without a key must be
// there: errNotThere.
func settleBlob(tx *meta.Tx, b meta.Blob, damaged string, now time.Time) (meta.Blob, error) {
	if b.Key != "" {
		return tx.PutBlob(b, damaged, now)
	}
	there, err := tx.Blob(b.Digest)
	if errors.Is(err, meta.ErrNotExist) || err == nil && there.Key == damaged {
		err = errNotThere
	}
	return there, err
}

// healed takes leave of damaged bytes, in whose place b is now. Without a key
// there were none.
func (r *Registry) healed(ctx context.Context, b meta.Blob, damaged string) {
	if damaged == "" {
		return
	}
	r.blobs.holdAll()()
	r.manifests.holdAll()()
	r.o.Log.Info("a damaged blob was pushed again, and is whole", "digest", b.Digest, "key", b.Key)
	r.discardQuietly(ctx, func(ctx context.Context) error { return r.store.Delete(ctx, damaged) })
}

// discardQuietly removes bytes that no row names. What goes wrong does not make
// wrong what was done, and the sweep finds them.
func (r *Registry) discardQuietly(ctx context.Context, remove func(context.Context) error) {
	if err := remove(ctx); err != nil {
		r.o.Log.Warn("bytes that are not needed stay for the sweep", "err", err)
	}
}
