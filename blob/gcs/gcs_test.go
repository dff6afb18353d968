package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/blobtest"
	"berth/blob/bucket"
	"berth/test/gcs"
)

func open(t *testing.T, s *gcs.Server, change ...func(*Options)) *bucket.Store {
	t.Helper()
	o := Options{Bucket: gcs.Bucket, RootDirectory: "/a/registry", ChunkSize: chunk, Emulator: s.URL, Log: slog.New(slog.DiscardHandler)}
	o.pause = func(ctx context.Context, _ int, _ time.Duration) error { return ctx.Err() }
	for _, f := range change {
		f(&o)
	}
	store, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, gcs.Start(t)) })
}

// TestStoreWithFaults: one request of eight goes wrong, in every way.
func TestStoreWithFaults(t *testing.T) {
	faults := []gcs.Fault{{Status: 503}, {Status: 429}, {Lose: true}, {Cut: 1}, {Cut: 300_000}, {Status: 500}, {Delay: time.Millisecond}}
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := gcs.Start(t)
		store := open(t, s)
		var n atomic.Int64
		s.Break(func(*http.Request) gcs.Fault {
			if i := n.Add(1); i%8 == 0 {
				return faults[int(i/8)%len(faults)]
			}
			return gcs.Fault{}
		})
		return store
	})
}

func content(seed uint64, n int) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
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

func read(t *testing.T, s blob.Store, key string) []byte {
	t.Helper()
	o := must[blob.Object](t)(s.Open(t.Context(), key))
	rc := must[io.ReadCloser](t)(o.Range(t.Context(), 0, -1))
	defer rc.Close()
	return must[[]byte](t)(io.ReadAll(rc))
}

// TestAnotherProcess goes on elsewhere after every Suspend, and leaves nothing
// but the object.
func TestAnotherProcess(t *testing.T) {
	s := gcs.Start(t)
	data := content(1, 9*chunk+1234)
	w := must[blob.Writer](t)(open(t, s).Create(t.Context(), "k"))
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 700_000)
		must[int](t)(w.Write(rest[:n]))
		rest = rest[n:]
		state := must[[]byte](t)(w.Suspend(t.Context()))
		w = must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
	}
	must[blob.Info](t)(w.Commit(t.Context()))
	if !bytes.Equal(read(t, open(t, s), "k"), data) {
		t.Error("what was written in pieces is something else")
	}
	if got := s.Names(); !slices.Equal(got, []string{"a/registry/k"}) || s.Sessions() != 0 {
		t.Errorf("left are %v", s)
	}
	if n := s.Requests("begin"); n != 1 {
		t.Errorf("it took %d uploads", n)
	}
}

// TestProcessThatDied has sent more than its last state says. Whoever brings the
// same bytes goes on; whoever brings others is told to start again, and nothing
// is committed.
func TestProcessThatDied(t *testing.T) {
	for name, same := range map[string]bool{"the same bytes": true, "others": false} {
		t.Run(name, func(t *testing.T) {
			s := gcs.Start(t)
			data := content(1, 6*chunk+99)
			w := must[blob.Writer](t)(open(t, s).Create(t.Context(), "k"))
			must[int](t)(w.Write(data[:2*chunk+50]))
			state := must[[]byte](t)(w.Suspend(t.Context()))
			died := must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
			must[int](t)(died.Write(data[2*chunk+50 : 6*chunk]))

			rest := data[2*chunk+50:]
			if !same {
				rest = content(2, len(rest))
			}
			w = must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
			must[int](t)(w.Write(rest))
			_, err := w.Commit(t.Context())
			if same {
				if err != nil || !bytes.Equal(read(t, open(t, s), "k"), data) {
					t.Errorf("Commit: %v", err)
				}
				return
			}
			if !errors.Is(err, blob.ErrStale) {
				t.Errorf("Commit: %v, want %v", err, blob.ErrStale)
			}
			if _, err := open(t, s).Open(t.Context(), "k"); !errors.Is(err, blob.ErrNotExist) {
				t.Errorf("Open after it: %v", err)
			}
		})
	}
}

// TestOvertakenElsewhere: the slow one changes nothing that was committed, and
// finds out.
func TestOvertakenElsewhere(t *testing.T) {
	s := gcs.Start(t)
	w := must[blob.Writer](t)(open(t, s).Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 3*chunk)))
	state := must[[]byte](t)(w.Suspend(t.Context()))
	slow := must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
	fast := must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
	must[int](t)(fast.Write([]byte("fast")))
	must[blob.Info](t)(fast.Commit(t.Context()))
	_, err := slow.Write(content(3, 3*chunk))
	if err == nil {
		_, err = slow.Commit(t.Context())
	}
	if !errors.Is(err, blob.ErrStale) {
		t.Errorf("the slow one: %v, want %v", err, blob.ErrStale)
	}
	want := append(content(1, 3*chunk), "fast"...)
	if got := read(t, open(t, s), "k"); !bytes.Equal(got, want) {
		t.Errorf("%d bytes are not those that were committed", len(got))
	}
}

func TestLostSession(t *testing.T) {
	s := gcs.Start(t)
	w := must[blob.Writer](t)(open(t, s).Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 3*chunk)))
	state := must[[]byte](t)(w.Suspend(t.Context()))
	w = must[blob.Writer](t)(open(t, s).Resume(t.Context(), "k", state))
	s.EndSessions()
	if _, err := open(t, s).Resume(t.Context(), "k", state); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Resume: %v, want %v", err, blob.ErrStale)
	}
	if _, err := w.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit: %v, want %v", err, blob.ErrStale)
	}
}

// TestAnswersThatAreLost: what was done is found out, and not done twice.
func TestAnswersThatAreLost(t *testing.T) {
	for _, n := range []int{10, chunk, 3*chunk + 7} {
		s := gcs.Start(t)
		store := open(t, s)
		var lost sync.Map
		s.Break(func(r *http.Request) gcs.Fault {
			if r.Method != http.MethodPost && r.Method != http.MethodPut {
				return gcs.Fault{}
			}
			_, before := lost.LoadOrStore(r.Method+r.Header.Get("Content-Range"), true)
			return gcs.Fault{Lose: !before}
		})
		w := must[blob.Writer](t)(store.Create(t.Context(), "k"))
		must[int](t)(w.Write(content(1, n)))
		info := must[blob.Info](t)(w.Commit(t.Context()))
		s.Break(nil)
		o := must[blob.Object](t)(store.Open(t.Context(), "k"))
		if o.Info() != info || !bytes.Equal(read(t, store, "k"), content(1, n)) {
			t.Errorf("%d bytes: committed is %+v, found %+v", n, info, o.Info())
		}
	}
}

// TestStoreIsAway: the error comes in a bounded time, and holds no address.
func TestStoreIsAway(t *testing.T) {
	s := gcs.Start(t)
	store := open(t, s)
	w := must[blob.Writer](t)(store.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 2*chunk)))
	s.Break(func(*http.Request) gcs.Fault { return gcs.Fault{Status: http.StatusServiceUnavailable} })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := w.Commit(ctx)
	if err == nil || errors.Is(err, blob.ErrStale) || strings.Contains(err.Error(), "upload_id") || strings.Contains(err.Error(), "http://") {
		t.Errorf("Commit: %v", err)
	}
	s.Break(nil)
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
	if len(s.Names()) != 0 || s.Sessions() != 0 {
		t.Errorf("left are %v", s)
	}
}

func TestBucketThatIsGone(t *testing.T) {
	s := gcs.Start(t)
	store := open(t, s)
	s.RemoveBucket()
	if _, err := store.Open(t.Context(), "k"); err == nil || errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open without a bucket: %v", err)
	}
	if _, err := Open(t.Context(), Options{Bucket: gcs.Bucket, Emulator: s.URL}); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a bucket that is not there: %v", err)
	}
}

// TestReplaced: bytes that somebody put into the place of others are not read.
func TestReplaced(t *testing.T) {
	s := gcs.Start(t)
	store := open(t, s)
	w := must[blob.Writer](t)(store.Create(t.Context(), "k"))
	must[int](t)(w.Write([]byte("right")))
	info := must[blob.Info](t)(w.Commit(t.Context()))
	o := must[blob.Object](t)(store.Open(t.Context(), "k"))
	s.Replace("a/registry/k", []byte("wrong"))
	if _, err := o.Range(t.Context(), 0, -1); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("Range: %v", err)
	}
	if again := must[blob.Object](t)(store.Open(t.Context(), "k")); again.Info().Stamp == info.Stamp {
		t.Error("the stamp is the same")
	}
}

func TestOptions(t *testing.T) {
	s := gcs.Start(t)
	for _, o := range []Options{
		{},
		{Bucket: "b", ChunkSize: 1000},
		{Bucket: "b", ChunkSize: 2 * bucket.MaxPart},
		{Bucket: "b", Emulator: "http://"},
		{Bucket: "b", Credentials: "{}"},
		{Bucket: "b", Credentials: `{"type":"service_account","private_key":"secret"}`},
	} {
		o.Emulator = max(o.Emulator, s.URL)
		_, err := Open(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestRequests counts what a push and a pull cost.
func TestRequests(t *testing.T) {
	s := gcs.Start(t)
	store := open(t, s)
	before := func(kinds ...string) string {
		var b strings.Builder
		for _, kind := range kinds {
			fmt.Fprint(&b, kind, " ", s.Requests(kind), " ")
		}
		return b.String()
	}
	w := must[blob.Writer](t)(store.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 4*chunk+1)))
	must[blob.Info](t)(w.Commit(t.Context()))
	read(t, store, "k")
	want := "put 0 begin 1 part 5 ask 0 list 1 look 1 read 1 delete 0 "
	if got := before("put", "begin", "part", "ask", "list", "look", "read", "delete"); got != want {
		t.Errorf("requests: %s, want %s", got, want)
	}
}

// TestEmulator is the same kit over another's server, in which an object is made
// at once.
func TestEmulator(t *testing.T) {
	address := gcs.StartEmulator(t)
	n := 0
	blobtest.Run(t, func(t *testing.T) blob.Store {
		n++
		t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(address, "http://"))
		store, err := Open(t.Context(), Options{Bucket: gcs.Bucket, RootDirectory: fmt.Sprint(n)})
		if err != nil {
			t.Fatal(err)
		}
		return store
	})
}
