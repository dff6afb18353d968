package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"berth/blob"
	"berth/meta"
)

// ErrEpoch is wrapped by the error of a sweep when database and blob store do not
// agree on how often a backup was restored: one of them was put back behind the
// other.
var ErrEpoch = errors.New("the database and the blob store are of different restores")

const (
	restoreSetting = "restore"
	// epochPrefix is where the store keeps a mark for each epoch but the first,
	// which is 0.
	epochPrefix = "berth-epoch/"
)

// A restore is the last time that a backup of the database was put in its place.
// What was written between the backup and its restore has bytes without names,
// which somebody may want to find.
type restore struct {
	Epoch    int       `json:"epoch"`
	Backup   time.Time `json:"backup"`
	Restored time.Time `json:"restored"`
}

// spares reports whether the sweep must leave alone what was last written at that
// time, however long it is unknown. slack is added at both ends.
func (s restore) spares(written time.Time, slack time.Duration) bool {
	return s.Epoch > 0 && !written.Before(s.Backup.Add(-slack)) && !written.After(s.Restored.Add(slack))
}

// BeginEpoch begins another epoch, in the store and in a database that was restored
// from a backup made at that time, in the transaction that restores it. Called again
// after a failure, it begins one more, which does no harm. Uploads in flight are
// forgotten. Errors: ErrInstance.
func BeginEpoch(ctx context.Context, store blob.Store, tx *meta.Tx, backup, now time.Time) error {
	r := &Registry{store: store}
	if err := r.checkRestored(ctx, tx); err != nil {
		return err
	}
	inStore, err := r.storeEpoch(ctx)
	if err != nil {
		return err
	}
	before, err := restoreIn(tx)
	if err != nil {
		return err
	}
	next := restore{Epoch: max(inStore, before.Epoch) + 1, Backup: backup, Restored: now}
	if before.Epoch > 0 && before.Backup.Before(backup) {
		next.Backup = before.Backup // what that restore spared stays spared
	}
	mark := fmt.Sprintf("%s%08d", epochPrefix, next.Epoch)
	if _, err := r.storeBytes(ctx, mark, []byte(next.Restored.UTC().Format(time.RFC3339)+"\n")); err != nil {
		return fmt.Errorf("mark the restore in the blob store: %w", err)
	}
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("mark the restore: %w", err)
	}
	// What was in flight may have been committed since: its bytes are not to go
	// with the upload.
	if err := errors.Join(tx.PutSetting(restoreSetting, string(data)), tx.DeleteUploads()); err != nil {
		return fmt.Errorf("mark the restore in the database: %w", err)
	}
	return nil
}

// checkRestored compares the mark of the store with that in a database. Errors:
// ErrInstance.
func (r *Registry) checkRestored(ctx context.Context, tx *meta.Tx) error {
	inStore, err := r.readInstance(ctx)
	if err != nil {
		return err
	}
	inDatabase, err := tx.Setting(InstanceSetting)
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return fmt.Errorf("read the mark of the backup: %w", err)
	}
	if inStore == "" || inStore != inDatabase {
		return fmt.Errorf("%w: the store is that of instance %q, the backup that of %q", ErrInstance, inStore, inDatabase)
	}
	return nil
}

func (r *Registry) lastRestore(ctx context.Context) (s restore, err error) {
	err = r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		s, err = restoreIn(tx)
		return err
	})
	return s, err
}

func restoreIn(tx *meta.Tx) (s restore, err error) {
	text, err := tx.Setting(restoreSetting)
	if errors.Is(err, meta.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &s)
	}
	if err != nil {
		err = fmt.Errorf("read the last restore: %w", err)
	}
	return s, err
}

func (r *Registry) storeEpoch(ctx context.Context) (int, error) {
	epoch := 0
	err := r.store.List(ctx, epochPrefix, func(e blob.Entry) bool {
		text, ok := strings.CutPrefix(e.Key, epochPrefix)
		if !ok {
			return false
		}
		if n, err := strconv.Atoi(text); err == nil {
			epoch = max(epoch, n)
		}
		return true
	})
	if err != nil {
		return 0, fmt.Errorf("read the epoch of the blob store: %w", err)
	}
	return epoch, nil
}

// checkRestore compares the marks in database and store, as Open does, and their
// epochs, and returns the last restore. Errors: ErrInstance, ErrEpoch.
func (r *Registry) checkRestore(ctx context.Context) (restore, error) {
	inStore, err := r.readInstance(ctx)
	if err != nil {
		return restore{}, err
	}
	var inDatabase string
	err = r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		inDatabase, err = tx.Setting(InstanceSetting)
		return err
	})
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return restore{}, fmt.Errorf("read the mark of the database: %w", err)
	}
	if inStore == "" || inStore != inDatabase {
		return restore{}, fmt.Errorf("%w: the store is that of instance %q, the database that of %q", ErrInstance, inStore, inDatabase)
	}
	last, err := r.lastRestore(ctx)
	if err != nil {
		return restore{}, err
	}
	epoch, err := r.storeEpoch(ctx)
	if err != nil {
		return restore{}, err
	}
	if epoch != last.Epoch {
		return restore{}, fmt.Errorf("%w: epoch %d in the store, %d in the database", ErrEpoch, epoch, last.Epoch)
	}
	return last, nil
}
