package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"berth/blob"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

const (
	adoptedAtOnce = 256 // rows in a transaction
	listedAtOnce  = 1024
	readAtOnce    = 16 // small objects
)

// An adoption is one call of Adopt.
type adoption struct {
	transfer
	r *Registry
}

// Adopt implements registry.Mover. Blobs become rows whose key is Distribution's
// path, without a stamp, which means that nobody has verified them yet: they are
// when they are first read. Manifests are read, parsed and verified now. All of
// that is done in small transactions, each of which leaves out what is there
// already.
func (r *Registry) Adopt(ctx context.Context, o registry.AdoptOptions) (registry.Transfer, error) {
	if !r.transferring.TryLock() {
		return registry.Transfer{}, errTransfer
	}
	defer r.transferring.Unlock()
	a := &adoption{r: r, transfer: transfer{watch: o.Watch}}
	err := a.begin(ctx)
	if err == nil {
		err = a.blobs(ctx, o.Verify)
	}
	if err == nil {
		err = a.repositories(ctx)
	}
	if err == nil {
		err = r.setAdoptionState(ctx, adoptionComplete)
	}
	return a.total, storage(err)
}

// begin notes that the registry is not whole, unless it was before.
func (a *adoption) begin(ctx context.Context) error {
	for _, folder := range []string{layout.Repositories, layout.Blobs} {
		holds, err := a.r.holds(ctx, folder)
		if err != nil {
			return err
		}
		if holds {
			break
		}
		if folder == layout.Blobs {
			return errNothing
		}
	}
	if o, err := a.r.store.Open(ctx, layout.ForeignDatabase); err == nil {
		return errors.Join(fmt.Errorf("%s says that GitLab's registry keeps the names in a database of its own: what stands here is not all", layout.ForeignDatabase), o.Close())
	} else if !errors.Is(err, blob.ErrNotExist) {
		return err
	}
	state, err := a.r.adoptionState(ctx)
	if err != nil || state == adoptionComplete {
		return err
	}
	return a.r.setAdoptionState(ctx, adoptionBegun)
}

// list calls do with what is below the folder, many entries at a time.
func (a *adoption) list(ctx context.Context, folder string, do func([]blob.Entry) error) error {
	var entries []blob.Entry
	var failed error
	err := a.r.store.List(ctx, folder, func(e blob.Entry) bool {
		if !strings.HasPrefix(e.Key, folder) {
			return false
		}
		if entries = append(entries, e); len(entries) == listedAtOnce {
			failed = do(entries)
			entries = entries[:0]
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("list what Distribution keeps: %w", err)
	}
	return do(entries)
}

// blobs adopts the blobs, those too that no repository holds: they are garbage
// that is known.
func (a *adoption) blobs(ctx context.Context, verify bool) error {
	return a.list(ctx, layout.Blobs, func(entries []blob.Entry) error {
		list := make([]meta.Blob, 0, len(entries))
		for _, e := range entries {
			f := layout.Parse(e.Key)
			if f.Kind != layout.Blob {
				a.found(false, e.Key, strayReason(e.Key))
				continue
			}
			list = append(list, meta.Blob{Digest: f.Digest, Size: e.Size, Key: e.Key})
		}
		if verify {
			if err := each(ctx, runtime.GOMAXPROCS(0), list, a.verify); err != nil {
				return err
			}
		}
		return a.putBlobs(ctx, list)
	})
}

func strayReason(path string) string {
	if strings.HasSuffix(path, ".tmp") {
		return "a write was interrupted and left it"
	}
	return "Distribution's layout has no such file"
}

// verify gives the blob a stamp, when its bytes are those of its digest. Those
// that were verified before are not read again.
func (a *adoption) verify(ctx context.Context, b *meta.Blob) error {
	var row meta.Blob
	err := a.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		row, err = tx.Blob(b.Digest)
		return err
	})
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return err
	}
	o, err := a.r.store.Open(ctx, b.Key)
	if errors.Is(err, blob.ErrNotExist) {
		a.found(false, b.Key, "it cannot be read")
		return nil
	}
	if err != nil {
		return err
	}
	defer o.Close()
	info := o.Info()
	if row.Key == b.Key && row.Stamp != "" && row.Stamp == info.Stamp {
		b.Stamp = info.Stamp
		return nil
	}
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return fmt.Errorf("read %s: %w", b.Key, err)
	}
	defer rc.Close()
	h := b.Digest.Algorithm().New()
	if _, err := io.Copy(h, rc); err != nil {
		return fmt.Errorf("read %s: %w", b.Key, err)
	}
	a.count(func(t *registry.Transfer) { t.Verified++ })
	if oci.SumDigest(b.Digest.Algorithm(), h) != b.Digest {
		a.found(false, b.Key, "it is damaged: its bytes have another digest")
		return nil
	}
	b.Stamp = info.Stamp
	return nil
}

// putBlobs writes the rows.
func (a *adoption) putBlobs(ctx context.Context, list []meta.Blob) error {
	for i := 0; i < len(list); i += adoptedAtOnce {
		part := list[i:min(i+adoptedAtOnce, len(list))]
		err := a.change(ctx, func(tx *meta.Tx) error {
			for _, b := range part {
				if _, err := a.putBlob(tx, b); err != nil && !errors.Is(err, meta.ErrNotExist) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("adopt blobs: %w", err)
		}
		a.count(func(t *registry.Transfer) {
			t.Blobs += int64(len(part))
			for _, b := range part {
				t.Bytes += b.Size
			}
		})
	}
	return nil
}

// putBlob writes the row of bytes that stand under b.Key. The registry's own,
// under another key, stay; where a file was replaced, what is known of it is that
// of the new one. Errors: meta.ErrNotExist, when the sweep is about to delete the
// bytes and there are no others.
func (a *adoption) putBlob(tx *meta.Tx, b meta.Blob) (meta.Blob, error) {
	now := a.r.o.Now()
	if gone, err := tx.IsDeleted(b.Key); err != nil || gone {
		if err == nil {
			b, err = tx.Blob(b.Digest)
		}
		return b, err
	}
	there, err := tx.PutBlob(b, "", now)
	switch {
	case err != nil || there.Key != b.Key:
		return there, err
	case there.Size != b.Size:
		return tx.PutBlob(b, b.Key, now)
	case b.Stamp != "" && there.Stamp != b.Stamp:
		return there, tx.SetBlobStamp(b.Digest, b.Key, b.Stamp)
	}
	return there, nil
}

// change is a transaction that adds names while others read.
func (a *adoption) change(ctx context.Context, fn func(*meta.Tx) error) error {
	defer a.r.absent.holdAll()()
	defer a.r.blobs.holdAll()()
	defer a.r.manifests.holdAll()()
	return a.r.db.Grow(ctx, fn)
}
