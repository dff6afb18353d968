package jwks

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// When keys are read again.
const (
	renewAfter = time.Hour        // fetched keys, whether or not they are used
	retryAfter = time.Minute      // a fetch that went wrong
	askAgain   = 10 * time.Second // for a key that is not known
	// TendEvery is how often whoever holds Sets should call Tend: an edit of a
	// file counts when two looks at it saw the same.
	TendEvery = 2 * time.Second
)

// Options configure a Set. The zero value is for production.
type Options struct {
	// Client fetches keys and says no more than 1 MiB; nil is one for each fetch.
	// It follows no redirect to another host.
	Client *http.Client
	Log    *slog.Logger // slog.Default when nil
	Now    func() time.Time
}

// A Set is the keys of one source. It is safe for concurrent use.
type Set struct {
	source  Source
	client  *http.Client // nil without Options.Client
	log     *slog.Logger
	now     func() time.Time
	timeout time.Duration // of a fetch

	keys     atomic.Pointer[ring] // nil until there are any
	degraded atomic.Pointer[string]

	ctx   context.Context // of fetches; whoever asked may leave
	stop  context.CancelFunc
	work  sync.WaitGroup
	mu    sync.Mutex
	fetch chan struct{} // closed when the fetch that is under way ends
	tried time.Time     // when the last one began
	good  time.Time     // when the last one that went well did
	read  [sha256.Size]byte
	seen  [sha256.Size]byte // of a file that has to stand still
}

// NewSet returns the keys of a source. Those that are here are read now, and it
// is an error when they cannot be; those that are elsewhere are fetched when
// they are needed, or tended to.
func NewSet(source Source, o Options) (*Set, error) {
	if err := source.Check(); err != nil {
		return nil, err
	}
	s := &Set{source: source, client: o.Client, log: o.Log, now: o.Now, timeout: fetchTime}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if source.remote() {
		return s, nil
	}
	if err := s.Reload(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// Close ends a fetch that is under way. The keys that are known stay.
func (s *Set) Close() {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	s.work.Wait()
}

// Lookup returns the keys of that ID, or all of them for the empty ID, which a
// token has that does not call for one. IDs are looked up in memory alone; for
// one that is not there, keys from elsewhere are fetched again, but not more
// often than every 10 seconds.
// Errors: the context's; any other while there are no keys at all, or when the
// last fetch went wrong, which could have brought one of that ID.
func (s *Set) Lookup(ctx context.Context, id string) ([]Key, error) {
	if keys := s.known(id); len(keys) > 0 || !s.source.remote() {
		return keys, nil
	}
	if err := s.refresh(ctx, askAgain); err != nil {
		return nil, err
	}
	keys := s.known(id)
	if problem := s.Degraded(); len(keys) == 0 && (s.keys.Load() == nil || problem != "") {
		return nil, fmt.Errorf("%s are not known: %s", s.source, problem)
	}
	return keys, nil
}

func (s *Set) known(id string) []Key {
	r := s.keys.Load()
	switch {
	case r == nil:
		return nil
	case id == "":
		return r.keys
	}
	return r.byID[id]
}

// Certificates returns the certificates that the keys come from.
func (s *Set) Certificates() []*x509.Certificate {
	if r := s.keys.Load(); r != nil {
		return r.certificates
	}
	return nil
}

// Degraded says why the keys are not known, or not as they are now, or "".
func (s *Set) Degraded() string {
	if text := s.degraded.Load(); text != nil {
		return *text
	}
	return ""
}

// Tend reads the keys again when it is time to: fetched ones each hour, or a
// minute after that went wrong; those of a file when it has changed.
func (s *Set) Tend(ctx context.Context) {
	switch {
	case s.source.remote():
		s.mu.Lock()
		due := s.now().Sub(s.good) >= renewAfter
		s.mu.Unlock()
		if due {
			_ = s.refresh(ctx, retryAfter) // Degraded has what goes wrong
		}
	case s.source.file() != "":
		s.look()
	}
}

// Reload reads keys that are here now. When it returns an error, they stay as
// they were. Keys that are elsewhere it leaves to Tend.
func (s *Set) Reload() error {
	if s.source.remote() {
		return nil
	}
	data, err := s.fromSource(s.ctx)
	if err == nil {
		err = s.take(data)
	}
	if err != nil {
		return s.degrade(err)
	}
	return nil
}

// refresh fetches the keys, unless that was tried a moment ago, and waits for
// it. There is one fetch at a time, whoever asks for it.
// Errors: the context's.
func (s *Set) refresh(ctx context.Context, again time.Duration) error {
	s.mu.Lock()
	if s.fetch == nil {
		now := s.now()
		if s.ctx.Err() != nil || now.Sub(s.tried) < again {
			s.mu.Unlock()
			return nil
		}
		done := make(chan struct{})
		s.fetch, s.tried = done, now
		s.work.Go(func() {
			s.fetchNow(now)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fetch = nil
			close(done)
		})
	}
	done := s.fetch
	s.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fromSource returns what the source holds now.
func (s *Set) fromSource(ctx context.Context) ([]byte, error) { return s.source.read(ctx, s.client) }

func (s *Set) fetchNow(now time.Time) {
	ctx, cancel := context.WithTimeout(s.ctx, s.timeout)
	defer cancel()
	data, err := s.fromSource(ctx)
	if err == nil {
		err = s.take(data)
	}
	if s.ctx.Err() != nil {
		return
	}
	if err != nil {
		_ = s.degrade(err) // it is logged, and Lookup says it
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good = now
}

// look reads the file, and takes over what is new and has stood still since
// the last look.
func (s *Set) look() {
	data, err := s.fromSource(s.ctx)
	if err != nil {
		_ = s.degrade(err)
		return
	}
	sum := sha256.Sum256(data)
	s.mu.Lock()
	old, still := sum == s.read, sum == s.seen
	s.seen = sum
	s.mu.Unlock()
	if old && s.Degraded() == "" || !old && !still {
		return
	}
	if err := s.take(data); err != nil {
		_ = s.degrade(err)
	}
}

// take makes the keys in data those of s. When it returns an error, they stay
// as they were.
func (s *Set) take(data []byte) error {
	r, err := s.source.parse(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = sha256.Sum256(data)
	if err != nil {
		return err
	}
	s.keys.Store(r)
	s.degraded.Store(nil)
	return nil
}

// degrade notes what is wrong, logs it when it is news, and returns it.
func (s *Set) degrade(err error) error {
	err = fmt.Errorf("read %s: %w", s.source, err)
	text := err.Error()
	if old := s.degraded.Swap(&text); old == nil || *old != text {
		s.log.Error("signing keys cannot be read, those that are known stay", "error", err)
	}
	return err
}
