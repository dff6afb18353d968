package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"berth/blob"
)

// A phase is how far a writer has come.
type phase int

const (
	writing phase = iota
	failed        // something of it was lost: only Abort is left
	over          // ended, or overtaken
)

// A writer sends a stream in parts. Its lock is held during every call; whoever
// overtakes it cancels what the call waits for.
type writer struct {
	store *Store
	key   string
	begun time.Time
	size  atomic.Int64
	// alive ends when the writer does. What it waits for outlives the request
	// that it was begun in.
	alive  context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	phase  phase
	unsure bool     // Commit failed, and may have made the object all the same
	sent   int64    // bytes in parts, or on their way
	rest   []byte   // what comes after them
	parts  Assembly // nil until there is a part
	flight chan error
	// tail and before are those of the state that it went on from.
	tail, before string
}

func (s *Store) newWriter(ctx context.Context, key string) *writer {
	w := &writer{store: s, key: key, begun: time.Now()}
	w.alive, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return w
}

func (w *writer) name() string { return w.store.name(w.key) }

// Size implements blob.Writer.
func (w *writer) Size() int64 { return w.size.Load() }

// during returns ctx, which ends when the writer does as well.
func (w *writer) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.alive, cancel)
	return ctx, func() { stop(); cancel() }
}

// restore goes on from st. The caller holds the lock.
func (w *writer) restore(ctx context.Context, st state) error {
	ctx, done := w.during(ctx)
	defer done()
	w.grow(int(st.Size - st.Sent))
	if st.Marked {
		w.rest = append(w.rest, st.Rest...)
	} else if err := w.readTail(ctx, st); err != nil {
		return err
	}
	if st.Sent > 0 {
		parts, err := w.store.bucket.Assemble(ctx, w.name(), st.Parts)
		if err != nil {
			return err
		}
		w.parts = parts
	}
	w.sent, w.tail, w.before = st.Sent, st.Tail, st.Before
	w.size.Store(st.Size)
	return nil
}

// readTail reads the tail of st, which shows that the state is still good.
func (w *writer) readTail(ctx context.Context, st state) error {
	name := w.name() + st.Tail
	n := st.Size - st.Sent
	if n == 0 {
		_, err := w.store.bucket.Stat(ctx, name)
		return stale(err)
	}
	rc, err := w.store.bucket.Get(ctx, name, "", 0, n)
	if err != nil {
		return stale(err)
	}
	defer rc.Close()
	w.rest = w.rest[:n]
	_, err = io.ReadFull(rc, w.rest)
	return err
}

func stale(err error) error {
	if errors.Is(err, blob.ErrNotExist) {
		return blob.ErrStale
	}
	return err
}

// Write implements blob.Writer. It fails when a part before has failed.
func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := 0
	for {
		if w.phase != writing || w.alive.Err() != nil {
			return taken, blob.ErrStale
		}
		if taken == len(p) {
			return taken, nil
		}
		if len(w.rest) >= w.store.o.Part {
			if err := w.send(w.store.o.Part); err != nil {
				return taken, fmt.Errorf("write blob %s: %w", w.key, err)
			}
			continue
		}
		n := min(len(p)-taken, w.store.o.Part-len(w.rest))
		w.grow(n)
		w.rest = append(w.rest, p[taken:taken+n]...)
		taken += n
		w.size.Add(int64(n))
	}
}

// send puts the first n bytes of the rest on their way as a part, once the part
// before has arrived. The caller holds the lock.
func (w *writer) send(n int) error {
	if err := w.land(); err != nil {
		return err
	}
	part := w.rest
	w.rest = nil
	w.grow(len(part) - n)
	w.rest = append(w.rest, part[n:]...)
	w.sent += int64(n)
	flight := make(chan error, 1)
	w.flight = flight
	go func() {
		err := w.add(part[:n])
		w.store.release(part)
		flight <- err
	}()
	return nil
}

// add sends a part. It is alone with the parts until its flight has landed.
func (w *writer) add(part []byte) error {
	if w.parts == nil {
		parts, err := w.store.bucket.Assemble(w.alive, w.name(), nil)
		if err != nil {
			return err
		}
		w.parts = parts
	}
	return w.parts.Add(w.alive, part)
}

// land waits for the part that is on its way. The caller holds the lock.
func (w *writer) land() error {
	if w.flight == nil {
		return nil
	}
	err := <-w.flight
	w.flight = nil
	if err != nil {
		w.phase = failed
	}
	return w.overtaken(err)
}

// overtaken returns err, or ErrStale where that is why.
func (w *writer) overtaken(err error) error {
	if err != nil && w.alive.Err() != nil {
		return blob.ErrStale
	}
	return err
}

// Mark implements blob.Writer. It keeps what comes after the last part in the
// state, and fails where that is much.
func (w *writer) Mark() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing || w.alive.Err() != nil {
		return nil, blob.ErrStale
	}
	if len(w.rest) > maxMarked {
		return nil, fmt.Errorf("mark blob %s: %d bytes are not sent yet", w.key, len(w.rest))
	}
	if err := w.land(); err != nil {
		return nil, err
	}
	return w.state(state{Marked: true, Rest: w.rest, Tail: w.tail, Before: w.before})
}

// state fills in how far the writer is. The caller holds the lock.
func (w *writer) state(st state) ([]byte, error) {
	st.Size, st.Sent = w.Size(), w.sent
	if w.parts != nil {
		var err error
		if st.Parts, err = w.parts.State(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(st)
}

// Suspend implements blob.Writer.
func (w *writer) Suspend(ctx context.Context) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing || w.alive.Err() != nil {
		return nil, blob.ErrStale
	}
	ctx, done := w.during(ctx)
	defer done()
	data, err := w.suspend(ctx)
	if err != nil {
		w.phase = failed
		return nil, fmt.Errorf("suspend blob %s: %w", w.key, w.overtaken(err))
	}
	w.end()
	return data, nil
}

// suspend sends what is worth a part, and makes a tail of the rest.
func (w *writer) suspend(ctx context.Context) ([]byte, error) {
	if n := len(w.rest) - len(w.rest)%w.store.o.Align; n >= max(shortTail, w.store.o.Least) {
		if err := w.send(n); err != nil {
			return nil, err
		}
	}
	if err := w.land(); err != nil {
		return nil, err
	}
	tail := newTail(w.sent)
	if _, err := w.store.bucket.Put(ctx, w.name()+tail, w.rest); err != nil {
		return nil, err
	}
	if w.before != "" {
		w.store.tidy(ctx, w.name()+w.before)
	}
	return w.state(state{Tail: tail, Before: w.tail})
}

// Commit implements blob.Writer.
func (w *writer) Commit(ctx context.Context) (blob.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing || w.alive.Err() != nil {
		return blob.Info{}, blob.ErrStale
	}
	during, done := w.during(ctx)
	defer done()
	info, err := w.commit(during)
	switch err = w.overtaken(err); {
	case errors.Is(err, ErrExists), errors.Is(err, blob.ErrStale):
		// What there is belongs to whoever was faster, and is not Abort's.
		w.end()
		return blob.Info{}, fmt.Errorf("commit blob %s: %w", w.key, blob.ErrStale)
	case err != nil:
		w.phase, w.unsure = failed, true
		return blob.Info{}, fmt.Errorf("commit blob %s: %w", w.key, err)
	}
	for _, tail := range []string{w.before, w.tail} {
		if tail != "" {
			w.store.tidy(ctx, w.name()+tail)
		}
	}
	w.end()
	return info, nil
}

func (w *writer) commit(ctx context.Context) (info blob.Info, err error) {
	if err := w.land(); err != nil {
		return info, err
	}
	if w.parts == nil {
		info, err = w.store.bucket.Put(ctx, w.name(), w.rest)
	} else {
		info, err = w.parts.Finish(ctx, w.rest)
	}
	if err == nil && info.Size != w.Size() {
		err = fmt.Errorf("object has %d bytes, %d were written", info.Size, w.Size())
	}
	return info, err
}

// Abort implements blob.Writer.
func (w *writer) Abort(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == over || w.alive.Err() != nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	err := w.clear(ctx)
	if w.unsure {
		err = errors.Join(err, w.store.bucket.Delete(ctx, w.name()))
	}
	w.end()
	if err != nil {
		return fmt.Errorf("give up blob %s: %w", w.key, err)
	}
	return nil
}

// giveUp does what Abort does, in the place of whoever has the writer.
func (w *writer) giveUp(ctx context.Context) error {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == over {
		return nil
	}
	err := w.clear(ctx)
	w.end()
	return err
}

// stop ends a writer that is overtaken. What it has sent belongs to the other.
func (w *writer) stop() {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
}

// clear removes parts and tails. The caller holds the lock.
func (w *writer) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanUp)
	defer cancel()
	_ = w.land() // what failed is given up as well
	var errs []error
	if w.parts != nil {
		errs = append(errs, w.parts.Drop(ctx))
	}
	for _, tail := range []string{w.before, w.tail} {
		if tail != "" {
			errs = append(errs, w.store.bucket.Delete(ctx, w.name()+tail))
		}
	}
	return errors.Join(errs...)
}

// end lets go of the stream. The caller holds the lock.
func (w *writer) end() {
	w.cancel()
	_ = w.land()
	w.phase = over
	w.store.release(w.rest)
	w.rest = nil
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.writers[w.key] == w {
		delete(w.store.writers, w.key)
	}
}

// tidy removes an object that is not needed any more. What stays is removed
// with its key.
func (s *Store) tidy(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, cleanUp)
	defer cancel()
	if err := s.bucket.Delete(ctx, name); err != nil {
		s.o.Log.Warn("what is left of an upload could not be removed, and goes with its blob", "object", name, "error", err)
	}
}
