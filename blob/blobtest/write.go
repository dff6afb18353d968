package blobtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"berth/blob"
)

func testCommit(t *testing.T, s blob.Store) {
	const key = "2f/2f8c"
	w := create(t, s, key)
	if n := w.Size(); n != 0 {
		t.Errorf("size of a new stream is %d", n)
	}
	write(t, w, []byte("hello, "))
	write(t, w, nil)
	write(t, w, []byte("world"))
	if n := w.Size(); n != 12 {
		t.Errorf("size after 12 bytes is %d", n)
	}
	info := commit(t, w)
	if info.Size != 12 {
		t.Errorf("committed size is %d", info.Size)
	}
	o := open(t, s, key)
	defer o.Close()
	if o.Info() != info {
		t.Errorf("Open describes %+v, Commit %+v", o.Info(), info)
	}
	wantContent(t, s, key, []byte("hello, world"))
	if w.Size() != 12 {
		t.Errorf("size after Commit is %d", w.Size())
	}
}

func testSizes(t *testing.T, s blob.Store) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		key := fmt.Sprintf("size/%d", n)
		put(t, s, key, content(uint64(n), n))
		wantContent(t, s, key, content(uint64(n), n))
	}
}

func testKeyReuse(t *testing.T, s blob.Store) {
	put(t, s, "done", []byte("first"))
	w := create(t, s, "busy")
	write(t, w, []byte("first"))
	suspended := create(t, s, "idle")
	write(t, suspended, []byte("first"))
	state := suspend(t, suspended)

	for _, key := range []string{"done", "busy", "idle"} {
		again, err := s.Create(t.Context(), key)
		if err != nil {
			continue
		}
		write(t, again, []byte("second"))
		if key != "done" {
			if err := again.Abort(t.Context()); err != nil {
				t.Errorf("Abort of a second stream: %v", err)
			}
		} else if _, err := again.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
			t.Errorf("Commit under a key that holds a stream: %v, want %v", err, blob.ErrStale)
		}
	}
	commit(t, w)
	commit(t, resume(t, s, "idle", state))
	for _, key := range []string{"done", "busy", "idle"} {
		wantContent(t, s, key, []byte("first"))
	}
}

func testBadKeys(t *testing.T, s blob.Store) {
	ctx := t.Context()
	keys := []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.b", ".a", "a:b", "a%b", "a b", "a\\b", "a\x00b", "a\n", "ä",
		strings.Repeat("a/", 320) + "a",
	}
	for _, key := range keys {
		if _, err := s.Create(ctx, key); err == nil {
			t.Errorf("Create(%q) takes a bad key", key)
		}
		if _, err := s.Resume(ctx, key, nil); err == nil {
			t.Errorf("Resume(%q) takes a bad key", key)
		}
		if _, err := s.Open(ctx, key); err == nil {
			t.Errorf("Open(%q) takes a bad key", key)
		}
		if err := s.Delete(ctx, key); err == nil {
			t.Errorf("Delete(%q) takes a bad key", key)
		}
	}
	longest := strings.Repeat("abc/", 159) + "abcd"
	for _, key := range []string{"a", "0", "-", "_", "a.b", "a..b", "a.", "x/-/_/0.", "V/1.0-RC", longest} {
		put(t, s, key, []byte(key))
		wantContent(t, s, key, []byte(key))
	}
}

func testFolders(t *testing.T, s blob.Store) {
	put(t, s, "a/b/c", []byte("x"))
	for _, key := range []string{"a", "a/b"} {
		wantNotExist(t, s, key)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	for _, key := range []string{"a/b/c/d", "a/x/y"} {
		wantNotExist(t, s, key)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("Delete(%q): %v", key, err)
		}
	}
	wantContent(t, s, "a/b/c", []byte("x"))
}

func testUncommitted(t *testing.T, s blob.Store) {
	wantNotExist(t, s, "k")
	w := create(t, s, "k")
	wantNotExist(t, s, "k")
	write(t, w, []byte("abc"))
	wantNotExist(t, s, "k")
	state := suspend(t, w)
	wantNotExist(t, s, "k")
	w = resume(t, s, "k", state)
	wantNotExist(t, s, "k")
	commit(t, w)
	wantContent(t, s, "k", []byte("abc"))
}

func testResume(t *testing.T, s blob.Store) {
	data := content(1, 300_000)
	const key = "r/k"
	state := suspend(t, create(t, s, key))
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 70_001)
		w := resume(t, s, key, state)
		if got, want := w.Size(), int64(len(data)-len(rest)); got != want {
			t.Fatalf("size after Resume is %d, want %d", got, want)
		}
		write(t, w, rest[:n])
		rest = rest[n:]
		state = suspend(t, w)
	}
	w := resume(t, s, key, state)
	if info := commit(t, w); info.Size != int64(len(data)) {
		t.Errorf("committed size is %d, want %d", info.Size, len(data))
	}
	wantContent(t, s, key, data)
}

// testDroppedTail goes on from the first state although more was written since,
// as a node does whose peer has died.
func testDroppedTail(t *testing.T, s blob.Store) {
	w := create(t, s, "k")
	write(t, w, []byte("kept, "))
	first := suspend(t, w)
	w = resume(t, s, "k", first)
	write(t, w, []byte("dropped without a word"))
	suspend(t, w)
	w = resume(t, s, "k", first)
	if n := w.Size(); n != 6 {
		t.Fatalf("size after Resume is %d, want 6", n)
	}
	write(t, w, []byte("new"))
	commit(t, w)
	wantContent(t, s, "k", []byte("kept, new"))
}

func testStaleStates(t *testing.T, s blob.Store) {
	long := create(t, s, "long")
	write(t, long, content(1, 1000))
	longState := suspend(t, long)
	short := create(t, s, "short")
	write(t, short, content(2, 10))
	shortState := suspend(t, short)

	done := create(t, s, "done")
	write(t, done, []byte("done"))
	doneState := suspend(t, done)
	commit(t, resume(t, s, "done", doneState))

	gone := suspend(t, create(t, s, "gone"))
	if err := resume(t, s, "gone", gone).Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, key string
		state     []byte
	}{
		{"no state", "short", nil},
		{"no state that was ever made", "short", []byte("nonsense")},
		{"a state of more than there is", "short", longState},
		{"committed", "done", doneState},
		{"aborted", "gone", gone},
		{"never there", "none", shortState},
	}
	for _, test := range tests {
		if _, err := s.Resume(t.Context(), test.key, test.state); !errors.Is(err, blob.ErrStale) {
			t.Errorf("%s: Resume: %v, want %v", test.name, err, blob.ErrStale)
		}
	}
	wantContent(t, s, "done", []byte("done"))
	commit(t, resume(t, s, "short", shortState))
	wantContent(t, s, "short", content(2, 10))
}

func testOver(t *testing.T, s blob.Store) {
	w := create(t, s, "committed")
	write(t, w, []byte("abc"))
	commit(t, w)
	wantOver(t, w)
	wantContent(t, s, "committed", []byte("abc"))

	w = create(t, s, "suspended")
	write(t, w, []byte("abc"))
	state := suspend(t, w)
	wantOver(t, w)
	commit(t, resume(t, s, "suspended", state))
	wantContent(t, s, "suspended", []byte("abc"))

	w = create(t, s, "aborted")
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
	wantOver(t, w)
	wantKeys(t, s, "committed", "suspended")
}

func testOvertaken(t *testing.T, s blob.Store) {
	w := create(t, s, "k")
	write(t, w, []byte("ab"))
	state := suspend(t, w)
	first := resume(t, s, "k", state)
	write(t, first, []byte("first"))
	second := resume(t, s, "k", state)
	write(t, second, []byte("second"))
	third := resume(t, s, "k", state)
	write(t, third, []byte("cd"))
	wantOver(t, first)
	wantOver(t, second)
	write(t, third, []byte("ef"))
	commit(t, third)
	wantOver(t, second)
	wantContent(t, s, "k", []byte("abcdef"))
}

// testMark goes on twice from where a writer was marked, whatever was written
// since.
func testMark(t *testing.T, s blob.Store) {
	w := create(t, s, "k")
	write(t, w, []byte("kept, "))
	state, err := w.Mark()
	if err != nil {
		t.Fatalf("Mark: %v", err)
	}
	for _, more := range []string{"dropped without a word", "dropped as well"} {
		write(t, w, []byte(more))
		earlier := w
		w = resume(t, s, "k", state)
		if n := w.Size(); n != 6 {
			t.Fatalf("size after Resume is %d, want 6", n)
		}
		wantOver(t, earlier)
	}
	write(t, w, []byte("new"))
	commit(t, w)
	wantContent(t, s, "k", []byte("kept, new"))
}

func testAbort(t *testing.T, s blob.Store) {
	w := create(t, s, "a/new")
	write(t, w, []byte("abc"))
	fresh := create(t, s, "a/resumed")
	write(t, fresh, []byte("abc"))
	resumed := resume(t, s, "a/resumed", suspend(t, fresh))
	wantKeys(t, s, "a/new", "a/resumed")
	for _, w := range []blob.Writer{w, resumed} {
		if err := w.Abort(t.Context()); err != nil {
			t.Errorf("Abort: %v", err)
		}
	}
	wantKeys(t, s)
	wantNotExist(t, s, "a/new")
	wantNotExist(t, s, "a/resumed")
}

// testCancelled checks that a call with a cancelled context does its work or
// fails, and that giving up works in any case.
func testCancelled(t *testing.T, s blob.Store) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if w, err := s.Create(cancelled, "created"); err == nil {
		if err := w.Abort(cancelled); err != nil {
			t.Errorf("Abort: %v", err)
		}
	}
	w := create(t, s, "committed")
	write(t, w, []byte("abc"))
	if _, err := w.Commit(cancelled); err == nil {
		wantContent(t, s, "committed", []byte("abc"))
	} else {
		wantNotExist(t, s, "committed")
		if err := w.Abort(t.Context()); err != nil {
			t.Errorf("Abort after a Commit that was cancelled: %v", err)
		}
		wantKeys(t, s)
	}
	put(t, s, "there", []byte("abc"))
	if err := s.List(cancelled, "", func(blob.Entry) bool { return true }); !errors.Is(err, context.Canceled) {
		t.Errorf("List: %v, want %v", err, context.Canceled)
	}
}
