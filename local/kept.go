package local

import (
	"context"
	"errors"
	"time"

	"berth/meta"
)

// keptBytes is how much of an upload a crash may take back: where there is more,
// it is made durable when the request is over.
const keptBytes = 4 << 20

// keep puts the upload aside in memory, for the next request to go on with, and
// reports whether it has. The bytes of most uploads then become durable once,
// when they are committed. The caller holds the lock of u.
func (r *Registry) keep(u *upload) bool {
	if r.o.KeptUploads == 0 || u.size-u.saved > keptBytes {
		return false
	}
	if u.w != nil {
		state, err := u.w.Mark()
		if err != nil || u.fill(state) != nil {
			return false
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) >= r.o.KeptUploads || r.writers[u.row.ID] != u {
		return false
	}
	next := &upload{r: r, row: u.row, named: u.named, saved: u.saved, w: u.w, hash: u.hash, size: u.size}
	next.row.Updated = r.o.Now()
	delete(r.writers, u.row.ID)
	r.kept[u.row.ID] = next
	u.ended = errOver
	return true
}

// takeUp gives u what was kept of its upload, if it was. The caller holds the
// lock of r.
func (r *Registry) takeUp(u *upload) bool {
	k := r.kept[u.row.ID]
	if k == nil {
		return false
	}
	delete(r.kept, u.row.ID)
	base := k.row
	u.row, u.base, u.named, u.saved, u.w, u.hash, u.size = k.row, &base, k.named, k.saved, k.w, k.hash, k.size
	return true
}

// keptBase returns the upload as it was kept last, or nil when the database
// knows better.
func (r *Registry) keptBase(id string) *meta.Upload {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.kept[id]; k != nil {
		row := k.row
		return &row
	}
	if u := r.writers[id]; u != nil {
		return u.base
	}
	return nil
}

// setBase tells u, who is a writer already, where it goes on.
func (r *Registry) setBase(u *upload, base *meta.Upload) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u.base = base
}

// SaveUploads makes the kept uploads durable with which nobody went on for idle.
// It goes on after a failure, and returns all of them.
func (r *Registry) SaveUploads(ctx context.Context, idle time.Duration) error {
	before := r.o.Now().Add(-idle)
	var due []*upload
	r.mu.Lock()
	for id, k := range r.kept {
		if k.row.Updated.After(before) {
			continue
		}
		u := &upload{r: r, ctx: ctx, row: meta.Upload{ID: id}}
		r.takeUp(u)
		r.writers[id] = u
		due = append(due, u)
	}
	r.mu.Unlock()
	var errs []error
	for _, u := range due {
		u.mu.Lock()
		if u.ended == nil {
			errs = append(errs, u.save(ctx))
		}
		u.mu.Unlock()
	}
	return errors.Join(errs...)
}
