package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/blob"
)

// A disturbed connection does to the requests of a Store what a test says.
type disturbed struct {
	next *http.Transport

	mu sync.Mutex
	// answer, when not nil, may answer in the place of the store.
	answer func(op string, r *http.Request) *http.Response
	// lose, when not nil, says whether the answer of the store is lost.
	lose func(op string) bool
	// cut ends the bodies of answers to Get after so many bytes, unless it is 0.
	cut  int64
	seen []string // operations, in order
}

func newDisturbed() *disturbed {
	return &disturbed{next: &http.Transport{ExpectContinueTimeout: time.Second}}
}

// operation names the operation of a request.
func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "Create"
	case r.Method == http.MethodPost:
		return "Complete"
	case q.Has("uploads"):
		return "ListUploads"
	case q.Has("list-type"):
		return "List"
	case q.Has("uploadId"):
		return "Abort"
	}
	return map[string]string{"PUT": "Put", "GET": "Get", "HEAD": "Head", "DELETE": "Delete"}[r.Method]
}

func (d *disturbed) RoundTrip(r *http.Request) (*http.Response, error) {
	op := operation(r)
	d.mu.Lock()
	d.seen = append(d.seen, op)
	answer, lose, cut := d.answer, d.lose, d.cut
	d.mu.Unlock()
	if answer != nil {
		if resp := answer(op, r); resp != nil {
			return resp, nil
		}
	}
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if lose != nil && lose(op) {
		resp.Body.Close()
		return nil, syscall.ECONNRESET
	}
	if op == "Get" && cut > 0 && resp.StatusCode < 300 {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(resp.Body, cut), failing{}), resp.Body}
	}
	return resp, nil
}

func (d *disturbed) CloseIdleConnections() { d.next.CloseIdleConnections() }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, syscall.ECONNRESET }

// operations returns what was seen since the last call.
func (d *disturbed) operations() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	ops := strings.Join(d.seen, " ")
	d.seen = nil
	return ops
}

func (d *disturbed) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// refusal is an answer of a store that does not do what it should.
func refusal(status int, code string) *http.Response {
	text := fmt.Sprintf("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>no</Message></Error>", code)
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/xml"}}, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)),
	}
}

// openDisturbed opens a new bucket, whose parts have 5 MiB.
func openDisturbed(t *testing.T, site *site) (*Store, *disturbed) {
	t.Helper()
	d := newDisturbed()
	o := site.options()
	o.Transport, o.PartSize, o.maxPause = d, MinPart, site.maxPause
	s := openStore(t, o)
	d.operations()
	return s, d
}

func bytesOf(n int) []byte { return bytes.Repeat([]byte("0123456789abcde\n"), n/16+1)[:n] }

func create(t *testing.T, s *Store, key string, data []byte) blob.Writer {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantContent(t *testing.T, s *Store, key string, want []byte) {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	rc, err := o.Range(t.Context(), 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes are stored that differ from the %d that were written, %v", len(got), len(want), err)
	}
}

func wantKeys(t *testing.T, s *Store, want string) {
	t.Helper()
	var keys []string
	err := s.List(t.Context(), "", func(e blob.Entry) bool { keys = append(keys, e.Key); return true })
	if got := strings.Join(keys, " "); err != nil || got != want {
		t.Errorf("keys are %q, %v; want %q", got, err, want)
	}
}

// TestRequests counts what is asked of the store: that is what a registry on it
// waits for.
func TestRequests(t *testing.T) {
	s, d := openDisturbed(t, newSite(t))
	long := bytesOf(MinPart + 100)
	short := long[:1000]

	w := create(t, s, "short", short)
	info, err := w.Commit(t.Context())
	wantOperations(t, d, err, "Put")
	o := s.Recall("short", info)
	rc, err := o.Range(t.Context(), 0, -1)
	wantOperations(t, d, err, "Get")
	rc.Close()
	_, err = o.Range(t.Context(), 0, 0)
	wantOperations(t, d, err, "Head")
	_, err = s.Open(t.Context(), "short")
	wantOperations(t, d, err, "Head")
	_, err = s.URL(t.Context(), "short", time.Minute)
	wantOperations(t, d, err, "")
	wantOperations(t, d, s.Delete(t.Context(), "short"), "List Delete")

	w = create(t, s, "aborted", short)
	wantOperations(t, d, w.Abort(t.Context()), "")

	w = create(t, s, "long", long)
	_, err = w.Commit(t.Context())
	wantOperations(t, d, err, "Create UploadPart UploadPart Complete")

	w = create(t, s, "suspended", long)
	state, err := w.Suspend(t.Context())
	wantOperations(t, d, err, "Create UploadPart Put")
	w, err = s.Resume(t.Context(), "suspended", state)
	wantOperations(t, d, err, "Get")
	_, err = w.Commit(t.Context())
	wantOperations(t, d, err, "UploadPart Complete Delete")
}

func wantOperations(t *testing.T, d *disturbed, err error, want string) {
	t.Helper()
	if got := d.operations(); got != want || err != nil {
		t.Errorf("asked for %q, %v; want %q", got, err, want)
	}
}

// TestLostAnswers loses the answer to each request once, after the store has done
// what it should.
func TestLostAnswers(t *testing.T) {
	site := newSite(t)
	data := bytesOf(2*MinPart + 100)
	for _, op := range []string{"Put", "UploadPart", "Complete"} {
		t.Run(op, func(t *testing.T) {
			s, d := openDisturbed(t, site)
			lost := false
			d.set(func() {
				d.lose = func(o string) bool {
					now := o == op && !lost
					lost = lost || now
					return now
				}
			})
			content := data
			if op == "Put" {
				content = data[:100]
			}
			info, err := create(t, s, "k", content).Commit(t.Context())
			if err != nil || info.Size != int64(len(content)) || !lost {
				t.Fatalf("Commit: %+v, %v; an answer was lost: %t", info, err, lost)
			}
			o, err := s.Open(t.Context(), "k")
			if err != nil || o.Info() != info {
				t.Errorf("Open describes %+v, %v; Commit %+v", o.Info(), err, info)
			}
			wantContent(t, s, "k", content)
			wantKeys(t, s, "k")
		})
	}
}

// TestBusyStore: what passes is waited for, what does not is an error that is none
// of a stream, and is told.
func TestBusyStore(t *testing.T) {
	site := newSite(t)
	site.maxPause = 50 * time.Millisecond
	s, d := openDisturbed(t, site)
	busy := 0
	d.set(func() {
		d.answer = func(string, *http.Request) *http.Response {
			if busy--; busy >= 0 {
				return refusal(http.StatusServiceUnavailable, "SlowDown")
			}
			return nil
		}
	})
	w := create(t, s, "k", []byte("content"))
	d.set(func() { busy = 2 })
	if _, err := w.Commit(t.Context()); err != nil {
		t.Errorf("Commit to a store that is busy for a moment: %v", err)
	}
	if got := s.Degraded(); got != "" {
		t.Errorf("a store that answers is degraded: %q", got)
	}
	d.set(func() { busy = 1000 })
	_, err := s.Open(t.Context(), "k")
	if err == nil || errors.Is(err, blob.ErrNotExist) || errors.Is(err, blob.ErrStale) {
		t.Errorf("Open of a store that is busy for good: %v", err)
	}
	if got := s.Degraded(); !strings.Contains(got, "503") {
		t.Errorf("a store that is busy for good is degraded: %q", got)
	}
	d.set(func() { busy = 0 })
	wantContent(t, s, "k", []byte("content"))
	if got := s.Degraded(); got != "" {
		t.Errorf("a store that answers again is degraded: %q", got)
	}
}

// TestMeanings: answers of stores, and what they mean.
func TestMeanings(t *testing.T) {
	s, d := openDisturbed(t, newSite(t))
	for _, tt := range []struct {
		status int
		code   string
		want   error
	}{
		{507, "InsufficientStorage", blob.ErrNoSpace},
		{507, "AnythingElse", blob.ErrNoSpace},
		{403, "QuotaExceeded", blob.ErrNoSpace},
		{400, "EntityTooLarge", blob.ErrTooLarge},
		{404, "NoSuchUpload", blob.ErrStale},
		{400, "InvalidPart", blob.ErrStale},
	} {
		w := create(t, s, "k", bytesOf(MinPart))
		d.set(func() {
			d.answer = func(op string, _ *http.Request) *http.Response {
				if op == "UploadPart" || op == "Put" {
					return refusal(tt.status, tt.code)
				}
				return nil
			}
		})
		_, err := w.Commit(t.Context())
		if !errors.Is(err, tt.want) {
			t.Errorf("%d %s: %v, want %v", tt.status, tt.code, err, tt.want)
		}
		d.set(func() { d.answer = nil })
		if err := w.Abort(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wantKeys(t, s, "")
}

// TestBrokenReads: a read goes on where a connection breaks.
func TestBrokenReads(t *testing.T) {
	s, d := openDisturbed(t, newSite(t))
	data := bytesOf(300_000)
	if _, err := create(t, s, "k", data).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.set(func() { d.cut = 100_000 })
	wantContent(t, s, "k", data)
	d.set(func() { d.cut = 1 })
	o, err := s.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	rc, err := o.Range(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, data[:100]) {
		t.Errorf("a byte at a time: %q, %v", got, err)
	}
}

// TestKilledStore kills the store while parts go up, and starts it again.
func TestKilledStore(t *testing.T) {
	site := newSite(t)
	s, _ := openDisturbed(t, site)
	data := bytesOf(6*MinPart + 100)
	w := create(t, s, "k", data[:2*MinPart+50])
	site.Kill()
	restarted := make(chan struct{})
	go func() {
		defer close(restarted)
		time.Sleep(300 * time.Millisecond)
		site.Restart()
	}()
	if _, err := w.Write(data[2*MinPart+50:]); err != nil {
		t.Fatalf("Write while the store is away: %v", err)
	}
	<-restarted
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	wantContent(t, s, "k", data)
	wantKeys(t, s, "k")
}
