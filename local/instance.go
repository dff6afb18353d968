package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"berth/blob"
	"berth/meta"
)

// InstanceSetting names the setting that marks a database, once a registry has
// been opened on it.
const InstanceSetting = "instance"

const (
	instanceKey = "berth-instance"
	maxInstance = 1 << 10 // bytes of the mark in the store
)

// ErrInstance is wrapped by the error of Open when database and blob store do
// not belong together: one of them was lost, replaced or confused with another.
// To go on would be to serve names without bytes, and later to take bytes for
// garbage whose names are elsewhere.
var ErrInstance = errors.New("the database and the blob store do not belong together")

// checkInstance compares the mark in the database with that in the store, and
// makes both when they are new. The one in the database comes first, so that a
// store that is marked always has its database.
func (r *Registry) checkInstance(ctx context.Context) error {
	inStore, err := r.readInstance(ctx)
	if err != nil {
		return err
	}
	var inDatabase string
	var hasBlobs bool
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		inDatabase, err = tx.Setting(InstanceSetting)
		if err != nil && !errors.Is(err, meta.ErrNotExist) {
			return err
		}
		hasBlobs, err = tx.HasBlobs()
		return err
	})
	if err != nil {
		return fmt.Errorf("read the mark of the database: %w", err)
	}
	if !r.o.Adopting {
		if err := r.checkAdopted(ctx, inDatabase == "" && inStore == ""); err != nil {
			return err
		}
	}
	switch {
	case inDatabase != "" && inDatabase == inStore:
		return nil
	case inDatabase == "" && inStore != "":
		return fmt.Errorf("%w: the store is that of instance %s, and the database is new", ErrInstance, inStore)
	case inStore != "":
		return fmt.Errorf("%w: the store is that of instance %s, the database that of %s", ErrInstance, inStore, inDatabase)
	case hasBlobs:
		return fmt.Errorf("%w: the database is that of instance %s, and the store has no mark", ErrInstance, inDatabase)
	}
	return r.markInstance(ctx, inDatabase)
}

// markInstance marks the store with id, and the database as well when id is "".
func (r *Registry) markInstance(ctx context.Context, id string) error {
	if id == "" {
		var err error
		if id, err = r.random(); err != nil {
			return err
		}
		err = r.db.Update(ctx, func(tx *meta.Tx) error {
			there, err := tx.Setting(InstanceSetting) // of another node, since
			if errors.Is(err, meta.ErrNotExist) {
				return tx.PutSetting(InstanceSetting, id)
			}
			id = there
			return err
		})
		if err != nil {
			return fmt.Errorf("mark the database: %w", err)
		}
	}
	var err error
	if !r.o.Shared {
		err = r.store.Delete(ctx, instanceKey) // what a crash left here unfinished is in the way of Create
	}
	if err == nil {
		_, err = r.storeBytes(ctx, instanceKey, []byte(id+"\n"))
	}
	if err == nil {
		return nil
	}
	if there, again := r.readInstance(ctx); again == nil && there == id {
		return nil // another node was quicker
	}
	return fmt.Errorf("mark the blob store: %w", err)
}

// readInstance returns the mark of the store, "" when it has none.
func (r *Registry) readInstance(ctx context.Context) (string, error) {
	o, err := r.store.Open(ctx, instanceKey)
	if errors.Is(err, blob.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the mark of the blob store: %w", err)
	}
	defer o.Close()
	if size := o.Info().Size; size == 0 || size > maxInstance {
		return "", fmt.Errorf("read the mark of the blob store: it has %d bytes", size)
	}
	b, err := readObject(ctx, o)
	if err != nil {
		return "", fmt.Errorf("read the mark of the blob store: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// CheckStore returns an error unless the store answers, and is the one that belongs
// to the database. It wraps ErrInstance when it is not.
func (r *Registry) CheckStore(ctx context.Context) error {
	inStore, err := r.readInstance(ctx)
	if err != nil {
		return err
	}
	var inDatabase string
	err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
		inDatabase, err = tx.Setting(InstanceSetting)
		return err
	})
	if err == nil && inStore != inDatabase {
		err = fmt.Errorf("%w: the mark of the store is %q, and that of the database %q", ErrInstance, inStore, inDatabase)
	}
	return err
}

// readObject returns the bytes of a small object.
func readObject(ctx context.Context, o blob.Object) ([]byte, error) {
	rc, err := o.Range(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	b := make([]byte, o.Info().Size)
	_, err = io.ReadFull(rc, b)
	return b, err
}

// storeBytes commits data under a new key, or leaves nothing there.
func (r *Registry) storeBytes(ctx context.Context, key string, data []byte) (blob.Info, error) {
	w, err := r.store.Create(ctx, key)
	if err != nil {
		return blob.Info{}, err
	}
	_, err = w.Write(data)
	var info blob.Info
	if err == nil {
		info, err = w.Commit(ctx)
	}
	if err != nil {
		return info, errors.Join(err, w.Abort(ctx))
	}
	return info, nil
}
