package local

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/errgroup"

	"berth/registry"
)

// errTransfer is the error of a transfer beside another one.
var errTransfer = errors.New("another import or export is at work: wait for its end")

// A transfer counts what is done, and tells who watches. It is safe for
// concurrent use.
type transfer struct {
	watch registry.Watch

	mu    sync.Mutex
	total registry.Transfer
}

func (t *transfer) count(change func(*registry.Transfer)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.total)
	if t.watch.Progress != nil {
		t.watch.Progress(t.total)
	}
}

// found tells of what is left out. It is lost when the one registry serves it,
// and the other will not.
func (t *transfer) found(lost bool, path, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.Findings++
	if lost {
		t.total.Lost++
	}
	if t.watch.Found != nil {
		t.watch.Found(registry.Finding{Path: path, Reason: reason, Lost: lost})
	}
}

// each calls do for every item, so many at a time, until one returns an error.
func each[T any](ctx context.Context, atOnce int, items []T, do func(context.Context, *T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range items {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(ctx, &items[i])
		})
	}
	return group.Wait()
}
