package auth

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"
)

// quick is a Hasher that costs next to nothing.
func quick() *Hasher { return NewHasher(HasherOptions{Cost: bcrypt.MinCost}) }

func mustHash(t testing.TB, h *Hasher, p Secret) string {
	t.Helper()
	hash, err := h.Hash(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestHasherCompare(t *testing.T) {
	h := quick()
	ctx := context.Background()
	full := Secret(strings.Repeat("p", 72))
	hash, fullHash := mustHash(t, h, "secret"), mustHash(t, h, full)
	tests := []struct {
		name     string
		hash     string
		password Secret
		want     error
	}{
		{"right", hash, "secret", nil},
		{"wrong", hash, "Secret", ErrBadCredentials},
		{"as Apache writes it", "$2y$" + hash[4:], "secret", nil},
		{"as OpenBSD writes it", "$2b$" + hash[4:], "secret", nil},
		{"72 bytes", fullHash, full, nil},
		{"72 bytes and a tail", fullHash, full + "x", ErrBadCredentials},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := h.Compare(ctx, test.hash, test.password); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	if err := h.Compare(ctx, "{SHA}x", "secret"); err == nil || errors.Is(err, ErrBadCredentials) {
		t.Errorf("no hash: %v", err)
	}
}

func TestHasherHashRefuses(t *testing.T) {
	for _, p := range []Secret{"", Secret(strings.Repeat("p", 73)), "nul\x00", "\xff\xfe"} {
		if hash, err := quick().Hash(context.Background(), p); err == nil {
			t.Errorf("a password of %d bytes became %s", len(p), hash)
		}
	}
}

// TestHasherEqualWork counts the rounds of bcrypt that each wrong answer costs.
func TestHasherEqualWork(t *testing.T) {
	h := NewHasher(HasherOptions{Cost: 4})
	work := 0
	compare := h.compare
	h.compare = func(hash, password []byte) error {
		cost, err := bcrypt.Cost(hash)
		if err != nil {
			t.Fatal(err)
		}
		work += 1 << cost
		return compare(hash, password)
	}
	cheap := mustHash(t, h, "secret")
	dear := mustHash(t, NewHasher(HasherOptions{Cost: 7}), "secret")
	h.Raise(7)
	h.Raise(5) // does not lower it
	ctx := context.Background()
	for name, answer := range map[string]func() error{
		"cheap hash":    func() error { return h.Compare(ctx, cheap, "wrong") },
		"dear hash":     func() error { return h.Compare(ctx, dear, "wrong") },
		"long password": func() error { return h.Compare(ctx, cheap, Secret(strings.Repeat("w", 100))) },
		"nobody":        func() error { return h.Dummy(ctx, "wrong") },
		"nobody, long":  func() error { return h.Dummy(ctx, Secret(strings.Repeat("w", 100))) },
	} {
		work = 0
		if err := answer(); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s: %v", name, err)
		}
		if work != 1<<7 {
			t.Errorf("%s: %d rounds, want %d", name, work, 1<<7)
		}
	}
	if n := NewHasher(HasherOptions{}).highest.Load(); n != 10 {
		t.Errorf("a wrong password costs 2^%d rounds without any hash", n)
	}
}

func TestHasherBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(HasherOptions{Cost: 4, Parallel: 1, Waiting: 1})
		release := make(chan struct{})
		h.compare = func(_, _ []byte) error { <-release; return bcrypt.ErrMismatchedHashAndPassword }
		ctx, leave := context.WithCancel(t.Context())
		var running, waiting error
		var wg sync.WaitGroup
		wg.Go(func() { running = h.Dummy(context.Background(), "p") })
		synctest.Wait()
		wg.Go(func() { waiting = h.Dummy(ctx, "p") })
		synctest.Wait()
		if err := h.Dummy(ctx, "p"); !errors.Is(err, ErrBusy) {
			t.Errorf("beyond the queue: %v", err)
		}
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
		if !errors.Is(running, ErrBadCredentials) || !errors.Is(waiting, context.Canceled) {
			t.Errorf("running: %v; waiting: %v", running, waiting)
		}
		if err := h.Dummy(t.Context(), "p"); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("afterwards: %v", err)
		}
		if len(h.queued) != 0 || len(h.running) != 0 {
			t.Errorf("%d are queued and %d run, but nobody is there", len(h.queued), len(h.running))
		}
	})
}

func TestHashCost(t *testing.T) {
	const tail = "7EqJtq98hPqEX7fNZaFWoOhi5mUIeo7IZ5.lpqTHMbSOyDHF1HV3a"
	tests := []struct {
		hash string
		cost int // 0 for none
	}{
		{"$2a$10$" + tail, 10},
		{"$2b$04$" + tail, 4},
		{"$2y$12$" + tail, 12},
		{"$2x$10$" + tail, 0},
		{"$2a$03$" + tail, 0},
		{"$2a$17$" + tail, 0},
		{"$2a$1a$" + tail, 0},
		{"$2a$10$" + tail + "x", 0},
		{"$2a$10$" + tail[1:], 0},
		{"$2a$10$" + tail[1:] + ":", 0},
		{"$2a$", 0},
		{"", 0},
	}
	for _, test := range tests {
		cost, err := HashCost(test.hash)
		if cost != test.cost || (err == nil) != (test.cost > 0) {
			t.Errorf("HashCost(%q) = %d, %v", test.hash, cost, err)
		}
	}
	if _, err := HashCost(string(nobody(16))); err != nil {
		t.Errorf("the hash of nobody: %v", err)
	}
}

// TestHasherLeavesAProcessor: who guesses does not hold up who is logged in.
func TestHasherLeavesAProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for processors, want := range map[int]int{1: 1, 2: 1, 4: 3} {
		runtime.GOMAXPROCS(processors)
		h := NewHasher(HasherOptions{})
		if got := cap(h.running); got != want {
			t.Errorf("with %d processors %d hashes are computed at a time, want %d", processors, got, want)
		}
	}
}
