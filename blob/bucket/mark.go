package bucket

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"berth/blob"
)

// A mark is a place in a stream that another writer of the Store can go on from.
type mark struct {
	name string
	state
	rest []byte // which nobody changes
}

// Mark implements blob.Writer. It keeps what comes after the last part in no more
// memory than it takes, and fails where that is much.
func (w *writer) Mark() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing || w.alive.Err() != nil {
		return nil, blob.ErrStale
	}
	if len(w.rest) > maxMarked || len(w.rest) >= w.store.o.Part {
		return nil, fmt.Errorf("mark blob %s: %d bytes are not sent yet", w.key, len(w.rest))
	}
	if err := w.land(); err != nil {
		return nil, err
	}
	st, err := w.state(w.tail, w.before)
	if err != nil {
		return nil, err
	}
	rest := append(make([]byte, 0, len(w.rest)), w.rest...)
	w.store.release(w.rest)
	w.rest = rest
	w.mark = &mark{rand.Text(), st, rest}
	return json.Marshal(state{Marked: w.mark.name})
}

// goOn goes on from the mark m, which must have that name. The caller holds the
// lock.
func (w *writer) goOn(ctx context.Context, m *mark, name string) error {
	if m == nil || m.name != name {
		return blob.ErrStale
	}
	ctx, done := w.during(ctx)
	defer done()
	w.mark, w.rest = m, m.rest
	return w.take(ctx, m.state)
}
