package local

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/memory"
	"berth/oci"
	"berth/registry"
)

func TestPushInOneRequestIsOneCommit(t *testing.T) {
	r, _ := onDisk(t, Options{})
	before := r.db.Stats().Commits
	push(t, r, repo, "abc")
	if n := r.db.Stats().Commits - before; n != 1 {
		t.Errorf("%d commits", n)
	}
}

func TestPushesShareCommits(t *testing.T) {
	const n = 40
	r, _ := onDisk(t, Options{})
	before := r.db.Stats().Commits
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { push(t, r, repo, strings.Repeat("x", i)) })
	}
	all.Wait()
	if got := r.db.Stats().Commits - before; got >= n {
		t.Errorf("%d pushes in %d commits", n, got)
	}
	for i := range n {
		wantBlob(t, r, repo, strings.Repeat("x", i))
	}
}

func TestUploadSurvivesTheProcess(t *testing.T) {
	r, dir := onDisk(t, Options{})
	u := start(t, r, repo)
	suspend(t, u)
	for i, part := range []string{"abc", "", "defg"} {
		r = openRegistry(t, openDisk(t, dir), r.db, Options{})
		v := resume(t, r, u.ID())
		if want := int64(3 * min(i, 1)); v.Size() != want {
			t.Errorf("part %d begins at %d, want %d", i, v.Size(), want)
		}
		write(t, v, part)
		suspend(t, v)
	}
	r = openRegistry(t, openDisk(t, dir), r.db, Options{})
	if n, err := r.UploadStatus(t.Context(), repo, u.ID(), mine); n != 7 || err != nil {
		t.Errorf("UploadStatus = %d, %v", n, err)
	}
	if _, err := resume(t, r, u.ID()).Commit(t.Context(), digest("abcdefg")); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, r, repo, "abcdefg")
	if n := len(keys(t, r.store)); n != 1 {
		t.Errorf("%d objects in the store, want 1", n)
	}
}

func TestUploadIsSuspendedWhenTheRequestIsOver(t *testing.T) {
	r, _ := onDisk(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	u, err := r.StartUpload(ctx, repo, mine)
	if err != nil {
		t.Fatal(err)
	}
	write(t, u, "abc")
	cancel()
	if err := u.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := r.UploadStatus(t.Context(), repo, u.ID(), mine); n != 3 || err != nil {
		t.Errorf("UploadStatus = %d, %v", n, err)
	}
}

func TestWrongDigestLeavesNothing(t *testing.T) {
	tests := map[string]func(*Registry) registry.Upload{
		"in one request": func(r *Registry) registry.Upload { return start(t, r, repo) },
		"resumed": func(r *Registry) registry.Upload {
			u := start(t, r, repo)
			write(t, u, "x")
			suspend(t, u)
			return resume(t, r, u.ID())
		},
	}
	for name, begin := range tests {
		for _, d := range []oci.Digest{digest("other"), oci.DigestOf(oci.SHA512, []byte("other"))} {
			r, _ := onDisk(t, Options{})
			u := begin(r)
			write(t, u, "abc")
			if _, err := u.Commit(t.Context(), d); !errors.Is(err, oci.DigestInvalid) {
				t.Errorf("%s: Commit = %v, want %v", name, err, oci.DigestInvalid)
			}
			if _, err := r.ResumeUpload(t.Context(), repo, u.ID(), mine); !errors.Is(err, oci.BlobUploadUnknown) {
				t.Errorf("%s: the upload goes on: %v", name, err)
			}
			if left := keys(t, r.store); len(left) > 0 {
				t.Errorf("%s: left in the store: %v", name, left)
			}
		}
	}
}

// TestPossessionIsProved pushes what another repository holds without its bytes.
func TestPossessionIsProved(t *testing.T) {
	r, _ := onDisk(t, Options{})
	d := push(t, r, "team-b/secret", "secret")
	for _, body := range []string{"", "secre7", "secret and more"} {
		u := start(t, r, repo)
		write(t, u, body)
		if _, err := u.Commit(t.Context(), d); !errors.Is(err, oci.DigestInvalid) {
			t.Errorf("Commit of %q = %v", body, err)
		}
	}
	if _, err := r.Blob(t.Context(), repo, d); err == nil {
		t.Error("the blob can be read without having been pushed")
	}
}

func TestPushOfWhatIsThereKeepsOneCopy(t *testing.T) {
	r, _ := onDisk(t, Options{})
	key := row(t, r, push(t, r, repo, "abc")).Key
	push(t, r, "team/other", "abc")
	u := start(t, r, "team/third")
	write(t, u, "abc")
	suspend(t, u)
	v, err := r.ResumeUpload(t.Context(), "team/third", u.ID(), mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Commit(t.Context(), digest("abc")); err != nil {
		t.Fatal(err)
	}
	if left := keys(t, r.store); len(left) != 1 || left[0] != key {
		t.Errorf("in the store: %v, want %s", left, key)
	}
	wantBlob(t, r, "team/third", "abc")
}

// TestParallelPatches is UP6: of writers at one offset, one wins, and its bytes
// are the blob.
func TestParallelPatches(t *testing.T) {
	r, _ := onDisk(t, Options{})
	for range 10 {
		u := start(t, r, repo)
		write(t, u, "begin ")
		suspend(t, u)
		var all sync.WaitGroup
		won := make(chan string, 4)
		for _, s := range []string{"aaaa", "bbbb", "cccc", "dddd"} {
			all.Go(func() {
				v, err := r.ResumeUpload(t.Context(), repo, u.ID(), mine)
				if err != nil {
					t.Error(err)
					return
				}
				if v.Size() != 6 { // the server answers 416
					if err := v.Close(t.Context()); err != nil && !errors.Is(err, oci.Conflict) {
						t.Error(err)
					}
					return
				}
				for _, c := range s {
					if _, err = io.WriteString(v, string(c)); err != nil {
						break
					}
				}
				if err := errors.Join(err, v.Close(t.Context())); err == nil {
					won <- s
				} else if !errors.Is(err, oci.Conflict) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		close(won)
		winner := <-won
		if second, ok := <-won; winner == "" || ok {
			t.Fatalf("%q and %q won", winner, second)
		}
		if _, err := resume(t, r, u.ID()).Commit(t.Context(), digest("begin "+winner)); err != nil {
			t.Error(err)
		}
		wantBlob(t, r, repo, "begin "+winner)
	}
}

// TestStalledWriter is UP7: it was overtaken, the upload was committed, and then
// it fails in every way it can.
func TestStalledWriter(t *testing.T) {
	for _, begun := range []string{"", "begun "} {
		r, _ := onDisk(t, Options{})
		u := start(t, r, repo)
		write(t, u, begun)
		suspend(t, u)
		stalled := resume(t, r, u.ID())
		write(t, stalled, "stalled")
		v := resume(t, r, u.ID())
		if v.Size() != int64(len(begun)) {
			t.Errorf("goes on at %d, want %d", v.Size(), len(begun))
		}
		if _, err := io.WriteString(stalled, "late"); !errors.Is(err, oci.Conflict) {
			t.Errorf("Write after being overtaken: %v", err)
		}
		write(t, v, "retried")
		if _, err := v.Commit(t.Context(), digest(begun+"retried")); err != nil {
			t.Fatal(err)
		}
		_, writeErr := io.WriteString(stalled, "late")
		_, commitErr := stalled.Commit(t.Context(), digest(begun+"stalled"))
		for _, err := range []error{writeErr, commitErr, stalled.Close(t.Context()), stalled.Cancel(t.Context())} {
			if !errors.Is(err, oci.Conflict) {
				t.Errorf("a call after being overtaken: %v, want %v", err, oci.Conflict)
			}
		}
		wantBlob(t, r, repo, begun+"retried")
		if n := len(keys(t, r.store)); n != 1 {
			t.Errorf("%d objects in the store, want 1", n)
		}
	}
}

func TestTooManyUploads(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{MaxOpenUploads: 3})
	for range 2 {
		suspend(t, start(t, r, repo))
	}
	third := start(t, r, repo)
	if _, err := r.StartUpload(t.Context(), repo, mine); !errors.Is(err, oci.TooManyRequests) {
		t.Errorf("the fourth upload: %v, want %v", err, oci.TooManyRequests)
	}
	if _, err := r.StartUpload(t.Context(), repo, registry.UploadOptions{Owner: "bob"}); err != nil {
		t.Errorf("somebody else's upload: %v", err)
	}
	if err := third.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, r, repo)
}

func TestReapUploads(t *testing.T) {
	c := &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	dir := t.TempDir()
	r := openRegistry(t, openDisk(t, dir), openDB(t), Options{Now: c.Now})
	idle, busy, used := start(t, r, repo), start(t, r, repo), start(t, r, repo)
	for _, u := range []registry.Upload{idle, busy, used} {
		write(t, u, "abc")
		suspend(t, u)
	}
	writing := resume(t, r, busy.ID())
	c.now = c.now.Add(23 * time.Hour)
	v := resume(t, r, used.ID())
	write(t, v, "d")
	suspend(t, v)
	if n, err := r.ReapUploads(t.Context()); n != 0 || err != nil {
		t.Errorf("ReapUploads before their time = %d, %v", n, err)
	}
	c.now = c.now.Add(2 * time.Hour)
	if n, err := r.CountIdleUploads(t.Context()); n != 2 || err != nil {
		t.Errorf("CountIdleUploads = %d, %v; want 2, with the one that is written to", n, err)
	}
	if n, err := r.ReapUploads(t.Context()); n != 1 || err != nil {
		t.Errorf("ReapUploads = %d, %v; want 1", n, err)
	}
	if _, err := r.ResumeUpload(t.Context(), repo, idle.ID(), mine); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("the idle upload: %v", err)
	}
	if n := len(keys(t, r.store)); n != 2 {
		t.Errorf("%d objects in the store, want 2", n)
	}
	if _, err := writing.Commit(t.Context(), digest("abc")); err != nil {
		t.Errorf("the upload that was written to: %v", err)
	}
}

// faulty is a store whose next sync fails, or that takes only so many bytes.
type faulty struct {
	blob.Store
	fail bool
	room int // bytes; 0 for no limit
}

var errIO = errors.New("input/output error")

func (s *faulty) Create(ctx context.Context, key string) (blob.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	return &faultyWriter{w, s}, err
}

type faultyWriter struct {
	blob.Writer
	store *faulty
}

func (w *faultyWriter) Write(p []byte) (int, error) {
	if w.store.room == 0 || len(p) <= w.store.room {
		return w.Writer.Write(p)
	}
	n, _ := w.Writer.Write(p[:w.store.room])
	return n, blob.ErrNoSpace
}

func (w *faultyWriter) Commit(ctx context.Context) (blob.Info, error) {
	if w.store.fail {
		return blob.Info{}, errIO
	}
	return w.Writer.Commit(ctx)
}

func (w *faultyWriter) Suspend(ctx context.Context) ([]byte, error) {
	if w.store.fail {
		return nil, errIO
	}
	return w.Writer.Suspend(ctx)
}

func TestFailedSyncIsNeverAcknowledged(t *testing.T) {
	s := &faulty{Store: memory.New()}
	r := openRegistry(t, s, openDB(t), Options{})
	push(t, r, repo, "layer")
	m := image(t, r, repo, "layer")
	s.fail = true
	u := start(t, r, repo)
	write(t, u, "abc")
	if _, err := u.Commit(t.Context(), digest("abc")); !errors.Is(err, errIO) {
		t.Errorf("Commit = %v, want %v", err, errIO)
	}
	u = start(t, r, repo)
	write(t, u, "abc")
	if err := u.Close(t.Context()); !errors.Is(err, errIO) {
		t.Errorf("Close = %v, want %v", err, errIO)
	}
	if _, err := r.PutManifest(t.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"latest"}}); !errors.Is(err, errIO) {
		t.Errorf("PutManifest = %v, want %v", err, errIO)
	}
	if _, err := r.Manifest(t.Context(), repo, oci.Reference{Tag: "latest"}); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("the tag names something: %v", err)
	}
	s.fail = false
	push(t, r, repo, "abc")
	putManifest(t, r, repo, m, "latest")
	wantBlob(t, r, repo, "abc")
	if n := len(keys(t, s)); n != 4 {
		t.Errorf("%d objects in the store, want 4", n)
	}
}

// TestDiskFullForAWhile goes on with an upload behind the bytes that still
// found room.
func TestDiskFullForAWhile(t *testing.T) {
	for _, size := range []int{1000, worthHashingBeside} {
		s := &faulty{Store: memory.New(), room: size / 3}
		r := openRegistry(t, s, openDB(t), Options{KeptUploads: 1})
		content := strings.Repeat("0123456789", size/10+1)[:size]
		u := start(t, r, repo)
		if n, err := io.WriteString(u, content); n != size/3 || !errors.Is(err, oci.InsufficientStorage) {
			t.Fatalf("Write = %d, %v; want %d, %v", n, err, size/3, oci.InsufficientStorage)
		}
		suspend(t, u)
		s.room = 0
		u = resume(t, r, u.ID())
		write(t, u, content[size/3:])
		if _, err := u.Commit(t.Context(), digest(content)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		wantBlob(t, r, repo, content)
	}
}
