package job

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// leases is Leases in memory, of one job.
type leases struct {
	mu          sync.Mutex
	fence       int64
	expires     time.Time
	done, tried time.Time
	broken      bool
}

func (s *leases) Take(_ context.Context, r Request) (Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.expires.After(r.Now):
		return Lease{}, ErrHeld
	case !r.Done.IsZero() && (s.done.After(r.Done) || s.tried.After(r.Tried)):
		return Lease{}, ErrNotDue
	}
	s.fence++
	s.expires = r.Now.Add(r.TTL)
	return Lease{r.Name, s.fence}, nil
}

func (s *leases) Renew(_ context.Context, l Lease, expires time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken:
		return errors.New("no answer")
	case l.Fence != s.fence:
		return ErrLost
	}
	s.expires = expires
	return nil
}

func (s *leases) Give(_ context.Context, l Lease, at time.Time, how Ending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Fence != s.fence {
		return nil
	}
	s.expires = time.Time{}
	if how != Interrupted {
		s.tried = at
	}
	if how == Done {
		s.done = at
	}
	return nil
}

func runner(l Leases, name string) *Runner {
	return &Runner{Leases: l, Holder: name, Log: slog.New(slog.DiscardHandler)}
}

func TestEveryIsOnOneNodeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(leases)
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		running, count := 0, 0
		var wg sync.WaitGroup
		for _, node := range []string{"a", "b", "c"} {
			wg.Go(func() {
				runner(s, node).Every(ctx, "gc", time.Hour, func(context.Context, Lease) error {
					mu.Lock()
					running++
					count++
					if running > 1 {
						t.Error("two nodes do the job")
					}
					mu.Unlock()
					time.Sleep(10 * time.Minute)
					mu.Lock()
					running--
					mu.Unlock()
					return nil
				})
			})
		}
		time.Sleep(10 * time.Hour)
		stop()
		wg.Wait()
		if count < 8 || count > 10 {
			t.Errorf("done %d times in ten hours", count)
		}
	})
}

func TestAFailureIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Hour)
		defer stop()
		began := time.Now()
		var at []time.Duration
		runner(new(leases), "a").Every(ctx, "gc", 24*time.Hour, func(context.Context, Lease) error {
			at = append(at, time.Since(began).Round(time.Hour))
			if len(at) < 3 {
				return errors.New("no")
			}
			return nil
		})
		if want := []time.Duration{0, time.Hour, 2 * time.Hour}; !slices.Equal(at, want) {
			t.Errorf("tried at %v, want %v", at, want)
		}
	})
}

func TestALeaseThatIsLostEndsTheJob(t *testing.T) {
	for _, broken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := new(leases)
			err := runner(s, "a").Once(t.Context(), "gc", func(ctx context.Context, l Lease) error {
				s.mu.Lock()
				if broken {
					s.broken = true
				} else {
					s.fence++ // somebody has taken over
				}
				s.mu.Unlock()
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Hour):
					return errors.New("nobody said anything")
				}
			})
			if !errors.Is(err, ErrLost) {
				t.Errorf("broken %v: %v", broken, err)
			}
		})
	}
}

func TestOnce(t *testing.T) {
	s := new(leases)
	a, b := runner(s, "a"), runner(s, "b")
	err := a.Once(t.Context(), "gc", func(ctx context.Context, l Lease) error {
		if err := b.Once(ctx, "gc", nil); !errors.Is(err, ErrHeld) {
			t.Errorf("a second one: %v", err)
		}
		return nil
	})
	if err != nil || s.done.IsZero() {
		t.Errorf("Once = %v, done %v", err, s.done)
	}
	ctx, stop := context.WithCancel(t.Context())
	s.done, s.tried = time.Time{}, time.Time{}
	err = a.Once(ctx, "gc", func(context.Context, Lease) error { stop(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) || !s.tried.IsZero() || !s.expires.IsZero() {
		t.Errorf("interrupted: %v, tried %v", err, s.tried)
	}
}
