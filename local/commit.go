package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"berth/blob"
	"berth/meta"
	"berth/oci"
)

// Commit implements registry.Upload.
func (u *upload) Commit(ctx context.Context, d oci.Digest) (oci.Descriptor, error) {
	ctx = context.WithoutCancel(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return oci.Descriptor{}, u.ended
	}
	defer u.end(errOver)
	b, err := u.commit(ctx, d)
	if err != nil {
		return oci.Descriptor{}, storage(errors.Join(err, u.abandon(ctx, err)))
	}
	return describeBlob(b), nil
}

// abandon gives the upload up after a commit that failed with why, but leaves
// the bytes where they are, or may be, somebody's.
func (u *upload) abandon(ctx context.Context, why error) error {
	if errors.Is(why, oci.Conflict) || errors.Is(why, meta.ErrUnknownOutcome) {
		u.release(ctx)
		return nil
	}
	err := u.discard(ctx)
	if err != nil {
		u.release(ctx)
	}
	return err
}

// release lets go of the stream, whose bytes stay.
func (u *upload) release(ctx context.Context) {
	if u.w != nil {
		_, _ = u.w.Suspend(ctx) // only closes: its state is not kept
	}
}

// commit names the bytes, or, where the registry has them already, those that
// are there: then these need not become durable.
func (u *upload) commit(ctx context.Context, d oci.Digest) (meta.Blob, error) {
	hashed := d.Algorithm() == u.row.Algorithm
	if hashed && oci.SumDigest(u.row.Algorithm, u.hash) != d {
		return meta.Blob{}, wrongDigest()
	}
	have, damaged, err := u.r.lookUp(ctx, d)
	if err != nil {
		return meta.Blob{}, err
	}
	if have && hashed {
		b, err := u.name(ctx, meta.Blob{Digest: d}, "")
		if !errors.Is(err, errNotThere) {
			return b, err
		}
	}
	info, err := u.store(ctx)
	if err != nil {
		return meta.Blob{}, err
	}
	if !hashed {
		if err := u.compare(ctx, d); err != nil {
			return meta.Blob{}, err
		}
	}
	return u.name(ctx, meta.Blob{Digest: d, Size: info.Size, Key: u.row.Key, Stamp: info.Stamp}, damaged)
}

func wrongDigest() error {
	return oci.Errorf(oci.DigestInvalid, "the content has another digest")
}

// lookUp reports whether the registry has the bytes of d, and otherwise under
// which key they should be but are not, if there is one.
func (r *Registry) lookUp(ctx context.Context, d oci.Digest) (have bool, damaged string, err error) {
	if _, absent := r.absent.get(d); absent {
		return false, "", nil
	}
	var row meta.Blob
	err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
		row, err = tx.Blob(d)
		return err
	})
	if errors.Is(err, meta.ErrNotExist) {
		return false, "", nil
	}
	if err != nil {
		return false, "", err
	}
	have, err = r.isWhole(ctx, row)
	if have || err != nil {
		return have, "", err
	}
	return false, row.Key, nil
}

// store makes the bytes durable. After an error they must be given up.
func (u *upload) store(ctx context.Context) (blob.Info, error) {
	if err := u.begin(ctx); err != nil {
		return blob.Info{}, err
	}
	info, err := u.w.Commit(ctx)
	if err == nil && info.Size != u.size {
		err = fmt.Errorf("the store holds %d bytes of %d", info.Size, u.size)
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("store upload: %w", err)
	}
	return info, nil
}

// compare reads the stored bytes with the algorithm of d.
func (u *upload) compare(ctx context.Context, d oci.Digest) error {
	o, err := u.r.store.Open(ctx, u.row.Key)
	if err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	defer o.Close()
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	defer rc.Close()
	h := d.Algorithm().New()
	if _, err := io.Copy(h, rc); err != nil {
		return fmt.Errorf("read upload: %w", err)
	}
	if oci.SumDigest(d.Algorithm(), h) != d {
		return wrongDigest()
	}
	return nil
}

// errNotThere says that the bytes that were there are not there any more.
var errNotThere = errors.New("the blob is gone")

// name makes b a blob of the repository and ends the upload, in one transaction.
// Where the digest has bytes already, they stay, unless they are those under the
// key damaged. A b without a key must have some: errNotThere, and nothing is
// done.
func (u *upload) name(ctx context.Context, b meta.Blob, damaged string) (meta.Blob, error) {
	var named meta.Blob
	now := u.r.o.Now()
	defer u.r.absent.hold(b.Digest)()
	if u.named {
		defer u.r.saved.hold(u.row.Owner)()
	}
	err := u.r.db.Grow(ctx, func(tx *meta.Tx) error {
		if u.named {
			err := tx.DeleteUpload(u.row.ID, u.row.Epoch)
			if errors.Is(err, meta.ErrNotExist) {
				return errOvertaken
			}
			if err != nil {
				return err
			}
		}
		return u.r.bounded(tx, u.row.Repository, func() (err error) {
			if named, err = settleBlob(tx, b, damaged, now); err != nil {
				return err
			}
			if err := u.checkKept(tx, named, now); err != nil {
				return err
			}
			return tx.LinkBlob(u.row.Repository, named, now)
		})
	})
	if err != nil {
		return meta.Blob{}, err
	}
	if named.Key != u.row.Key {
		u.r.discardQuietly(ctx, u.drop)
		return named, nil
	}
	u.r.healed(ctx, b, damaged)
	return named, nil
}

// checkKept refuses bytes that the sweep has given up: those of an upload that
// lasts for days in one request, and that no row knows.
func (u *upload) checkKept(tx *meta.Tx, named meta.Blob, now time.Time) error {
	if named.Key != u.row.Key || now.Sub(u.row.Created) < u.r.o.Grace {
		return nil
	}
	gone, err := tx.IsDeleted(named.Key)
	if err == nil && gone {
		err = unknownUpload()
	}
	return err
}
