package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/blobtest"
)

const part = 4096

func open(f *fake) *Store { return New(f, Options{Prefix: "root/", Part: part, Align: 256}) }

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(newFake()) })
}

func TestStoreOfLargeParts(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return New(newFake(), Options{}) })
}

func content(n int) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// failing lets the calls of the fake fail that are named.
func (f *fake) failing(err error, calls ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = func(call, _ string) error {
		if slices.Contains(calls, call) {
			return err
		}
		return nil
	}
}

func (f *fake) names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func read(t *testing.T, s *Store, key string) []byte {
	t.Helper()
	o := must[blob.Object](t)(s.Open(t.Context(), key))
	rc := must[io.ReadCloser](t)(o.Range(t.Context(), 0, -1))
	defer rc.Close()
	return must[[]byte](t)(io.ReadAll(rc))
}

// TestAnotherProcess goes on in another process after every Suspend, with
// writes of all sizes, and looks what is left.
func TestAnotherProcess(t *testing.T) {
	f := newFake()
	data := content(5*part + 777)
	w := must[blob.Writer](t)(open(f).Create(t.Context(), "a/b"))
	for rest := data; len(rest) > 0; {
		n := min(len(rest), rand.IntN(2*part))
		must[int](t)(w.Write(rest[:n]))
		rest = rest[n:]
		state := must[[]byte](t)(w.Suspend(t.Context()))
		if n := len(f.names()); n > 3 {
			t.Fatalf("there are %d tails: %q", n, f.names())
		}
		w = must[blob.Writer](t)(open(f).Resume(t.Context(), "a/b", state))
		if got := w.Size(); got != int64(len(data)-len(rest)) {
			t.Fatalf("size is %d, want %d", got, len(data)-len(rest))
		}
	}
	if info := must[blob.Info](t)(w.Commit(t.Context())); info.Size != int64(len(data)) {
		t.Errorf("size is %d, want %d", info.Size, len(data))
	}
	if !bytes.Equal(read(t, open(f), "a/b"), data) {
		t.Error("what was written in pieces is something else")
	}
	if got := f.names(); !slices.Equal(got, []string{"root/a/b"}) {
		t.Errorf("left are %q", got)
	}
}

// TestOvertakenElsewhere: a writer in another process, which cannot be stopped,
// does no harm to what was committed, nor to what is on its way.
func TestOvertakenElsewhere(t *testing.T) {
	f := newFake()
	here, there := open(f), open(f)
	w := must[blob.Writer](t)(there.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(2 * part)))
	state := must[[]byte](t)(w.Suspend(t.Context()))

	slow := must[blob.Writer](t)(there.Resume(t.Context(), "k", state))
	must[int](t)(slow.Write([]byte("late")))
	fast := must[blob.Writer](t)(here.Resume(t.Context(), "k", state))
	must[int](t)(fast.Write([]byte("early")))
	must[blob.Info](t)(fast.Commit(t.Context()))

	if _, err := slow.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit of the slow one: %v", err)
	}
	if err := slow.Abort(t.Context()); err != nil {
		t.Errorf("Abort of the slow one: %v", err)
	}
	if got := read(t, here, "k"); !bytes.Equal(got, append(content(2*part), "early"...)) {
		t.Errorf("%d bytes are others than those that were committed", len(got))
	}
}

func TestListOfTails(t *testing.T) {
	f := newFake()
	for _, key := range []string{"a", "a-b", "a/c"} {
		w := must[blob.Writer](t)(open(f).Create(t.Context(), key))
		must[int](t)(w.Write(content(3*part + 5)))
		state := must[[]byte](t)(w.Suspend(t.Context()))
		w = must[blob.Writer](t)(open(f).Resume(t.Context(), key, state))
		must[int](t)(w.Write(content(10)))
		must[[]byte](t)(w.Suspend(t.Context()))
	}
	for _, foreign := range []string{"root/A b", "root/b!x", "root/b!0-", "root/.x", "elsewhere"} {
		must[blob.Info](t)(f.Put(t.Context(), foreign, nil))
	}
	s := open(f)
	begun := must[blob.Writer](t)(s.Create(t.Context(), "a.b"))
	must[int](t)(begun.Write(content(7)))
	var got []string
	err := s.List(t.Context(), "", func(e blob.Entry) bool {
		got = append(got, fmt.Sprint(e.Key, " ", e.Size))
		return true
	})
	size := 3*part + 15
	want := []string{fmt.Sprint("a ", size), fmt.Sprint("a-b ", size), "a.b 7", fmt.Sprint("a/c ", size), "b 0"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("listed %q, %v; want %q", got, err, want)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got := f.names(); slices.ContainsFunc(got, func(name string) bool { return strings.HasPrefix(name, "root/a!") }) {
		t.Errorf("after Delete of a there are %q", got)
	}
}

func TestListOutOfOrder(t *testing.T) {
	s := New(backwards{newFake()}, Options{})
	if err := s.List(t.Context(), "", func(blob.Entry) bool { return true }); err == nil {
		t.Error("a store that does not list in byte order is no error")
	}
}

type backwards struct{ *fake }

func (backwards) List(_ context.Context, _, _ string, _ int, yield func(blob.Entry) bool) error {
	_ = yield(blob.Entry{Key: "b"}) && yield(blob.Entry{Key: "a"})
	return nil
}

// TestPartThatFails: the stream is lost, what follows says so, and Abort leaves
// nothing.
func TestPartThatFails(t *testing.T) {
	f := newFake()
	s := open(f)
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	broken := errors.New("broken")
	f.failing(broken, "add")
	must[int](t)(w.Write(content(2 * part))) // one part is on its way
	if _, err := w.Write(content(2 * part)); !errors.Is(err, broken) {
		t.Errorf("Write behind a part that failed: %v", err)
	}
	if _, err := w.Suspend(t.Context()); err == nil {
		t.Error("Suspend behind a part that failed is no error")
	}
	if _, err := w.Commit(t.Context()); err == nil {
		t.Error("Commit behind a part that failed is no error")
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if got := f.names(); len(got) != 0 {
		t.Errorf("left are %q", got)
	}
}

// TestCommitOfUnknownEnd: the object was made, and the answer lost.
func TestCommitOfUnknownEnd(t *testing.T) {
	f := newFake()
	s := open(f)
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(10)))
	lost := errors.New("lost")
	f.mu.Lock()
	f.fail = func(call, name string) error {
		if call == "put" {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.objects[name] = fakeObject{data: content(10), stamp: "x"}
			return lost
		}
		return nil
	}
	f.mu.Unlock()
	if _, err := w.Commit(t.Context()); !errors.Is(err, lost) {
		t.Fatalf("Commit: %v", err)
	}
	if err := w.Abort(t.Context()); err != nil || len(f.names()) != 0 {
		t.Errorf("Abort: %v, left are %q", err, f.names())
	}
}

// TestOvertakenWhileSending: who is overtaken while a part is on its way does not
// make the other wait for it.
func TestOvertakenWhileSending(t *testing.T) {
	s := New(&stuck{newFake()}, Options{Part: part})
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	state := must[[]byte](t)(w.Suspend(t.Context()))
	w = must[blob.Writer](t)(s.Resume(t.Context(), "k", state))
	written := make(chan error, 1)
	go func() {
		_, err := w.Write(content(4 * part))
		written <- err
	}()
	time.Sleep(10 * time.Millisecond)
	must[blob.Writer](t)(s.Resume(t.Context(), "k", state))
	if err := <-written; !errors.Is(err, blob.ErrStale) {
		t.Errorf("Write that was overtaken: %v", err)
	}
}

// stuck has a store that takes no part.
type stuck struct{ *fake }

func (s *stuck) Assemble(context.Context, string, []byte) (Assembly, error) { return stuckParts{}, nil }

type stuckParts struct{ Assembly }

func (stuckParts) Add(ctx context.Context, _ []byte) error { <-ctx.Done(); return ctx.Err() }
func (stuckParts) Drop(context.Context) error              { return nil }

func TestMark(t *testing.T) {
	f := newFake()
	s := open(f)
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(part + 100)))
	mark := must[[]byte](t)(w.Mark())
	must[int](t)(w.Write(content(3 * part)))
	if _, err := open(f).Resume(t.Context(), "k", mark); !errors.Is(err, blob.ErrStale) {
		t.Errorf("a mark in another process: %v", err)
	}
	w = must[blob.Writer](t)(s.Resume(t.Context(), "k", mark))
	must[int](t)(w.Write([]byte("end")))
	must[blob.Info](t)(w.Commit(t.Context()))
	if !bytes.Equal(read(t, s, "k"), append(content(part+100), "end"...)) {
		t.Error("what was written behind a mark is something else")
	}
}

// TestBrokenBodies: a read goes on where a connection breaks, as long as there
// is something.
func TestBrokenBodies(t *testing.T) {
	f := newFake()
	s := open(f)
	data := content(part / 2)
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	must[int](t)(w.Write(data))
	must[blob.Info](t)(w.Commit(t.Context()))
	f.cut = 100
	if !bytes.Equal(read(t, s, "k"), data) {
		t.Error("what was read in pieces is something else")
	}
	o := must[blob.Object](t)(s.Open(t.Context(), "k"))
	rc := must[io.ReadCloser](t)(o.Range(t.Context(), 0, -1))
	must[int](t)(io.ReadFull(rc, make([]byte, 100)))
	f.mu.Lock()
	f.objects["root/k"] = fakeObject{data: data, stamp: "another"}
	f.mu.Unlock()
	if _, err := io.ReadAll(rc); !errors.Is(err, ErrChanged) {
		t.Errorf("reading on in another object: %v", err)
	}
}

func TestPrefix(t *testing.T) {
	for in, want := range map[string]string{"": "", "/": "", "/a": "a/", "a/b/": "a/b/"} {
		if got := Prefix(in); got != want {
			t.Errorf("Prefix(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestMemory: a stream holds a part while it is filled, one that is on its way,
// and none between requests.
func TestMemory(t *testing.T) {
	s := open(newFake())
	w := must[blob.Writer](t)(s.Create(t.Context(), "k")).(*writer)
	for range 100 {
		must[int](t)(w.Write(content(333)))
		if cap(w.rest) > part {
			t.Fatalf("a buffer has %d bytes", cap(w.rest))
		}
	}
	must[[]byte](t)(w.Suspend(t.Context()))
	if w.rest != nil {
		t.Errorf("after Suspend %d bytes are held", cap(w.rest))
	}
}
