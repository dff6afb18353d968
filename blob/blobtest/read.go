package blobtest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/blob"
)

func testRange(t *testing.T, s blob.Store) {
	data := content(1, 10_000)
	put(t, s, "k", data)
	o := open(t, s, "k")
	defer o.Close()
	for _, r := range []struct{ off, n int64 }{{0, -1}, {0, 0}, {0, 1}, {1, 9999}, {9999, 1}, {10_000, 0}, {10_000, -1}, {4000, -1}, {4000, 200}, {0, 10_000}} {
		end := r.off + r.n
		if r.n < 0 {
			end = int64(len(data))
		}
		if got, err := readRange(t.Context(), o, r.off, r.n); err != nil || !bytes.Equal(got, data[r.off:end]) {
			t.Errorf("Range(%d, %d) returns %d bytes, %v", r.off, r.n, len(got), err)
		}
	}
	for _, r := range []struct{ off, n int64 }{{-1, 1}, {10_001, -1}, {10_000, 1}, {0, 10_001}, {1, 1<<63 - 1}} {
		if _, err := readRange(t.Context(), o, r.off, r.n); err == nil {
			t.Errorf("Range(%d, %d) of 10,000 bytes is no error", r.off, r.n)
		}
	}
}

// testFile checks that the file is the caller's alone: neither another Object
// nor a Range moves its position.
func testFile(t *testing.T, s blob.Store) {
	data := content(1, 1000)
	put(t, s, "k", data)
	o, other := open(t, s, "k"), open(t, s, "k")
	defer o.Close()
	defer other.Close()
	f, ok := o.File()
	if !ok {
		return
	}
	if again, _ := o.File(); again != f {
		t.Errorf("File returns another file the second time")
	}
	head := make([]byte, 100)
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, data[:100]) {
		t.Errorf("the file does not begin with the stream: %v", err)
	}
	if got, err := readRange(t.Context(), o, 0, -1); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Range beside File returns %d bytes, %v", len(got), err)
	}
	if g, ok := other.File(); !ok || g == f {
		t.Errorf("two Objects share a file")
	} else if got, err := io.ReadAll(g); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file of a second Object has %d bytes left, %v", len(got), err)
	}
	if rest, err := io.ReadAll(f); err != nil || !bytes.Equal(rest, data[100:]) {
		t.Errorf("the file has %d bytes left, want 900, %v", len(rest), err)
	}
}

func testStamp(t *testing.T, s blob.Store) {
	a, b := put(t, s, "a", []byte("abc")), put(t, s, "b", []byte("abd"))
	if a.Stamp == "" || a.Stamp == b.Stamp {
		t.Errorf("stamps of two streams are %q and %q", a.Stamp, b.Stamp)
	}
	for range 2 {
		o := open(t, s, "a")
		if _, err := readRange(t.Context(), o, 0, -1); err != nil {
			t.Error(err)
		}
		if o.Info() != a {
			t.Errorf("reading changed %+v to %+v", a, o.Info())
		}
		o.Close()
	}
}

// testRecall reads what was not looked for, as it was, as it is not, and when it
// is gone.
func testRecall(t *testing.T, s blob.Store) {
	r, ok := s.(blob.Recaller)
	if !ok {
		return
	}
	data := content(1, 10_000)
	info := put(t, s, "k", data)
	other := blob.Info{Size: info.Size, Stamp: put(t, s, "other", data[1:]).Stamp}
	for _, n := range []int64{-1, 100, 0} {
		o := r.Recall("k", info)
		want := data
		if n >= 0 {
			want = data[:n]
		}
		if got, err := readRange(t.Context(), o, 0, n); err != nil || !bytes.Equal(got, want) || o.Info() != info {
			t.Errorf("Range(0, %d) returns %d bytes, %v", n, len(got), err)
		}
		if _, err := readRange(t.Context(), r.Recall("k", other), 0, n); !errors.Is(err, blob.ErrChanged) {
			t.Errorf("Range(0, %d) of what has another stamp: %v, want %v", n, err, blob.ErrChanged)
		}
		if _, err := readRange(t.Context(), r.Recall("gone", info), 0, n); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Range(0, %d) of nothing: %v, want %v", n, err, blob.ErrNotExist)
		}
	}
}

func testDelete(t *testing.T, s blob.Store) {
	data := content(1, 200_000)
	put(t, s, "k", data)
	o := open(t, s, "k")
	defer o.Close()
	for range 2 {
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	wantNotExist(t, s, "k")
	wantKeys(t, s)
	_, isFile := o.File()
	if got, err := readRange(t.Context(), o, 0, -1); (isFile || !errors.Is(err, blob.ErrNotExist)) && (err != nil || !bytes.Equal(got, data)) {
		t.Errorf("an Object opened before Delete returns %d bytes, %v", len(got), err)
	}
	state := suspend(t, create(t, s, "suspended"))
	if err := s.Delete(t.Context(), "suspended"); err != nil {
		t.Errorf("Delete of what is not committed: %v", err)
	}
	wantKeys(t, s)
	if _, err := s.Resume(t.Context(), "suspended", state); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Resume after Delete: %v, want %v", err, blob.ErrStale)
	}
}

func testDeleteUnderWriter(t *testing.T, s blob.Store) {
	w := create(t, s, "k")
	write(t, w, []byte("abc"))
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	_, _ = w.Write([]byte("may fail or be lost"))
	if _, err := w.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit after Delete: %v, want %v", err, blob.ErrStale)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
	wantKeys(t, s)
}

func keysAfter(t *testing.T, s blob.Store, after string) []string {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), after, func(e blob.Entry) bool {
		keys = append(keys, e.Key)
		return true
	})
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	return keys
}

func testList(t *testing.T, s blob.Store) {
	wantKeys(t, s)
	// In byte order, where '-' and '.' come before '/', and that before '0'.
	keys := []string{"a-b/x", "a-c", "a.b", "a/-", "a/b-c", "a/b/c", "a/b/d/e", "a/b0", "a0", "a_b/x", "b", "b.c/d"}
	start := time.Now()
	for i := range keys {
		key := keys[(i*5)%len(keys)]
		w := create(t, s, key)
		write(t, w, []byte(key))
		if i%2 == 0 {
			commit(t, w)
		} else {
			suspend(t, w)
		}
	}
	wantKeys(t, s, keys...)
	for i, key := range keys {
		if got, want := keysAfter(t, s, key), keys[i+1:]; !slices.Equal(got, want) {
			t.Errorf("after %q: %q, want %q", key, got, want)
		}
	}
	for after, first := range map[string]string{"a": "a-b/x", "a/": "a/-", "a/b": "a/b-c", "a/b/": "a/b/c", "a/b/c/x": "a/b/d/e", "a1": "a_b/x", "0": "a-b/x"} {
		if got := keysAfter(t, s, after); len(got) == 0 || got[0] != first {
			t.Errorf("after %q: %q, want %q first", after, got, first)
		}
	}
	if got := keysAfter(t, s, "c"); len(got) != 0 {
		t.Errorf("after the last: %q", got)
	}
	var seen []string
	err := s.List(t.Context(), "", func(e blob.Entry) bool {
		if e.Size != int64(len(e.Key)) {
			t.Errorf("%q is listed with size %d, want %d", e.Key, e.Size, len(e.Key))
		}
		if age := start.Sub(e.ModTime); age > time.Minute || age < -time.Minute {
			t.Errorf("%q is listed with time %v at %v", e.Key, e.ModTime, start)
		}
		seen = append(seen, e.Key)
		return len(seen) < 7
	})
	if err != nil || !slices.Equal(seen, keys[:7]) {
		t.Errorf("a listing stopped after 7 yields %q, %v", seen, err)
	}
}

func testListWhileDeleting(t *testing.T, s blob.Store) {
	var want []string
	for i := range 30 {
		key := fmt.Sprintf("%02d/%02d", i/10, i)
		put(t, s, key, nil)
		want = append(want, key)
	}
	var got []string
	err := s.List(t.Context(), "", func(e blob.Entry) bool {
		got = append(got, e.Key)
		return s.Delete(t.Context(), e.Key) == nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("List = %q, %v; want %q", got, err, want)
	}
	wantKeys(t, s)
}

func testConcurrency(t *testing.T, s blob.Store) {
	const writers, rounds = 16, 4
	var group sync.WaitGroup
	for i := range writers {
		group.Go(func() {
			for j := range rounds {
				key := fmt.Sprintf("%02x/%d-%d", j, i, j)
				if err := roundTrip(t, s, key, content(uint64(i*rounds+j), 3000+i)); err != nil {
					t.Errorf("%s: %v", key, err)
				}
			}
		})
	}
	group.Wait()
	if got := len(keysAfter(t, s, "")); got != writers*rounds/2 {
		t.Errorf("%d keys are left, want %d", got, writers*rounds/2)
	}
}

// roundTrip takes data to s in two steps and back; it deletes what ends in an
// odd number.
func roundTrip(t *testing.T, s blob.Store, key string, data []byte) error {
	ctx := t.Context()
	w, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	if _, err := w.Write(data[:1000]); err != nil {
		return err
	}
	state, err := w.Suspend(ctx)
	if err != nil {
		return err
	}
	if w, err = s.Resume(ctx, key, state); err != nil {
		return err
	}
	if _, err := w.Write(data[1000:]); err != nil {
		return err
	}
	if _, err := w.Commit(ctx); err != nil {
		return err
	}
	o, err := s.Open(ctx, key)
	if err != nil {
		return err
	}
	defer o.Close()
	if got, err := readRange(ctx, o, 0, -1); err != nil || !bytes.Equal(got, data) {
		return fmt.Errorf("read %d bytes, %w", len(got), err)
	}
	if strings.HasSuffix(key, "1") || strings.HasSuffix(key, "3") {
		return s.Delete(ctx, key)
	}
	return nil
}

func testLarge(t *testing.T, s blob.Store) {
	block := content(1, 1<<20)
	sum := sha256.New()
	w := create(t, s, "large")
	for i := range 12 {
		part := block[i : len(block)-17*i]
		sum.Write(part)
		write(t, w, part)
	}
	info := commit(t, w)
	o := open(t, s, "large")
	defer o.Close()
	got := sha256.New()
	const step = 3_000_001
	for off := int64(0); off < info.Size; off += step {
		r, err := o.Range(t.Context(), off, min(step, info.Size-off))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(got, r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
		t.Error("a stream read in pieces is another one")
	}
}
