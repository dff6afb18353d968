package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"berth/blob"
)

// state is what Mark and Suspend return, as JSON.
type state struct {
	Size  int64 `json:"size"`  // bytes to go on behind
	Named bool  `json:"named"` // as in the writer
}

// window is how many bytes are written to the disk at a time while more come.
const window = 8 << 20

// A phase is how far a writer has come.
type phase int

const (
	writing phase = iota
	failed        // a sync failed: only Abort is left
	over          // ended, or overtaken
)

// A writer appends to a file. Its lock is held during every call, so that one
// who overtakes it waits for the call to end.
type writer struct {
	store *Store
	key   string

	mu     sync.Mutex
	phase  phase
	file   *os.File
	size   int64
	behind int64 // bytes that the disk was told to write
	named  bool  // the file's entry in its folder is durable
}

// Create implements blob.Store.
func (s *Store) Create(_ context.Context, key string) (blob.Writer, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	f, err := s.createFile(key)
	if err != nil {
		return nil, fmt.Errorf("create blob %s: %w", key, noSpace(err))
	}
	return s.start(key, func(w *writer) error {
		w.file = f
		return nil
	})
}

func (s *Store) createFile(key string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := s.openFile(key, flags, modeWriting)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	if err := s.makeFolders(key); err != nil {
		return nil, err
	}
	return s.openFile(key, flags, modeWriting)
}

// Resume implements blob.Store.
func (s *Store) Resume(_ context.Context, key string, data []byte) (blob.Writer, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	var st state
	if err := json.Unmarshal(data, &st); err != nil || st.Size < 0 {
		return nil, fmt.Errorf("resume blob %s: state is not readable: %w", key, blob.ErrStale)
	}
	return s.start(key, func(w *writer) error {
		f, err := s.reopenFile(key, st.Size)
		if err != nil {
			return fmt.Errorf("resume blob %s: %w", key, err)
		}
		w.file, w.size, w.behind, w.named = f, st.Size, st.Size, st.Named
		return nil
	})
}

// reopenFile opens the file of key, which is not committed and holds at least
// size bytes, to write behind them. What it holds more is cut off.
func (s *Store) reopenFile(key string, size int64) (*os.File, error) {
	info, err := s.root.Lstat(key)
	if isNotExist(err) {
		return nil, blob.ErrStale
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || isCommitted(info.Mode()) || info.Size() < size {
		return nil, blob.ErrStale
	}
	f, err := s.openFile(key, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(size)
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// start makes a writer the one at work on key and then lets open open its file.
// The writer it replaces is stopped before.
func (s *Store) start(key string, open func(*writer) error) (blob.Writer, error) {
	w := &writer{store: s, key: key}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.mu.Lock()
	earlier := s.writers[key]
	s.writers[key] = w
	s.mu.Unlock()
	if earlier != nil {
		earlier.mu.Lock()
		earlier.end()
		earlier.mu.Unlock()
	}
	if err := open(w); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

// close closes the file. The caller holds the writer's lock.
func (w *writer) close() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	return f.Close()
}

// end lets go of the stream. The caller holds the writer's lock.
func (w *writer) end() {
	_ = w.close() // the bytes of a writer that ends here are not needed
	w.phase = over
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if w.store.writers[w.key] == w {
		delete(w.store.writers, w.key)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing {
		return 0, blob.ErrStale
	}
	n, err := w.file.Write(p)
	w.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write blob %s: %w", w.key, noSpace(err))
	}
	if w.size-w.behind >= window {
		from := max(0, w.behind-window)
		writeBehind(w.file, from, w.size-from)
		w.behind = w.size
	}
	return n, nil
}

func (w *writer) Size() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size
}

func (w *writer) Mark() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing {
		return nil, blob.ErrStale
	}
	return json.Marshal(state{Size: w.size, Named: w.named})
}

func (w *writer) Suspend(context.Context) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing {
		return nil, blob.ErrStale
	}
	err := w.sync()
	if err == nil {
		err = w.close()
	}
	if err != nil {
		w.phase = failed
		return nil, fmt.Errorf("suspend blob %s: %w", w.key, noSpace(err))
	}
	w.end()
	return json.Marshal(state{Size: w.size, Named: true})
}

func (w *writer) Commit(context.Context) (blob.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != writing {
		return blob.Info{}, blob.ErrStale
	}
	info, err := w.commit()
	if err != nil {
		w.phase = failed
		// What did not become durable must not look committed. Abort removes it,
		// or the sweep; there is nothing to be done about a second failure.
		_ = w.store.root.Chmod(w.key, modeWriting)
		return blob.Info{}, fmt.Errorf("commit blob %s: %w", w.key, noSpace(err))
	}
	w.end()
	return info, nil
}

// commit changes the mode before the sync, which makes both durable, and takes
// the stamp after it, because the mode is part of what the change time covers.
func (w *writer) commit() (blob.Info, error) {
	if err := w.file.Chmod(modeCommitted); err != nil {
		return blob.Info{}, err
	}
	if err := w.sync(); err != nil {
		return blob.Info{}, err
	}
	a, err := attributesOf(w.file)
	if err != nil {
		return blob.Info{}, err
	}
	if a.isDeleted() {
		return blob.Info{}, blob.ErrStale
	}
	if a.stat.Size != w.size {
		return blob.Info{}, fmt.Errorf("file has %d bytes, %d were written", a.stat.Size, w.size)
	}
	return a.info(), w.close()
}

// sync makes the file durable, and its name unless a Suspend has done that.
func (w *writer) sync() error {
	if err := w.store.sync(w.file); err != nil {
		return err
	}
	if w.named {
		return nil
	}
	return w.store.syncEntry(w.key)
}

func (w *writer) Abort(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == over {
		return nil
	}
	// Removed before end, after which another one may be at work on the key.
	err := w.store.Delete(ctx, w.key)
	w.end()
	return err
}

// noSpace adds blob.ErrNoSpace to an error of a full disk or quota.
func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	}
	return err
}
