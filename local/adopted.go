package local

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"berth/blob"
	"berth/layout"
	"berth/meta"
)

// ErrNotAdopted is wrapped by the error of Open when the store holds a registry
// of Distribution's that was not taken over, or not to the end: served as it is,
// it would look empty.
var ErrNotAdopted = errors.New("the blob store holds data of Distribution that berth has not taken over")

// errNothing is the error of Adopt where there is nothing to adopt.
var errNothing = errors.New("there are no data of Distribution here, which would be below docker/registry/v2: " +
	"storage must name the same root directory as in Distribution's configuration")

// The values of a setting that says how far the adoption is.
const (
	adoptionSetting  = "adoption"
	adoptionBegun    = "begun"
	adoptionComplete = "complete"
)

// checkAdopted returns ErrNotAdopted where Adopt has to be called first; isNew
// says that neither database nor store had a mark.
func (r *Registry) checkAdopted(ctx context.Context, isNew bool) error {
	state, err := r.adoptionState(ctx)
	if err != nil {
		return err
	}
	if state == adoptionBegun {
		return fmt.Errorf("%w: that was begun, and has not come to its end", ErrNotAdopted)
	}
	if !isNew {
		return nil
	}
	holds, err := r.holds(ctx, layout.Repositories)
	if err == nil && holds {
		err = ErrNotAdopted
	}
	return err
}

func (r *Registry) adoptionState(ctx context.Context) (state string, err error) {
	err = r.db.Lookup(ctx, func(tx *meta.Tx) error {
		state, err = tx.Setting(adoptionSetting)
		return err
	})
	if err != nil && !errors.Is(err, meta.ErrNotExist) {
		return "", fmt.Errorf("read how far the adoption is: %w", err)
	}
	return state, nil
}

func (r *Registry) setAdoptionState(ctx context.Context, state string) error {
	err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.PutSetting(adoptionSetting, state) })
	if err != nil {
		return fmt.Errorf("note how far the adoption is: %w", err)
	}
	return nil
}

// holds reports whether there is a key below the folder, which ends with a
// slash.
func (r *Registry) holds(ctx context.Context, folder string) (found bool, err error) {
	err = r.store.List(ctx, folder, func(e blob.Entry) bool {
		found = strings.HasPrefix(e.Key, folder)
		return false
	})
	if err != nil {
		return false, fmt.Errorf("look for data of Distribution: %w", err)
	}
	return found, nil
}
