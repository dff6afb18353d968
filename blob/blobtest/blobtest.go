// Package blobtest checks that a blob.Store does what package blob says.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"berth/blob"
)

// Run checks the stores that open returns, each of which is empty.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	tests := []struct {
		name string
		test func(*testing.T, blob.Store)
	}{
		{"commit", testCommit},
		{"sizes", testSizes},
		{"key reuse", testKeyReuse},
		{"bad keys", testBadKeys},
		{"folders are no streams", testFolders},
		{"uncommitted", testUncommitted},
		{"suspend and resume", testResume},
		{"dropped tail", testDroppedTail},
		{"stale states", testStaleStates},
		{"writer that is over", testOver},
		{"overtaken writer", testOvertaken},
		{"mark", testMark},
		{"abort", testAbort},
		{"range", testRange},
		{"file", testFile},
		{"stamp", testStamp},
		{"recall", testRecall},
		{"delete", testDelete},
		{"delete under a writer", testDeleteUnderWriter},
		{"list", testList},
		{"list while deleting", testListWhileDeleting},
		{"cancelled context", testCancelled},
		{"concurrency", testConcurrency},
		{"large stream", testLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(t, open(t)) })
	}
}

// content returns n bytes that differ with the seed.
func content(seed uint64, n int) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func create(t *testing.T, s blob.Store, key string) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatalf("Create(%q): %v", key, err)
	}
	return w
}

func write(t *testing.T, w blob.Writer, data []byte) {
	t.Helper()
	if n, err := w.Write(data); n != len(data) || err != nil {
		t.Fatalf("Write of %d bytes = %d, %v", len(data), n, err)
	}
}

func commit(t *testing.T, w blob.Writer) blob.Info {
	t.Helper()
	info, err := w.Commit(t.Context())
	if err != nil {
		t.Fatalf("Commit: %v", err)
	}
	return info
}

func suspend(t *testing.T, w blob.Writer) []byte {
	t.Helper()
	state, err := w.Suspend(t.Context())
	if err != nil {
		t.Fatalf("Suspend: %v", err)
	}
	return state
}

func resume(t *testing.T, s blob.Store, key string, state []byte) blob.Writer {
	t.Helper()
	w, err := s.Resume(t.Context(), key, state)
	if err != nil {
		t.Fatalf("Resume(%q): %v", key, err)
	}
	return w
}

func put(t *testing.T, s blob.Store, key string, data []byte) blob.Info {
	t.Helper()
	w := create(t, s, key)
	write(t, w, data)
	return commit(t, w)
}

func open(t *testing.T, s blob.Store, key string) blob.Object {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open(%q): %v", key, err)
	}
	return o
}

func readRange(ctx context.Context, o blob.Object, off, n int64) ([]byte, error) {
	r, err := o.Range(ctx, off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func wantContent(t *testing.T, s blob.Store, key string, want []byte) {
	t.Helper()
	o := open(t, s, key)
	defer o.Close()
	if got := o.Info().Size; got != int64(len(want)) {
		t.Errorf("%q has size %d, want %d", key, got, len(want))
	}
	if got, err := readRange(t.Context(), o, 0, -1); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q holds %d bytes that differ from the %d that were written, %v", key, len(got), len(want), err)
	}
}

func wantNotExist(t *testing.T, s blob.Store, key string) {
	t.Helper()
	if o, err := s.Open(t.Context(), key); !errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open(%q) = %v, %v; want %v", key, o, err, blob.ErrNotExist)
	}
}

func wantKeys(t *testing.T, s blob.Store, want ...string) {
	t.Helper()
	if got := keysAfter(t, s, ""); !slices.Equal(got, want) {
		t.Errorf("keys are %q, want %q", got, want)
	}
}

// wantOver checks that w does nothing any more.
func wantOver(t *testing.T, w blob.Writer) {
	t.Helper()
	if n, err := w.Write([]byte("late")); n != 0 || !errors.Is(err, blob.ErrStale) {
		t.Errorf("Write = %d, %v; want 0, %v", n, err, blob.ErrStale)
	}
	if _, err := w.Suspend(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Suspend: %v, want %v", err, blob.ErrStale)
	}
	if _, err := w.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit: %v, want %v", err, blob.ErrStale)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
}
