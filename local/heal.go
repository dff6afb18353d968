package local

import (
	"context"
	"errors"
	"io"
	"time"

	"berth/blob"
	"berth/layout"
	"berth/meta"
	"berth/oci"
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
	r.o.Log.Info("a damaged blob is whole again", "digest", b.Digest, "key", b.Key)
	r.discardQuietly(ctx, func(ctx context.Context) error { return r.store.Delete(ctx, damaged) })
}

// discardQuietly removes bytes that no row names. What goes wrong does not make
// wrong what was done, and the sweep finds them.
func (r *Registry) discardQuietly(ctx context.Context, remove func(context.Context) error) {
	if err := remove(ctx); err != nil {
		r.o.Log.Warn("bytes that are not needed stay for the sweep", "err", err)
	}
}

// A Source may have bytes that the registry has lost.
type Source interface {
	// OpenBlob returns the bytes of the digest, which were kept under the key.
	// Whoever reads them verifies them. Errors: blob.ErrNotExist.
	OpenBlob(ctx context.Context, d oci.Digest, key string) (io.ReadCloser, error)
}

// A StoreSource is another store that holds a copy of all or some of the bytes:
// under the same keys, or where Distribution keeps them, as an export does.
type StoreSource struct{ Store blob.Store }

// OpenBlob implements Source.
func (s StoreSource) OpenBlob(ctx context.Context, d oci.Digest, key string) (io.ReadCloser, error) {
	o, err := s.Store.Open(ctx, key)
	if errors.Is(err, blob.ErrNotExist) {
		o, err = s.Store.Open(ctx, layout.BlobPath(d))
	}
	if err != nil {
		return nil, err
	}
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	return &openObject{rc, o}, nil
}

// healFrom gives b, whose bytes are damaged, those of the first source that has
// them whole, and reports whether there was one. A source that fails is passed by.
func (r *Registry) healFrom(ctx context.Context, b meta.Blob, sources []Source) (bool, error) {
	for _, s := range sources {
		rc, err := s.OpenBlob(ctx, b.Digest, b.Key)
		if err == nil {
			var healed bool
			healed, err = r.heal(ctx, b, rc)
			if err = errors.Join(err, rc.Close()); healed {
				return true, nil
			}
		}
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if err != nil && !errors.Is(err, blob.ErrNotExist) {
			r.o.Log.Warn("a damaged blob could not be healed from a source", "digest", b.Digest, "error", err)
		}
	}
	return false, nil
}

// heal stores what is read under a new key, and gives it to b, if it is right.
func (r *Registry) heal(ctx context.Context, b meta.Blob, from io.Reader) (bool, error) {
	key, err := r.newKey()
	if err != nil {
		return false, err
	}
	w, err := r.store.Create(ctx, key)
	if err != nil {
		return false, err
	}
	h := b.Digest.Algorithm().New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(from, b.Size+1))
	if err == nil && (n != b.Size || oci.SumDigest(b.Digest.Algorithm(), h) != b.Digest) {
		err = errors.New("the bytes of the source are damaged too")
	}
	var info blob.Info
	if err == nil {
		info, err = w.Commit(ctx)
	}
	if err != nil {
		return false, errors.Join(err, w.Abort(context.WithoutCancel(ctx)))
	}
	next := meta.Blob{Digest: b.Digest, Size: b.Size, Key: key, Stamp: info.Stamp}
	var settled meta.Blob
	release := r.absent.hold(b.Digest)
	err = r.db.Grow(ctx, func(tx *meta.Tx) (err error) {
		settled, err = tx.PutBlob(next, b.Key, r.o.Now())
		return err
	})
	release()
	if errors.Is(err, meta.ErrUnknownOutcome) {
		return false, err // whether these bytes are somebody's is not known
	}
	if err != nil || settled.Key != key {
		r.discardQuietly(context.WithoutCancel(ctx), func(ctx context.Context) error { return r.store.Delete(ctx, key) })
		return err == nil, err
	}
	r.healed(ctx, settled, b.Key)
	return true, nil
}
