package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

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
	// strays: it went on from a state without parts, so that whoever did the same
	// may have left some.
	strays bool
	mark   *mark // what Mark returned last, nil if it never did
}

func (s *Store) newWriter(ctx context.Context, key string) *writer {
	w := &writer{store: s, key: key}
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
	if err := w.readTail(ctx, st); err != nil {
		return err
	}
	return w.take(ctx, st)
}

// take takes over what st says beside the rest.
func (w *writer) take(ctx context.Context, st state) error {
	if st.Sent > 0 {
		parts, err := w.store.bucket.Assemble(ctx, w.name(), st.Parts)
		if err != nil {
			return err
		}
		w.parts = parts
	}
	w.sent, w.tail, w.before, w.strays = st.Sent, st.Tail, st.Before, st.Sent == 0
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
	r := &reader{store: w.store, name: name, ctx: ctx, n: n}
	defer r.Close()
	w.rest = w.rest[:n]
	_, err := io.ReadFull(r, w.rest)
	return stale(err)
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
		part := w.part()
		if len(w.rest) >= part {
			if err := w.send(part); err != nil {
				return taken, fmt.Errorf("write blob %s: %w", w.key, err)
			}
			continue
		}
		n := min(len(p)-taken, part-len(w.rest))
		w.grow(n)
		w.rest = append(w.rest, p[taken:taken+n]...)
		taken += n
		w.size.Add(int64(n))
	}
}

// part is the size of the next part. The caller holds the lock.
func (w *writer) part() int {
	part := w.store.o.Part
	if w.store.o.Grow && w.mark == nil && w.sent >= growAfter*int64(part) {
		return wholeMemory
	}
	return part
}

// send puts the first n bytes of the rest on their way as a part, once the part
// before has arrived. Where there is no memory beside the part, or a mark takes
// it, it waits for it. The caller holds the lock.
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
	if n > MaxPart || w.mark != nil {
		return w.land()
	}
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

// state returns how far the writer is. The caller holds the lock.
func (w *writer) state(tail, before string) (st state, err error) {
	st = state{Size: w.Size(), Sent: w.sent, Tail: tail, Before: before}
	if w.parts != nil {
		st.Parts, err = w.parts.State()
	}
	return st, err
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
	st, err := w.suspend(ctx)
	if err != nil {
		w.phase = failed
		return nil, fmt.Errorf("suspend blob %s: %w", w.key, w.overtaken(err))
	}
	w.end()
	return json.Marshal(st)
}

// suspend sends what is worth a part, and makes a tail of the rest.
func (w *writer) suspend(ctx context.Context) (st state, err error) {
	if n := len(w.rest) - len(w.rest)%w.store.o.Align; n >= max(shortTail, w.store.o.Least) {
		if err := w.send(n); err != nil {
			return st, err
		}
	}
	if err := w.land(); err != nil {
		return st, err
	}
	tail := newTail(w.sent)
	if _, err := w.store.bucket.Put(ctx, w.name()+tail, w.rest); err != nil {
		return st, err
	}
	w.store.tidyTail(ctx, w.name(), w.before)
	return w.state(tail, w.tail)
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
		// Parts are too, unless they were begun here.
		if w.parts != nil && (errors.Is(err, ErrExists) || w.tail == "" || w.strays) {
			w.store.tidy(ctx, w.name(), w.parts.Drop)
		}
		w.end()
		return blob.Info{}, fmt.Errorf("commit blob %s: %w", w.key, blob.ErrStale)
	case err != nil:
		w.phase, w.unsure = failed, true
		return blob.Info{}, fmt.Errorf("commit blob %s: %w", w.key, err)
	}
	w.tidy(ctx)
	w.end()
	return info, nil
}

// tidy removes what a stream that is committed needs no more.
func (w *writer) tidy(ctx context.Context) {
	for _, tail := range []string{w.before, w.tail} {
		w.store.tidyTail(ctx, w.name(), tail)
	}
	if attic, ok := w.store.bucket.(Attic); ok && w.strays {
		w.store.tidy(ctx, w.name(), func(ctx context.Context) error { return attic.DropAll(ctx, w.name()) })
	}
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

// stop ends a writer that is overtaken, and returns where it was marked, nil if
// it was not. What it has sent belongs to the other.
func (w *writer) stop() *mark {
	w.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.mark
	w.end()
	return m
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
	w.rest, w.mark = nil, nil
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.writers[w.key] == w {
		delete(w.store.writers, w.key)
	}
}

// tidyTail removes a tail that is not needed any more, if there is one.
func (s *Store) tidyTail(ctx context.Context, name, tail string) {
	if tail != "" {
		s.tidy(ctx, name+tail, func(ctx context.Context) error { return s.bucket.Delete(ctx, name+tail) })
	}
}

// tidy removes what is not needed any more. What stays is removed with its key.
func (s *Store) tidy(ctx context.Context, name string, remove func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, cleanUp)
	defer cancel()
	if err := remove(ctx); err != nil {
		s.o.Log.Warn("what is left of an upload could not be removed, and goes with its blob", "object", name, "error", err)
	}
}
