package auth

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// workerVariable makes the test binary a worker.
const workerVariable = "BERTH_TEST_HASH_WORKER"

func TestMain(m *testing.M) {
	switch os.Getenv(workerVariable) {
	case "":
		os.Exit(m.Run())
	case "dies":
		os.Exit(3)
	}
	if err := ServeHashes(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

// workerOf returns commands for workers of that kind, and counts them.
func workerOf(t *testing.T, kind string, started *int) func() *exec.Cmd {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	return func() *exec.Cmd {
		mu.Lock()
		defer mu.Unlock()
		*started++
		cmd := exec.Command(path)
		cmd.Env = []string{workerVariable + "=" + kind}
		return cmd
	}
}

func TestHasherWorkers(t *testing.T) {
	for kind, most := range map[string]int{"works": 2, "dies": 1000} {
		t.Run(kind, func(t *testing.T) {
			started := 0
			h := NewHasher(HasherOptions{
				Cost: 4, Parallel: 2, Worker: workerOf(t, kind, &started),
				Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			})
			hash := mustHash(t, h, "secret")
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					if err := h.Compare(context.Background(), hash, "secret"); err != nil {
						t.Errorf("the right password: %v", err)
					}
					if err := h.Compare(context.Background(), hash, "Secret"); !errors.Is(err, ErrBadCredentials) {
						t.Errorf("a wrong password: %v", err)
					}
				})
			}
			wg.Wait()
			if started == 0 || started > most {
				t.Errorf("%d processes were started, want at most %d", started, most)
			}
			for _, w := range h.workers.idle {
				w.end()
				if !w.cmd.ProcessState.Success() {
					t.Errorf("a worker whose input ended: %v", w.cmd.ProcessState)
				}
			}
		})
	}
}

// TestWorkerThatEndsIsReplaced kills a worker between two hashes.
func TestWorkerThatEndsIsReplaced(t *testing.T) {
	started := 0
	h := NewHasher(HasherOptions{
		Cost: 4, Worker: workerOf(t, "works", &started),
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	hash := mustHash(t, h, "secret")
	if err := h.workers.idle[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := h.Compare(context.Background(), hash, "secret"); err != nil {
		t.Error(err)
	}
	if started != 2 {
		t.Errorf("%d processes were started, want 2", started)
	}
	h.workers.idle[0].end()
}
