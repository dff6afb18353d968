package s3

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"berth/blob"
	"berth/blob/blobtest"
	"berth/test/versity"
)

// childVariable holds the options of a process that uploads a part of a stream.
const childVariable = "BERTH_TEST_S3_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := uploadAndDie(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// A site is a store of objects, with buckets for tests.
type site struct {
	*versity.Server
	buckets  int
	maxPause time.Duration // as in Options
}

func newSite(t *testing.T) *site { return &site{Server: versity.Start(t)} }

// options are those of a new bucket.
func (s *site) options() Options {
	s.buckets++
	name := fmt.Sprintf("berth-%d", s.buckets)
	s.NewBucket(name)
	return Options{
		Bucket: name, Endpoint: s.Endpoint, PathStyle: true, AccessKey: versity.AccessKey, SecretKey: versity.SecretKey,
		RootDirectory: "/some/where/", Log: slog.New(slog.DiscardHandler),
	}
}

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	site := newSite(t)
	blobtest.Run(t, func(t *testing.T) blob.Store { return openStore(t, site.options()) })
}

// TestStoreWithoutConditions is for a store that cannot put an object only where
// there is none.
func TestStoreWithoutConditions(t *testing.T) {
	site := newSite(t)
	blobtest.Run(t, func(t *testing.T) blob.Store {
		var said bytes.Buffer
		o := site.options()
		o.Log = slog.New(slog.NewTextHandler(&said, nil))
		d := newDisturbed()
		d.answer = func(_ string, r *http.Request) *http.Response {
			if r.Header.Get("If-None-Match") != "" {
				return refusal(http.StatusNotImplemented, "NotImplemented")
			}
			return nil
		}
		o.Transport = d
		s := openStore(t, o)
		if !strings.Contains(said.String(), "one berth only") {
			t.Errorf("the log says %q", &said)
		}
		return s
	})
}

// TestOpenFails: what is wrong is said at once, and no secret.
func TestOpenFails(t *testing.T) {
	site := newSite(t)
	for name, change := range map[string]func(*Options){
		"no such bucket": func(o *Options) { o.Bucket = "nowhere" },
		"wrong key":      func(o *Options) { o.SecretKey = "canary" },
		"unknown key":    func(o *Options) { o.AccessKey = "nobody" },
		"no bucket":      func(o *Options) { o.Bucket = "" },
		"small parts":    func(o *Options) { o.PartSize = 1 << 20 },
		"bad address":    func(o *Options) { o.Endpoint = "ftp://store" },
	} {
		o := site.options()
		change(&o)
		s, err := Open(t.Context(), o)
		if err == nil {
			t.Errorf("%s: it opens", name)
			s.Close()
		} else if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), versity.SecretKey) {
			t.Errorf("%s: the error has a secret: %v", name, err)
		}
	}
}

// TestBucketThatIsGone: then no object is missing, but the store has failed.
func TestBucketThatIsGone(t *testing.T) {
	site := newSite(t)
	o := site.options()
	s := openStore(t, o)
	if err := os.RemoveAll(site.Folder(o.Bucket)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "k"); err == nil || errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open in a bucket that is gone: %v", err)
	}
	r := s.Recall("k", blob.Info{Size: 3, Stamp: "x"})
	for _, n := range []int64{0, 3} {
		if _, err := r.Range(t.Context(), 0, n); err == nil || errors.Is(err, blob.ErrNotExist) {
			t.Errorf("Range of %d bytes in a bucket that is gone: %v", n, err)
		}
	}
}

// TestURL: an address serves the object to anybody, for a while.
func TestURL(t *testing.T) {
	site := newSite(t)
	o := site.options()
	s := openStore(t, o)
	if _, err := create(t, s, "a/b", []byte("content")).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	url, err := s.URL(t.Context(), "a/b", time.Second)
	if err != nil || strings.Contains(url, versity.SecretKey) {
		t.Fatalf("URL = %q, %v", url, err)
	}
	get := func() (int, string) {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if status, body := get(); status != http.StatusOK || body != "content" {
		t.Errorf("the address answers %d with %q", status, body)
	}
	time.Sleep(2 * time.Second)
	if status, _ := get(); status != http.StatusForbidden {
		t.Errorf("when its time is over the address answers %d", status)
	}
	o.RedirectEndpoint = "https://public.example.org"
	url, err = openStore(t, o).URL(t.Context(), "a/b", time.Minute)
	if err != nil || !strings.HasPrefix(url, "https://public.example.org/"+o.Bucket+"/some/where/a/b?") {
		t.Errorf("the address for clients is %q, %v", url, err)
	}
}

// TestOthersParts: parts that change behind a writer make no other object.
func TestOthersParts(t *testing.T) {
	s, _ := openDisturbed(t, newSite(t))
	data := bytesOf(MinPart + 100)
	uploads := func() (upload *string) {
		out, err := s.driver.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &s.driver.o.Bucket})
		if err != nil || len(out.Uploads) != 1 {
			t.Fatalf("there are %d uploads, %v", len(out.Uploads), err)
		}
		return out.Uploads[0].UploadId
	}
	for name, change := range map[string]func(key *string) error{
		"replaced": func(key *string) error {
			_, err := s.driver.client.UploadPart(t.Context(), &s3.UploadPartInput{
				Bucket: &s.driver.o.Bucket, Key: key, UploadId: uploads(), PartNumber: aws.Int32(1), Body: bytes.NewReader(make([]byte, MinPart)),
			})
			return err
		},
		"given-up": func(key *string) error { return s.driver.abort(t.Context(), key, uploads()) },
	} {
		w := create(t, s, name, data)
		state, err := w.Suspend(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if w, err = s.Resume(t.Context(), name, state); err != nil {
			t.Fatal(err)
		}
		if err := change(aws.String("some/where/" + name)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
			t.Errorf("%s: Commit: %v, want %v", name, err, blob.ErrStale)
		}
		if _, err := s.Open(t.Context(), name); !errors.Is(err, blob.ErrNotExist) {
			t.Errorf("%s: Open: %v, want %v", name, err, blob.ErrNotExist)
		}
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
		wantKeys(t, s, "")
	}
}

// TestLeftParts: what another process has left in parts is listed and deleted, and
// so is what it left beside a stream that was gone on with.
func TestLeftParts(t *testing.T) {
	site := newSite(t)
	o := site.options()
	o.PartSize = MinPart
	here, there := openStore(t, o), openStore(t, o)
	left := create(t, there, "left", bytesOf(MinPart+1))
	if _, err := left.Mark(); err != nil { // which waits for the part
		t.Fatal(err)
	}
	wantKeys(t, here, "left")
	if err := here.Delete(t.Context(), "left"); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, here, "")
	if _, err := left.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit of what was deleted: %v, want %v", err, blob.ErrStale)
	}

	state, err := create(t, there, "k", []byte("begun ")).Suspend(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dying, err := there.Resume(t.Context(), "k", state)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dying.Write(bytesOf(MinPart + 1))
	if err == nil {
		_, err = dying.Mark()
	}
	if err != nil {
		t.Fatal(err)
	}
	w, err := here.Resume(t.Context(), "k", state)
	if err == nil {
		_, err = w.Write([]byte("and ended"))
	}
	if err == nil {
		_, err = w.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, here, "k", []byte("begun and ended"))
	if _, err := dying.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Commit of who was overtaken elsewhere: %v, want %v", err, blob.ErrStale)
	}
	wantContent(t, here, "k", []byte("begun and ended"))
	out, err := here.driver.client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &o.Bucket})
	if err != nil || len(out.Uploads) > 0 {
		t.Errorf("%d uploads are left, %v", len(out.Uploads), err)
	}
}

// TestPages lists more than fits into a page, of objects and of parts.
func TestPages(t *testing.T) {
	s := openStore(t, newSite(t).options())
	const n = 1010
	var group errgroup.Group
	group.SetLimit(16)
	for i := range n {
		group.Go(func() error {
			name := fmt.Sprintf("some/where/%04d", i)
			if _, err := s.driver.Put(t.Context(), name+"/object", nil); err != nil {
				return err
			}
			_, err := s.driver.Assemble(t.Context(), name+"/parts", nil)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	i := 0
	err := s.List(t.Context(), "", func(e blob.Entry) bool {
		want := fmt.Sprintf("%04d/%s", i/2, []string{"object", "parts"}[i%2])
		if e.Key != want {
			t.Errorf("key %d is %s, want %s", i, e.Key, want)
		}
		i++
		return e.Key == want
	})
	if err != nil || i != 2*n {
		t.Errorf("%d keys are listed, %v; want %d", i, err, 2*n)
	}
}

// A child is a process that begins a stream, suspends it, goes on, and dies.
type child struct {
	Endpoint, Bucket string
	Kept, Dropped    int
}

func (c child) options() Options {
	return Options{
		Bucket: c.Bucket, Endpoint: c.Endpoint, PathStyle: true, AccessKey: versity.AccessKey, SecretKey: versity.SecretKey,
		PartSize: MinPart, Log: slog.New(slog.DiscardHandler),
	}
}

// uploadAndDie prints the state of a stream of so many bytes, writes more, and
// leaves everything as it is.
func uploadAndDie(text string) error {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	ctx := context.Background()
	s, err := Open(ctx, c.options())
	if err != nil {
		return err
	}
	w, err := s.Create(ctx, "k")
	if err != nil {
		return err
	}
	if _, err := w.Write(bytesOf(c.Kept)); err != nil {
		return err
	}
	state, err := w.Suspend(ctx)
	if err != nil {
		return err
	}
	if w, err = s.Resume(ctx, "k", state); err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, c.Dropped)); err != nil {
		return err
	}
	_, err = os.Stdout.Write(state)
	return err
}

// TestAnotherProcess goes on where a process was that has died.
func TestAnotherProcess(t *testing.T) {
	site := newSite(t)
	for _, kept := range []int{10, MinPart, 2*MinPart + 100} {
		for _, dropped := range []int{10, 2*MinPart + 10} {
			o := site.options()
			c := child{Endpoint: site.Endpoint, Bucket: o.Bucket, Kept: kept, Dropped: dropped}
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"="+string(text))
			cmd.Stderr = os.Stderr
			state, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			s := openStore(t, c.options())
			w, err := s.Resume(t.Context(), "k", state)
			if err != nil {
				t.Fatal(err)
			}
			data := bytesOf(kept + MinPart + 1)
			if _, err := w.Write(data[kept:]); err != nil {
				t.Fatal(err)
			}
			// Of parts that the other has sent since, none may come into the object.
			_, err = w.Commit(t.Context())
			if err != nil {
				t.Fatalf("%d kept, %d dropped: %v", kept, dropped, err)
			}
			wantContent(t, s, "k", data)
			wantKeys(t, s, "k")
		}
	}
}

// TestMemory: a long stream takes 16 MiB, and nothing when it is suspended.
func TestMemory(t *testing.T) {
	s := openStore(t, newSite(t).options())
	data := bytesOf(1 << 20)
	before := liveMemory()
	w := create(t, s, "k", data)
	most := uint64(0)
	for i := range 64 {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			most = max(most, liveMemory())
		}
	}
	const slack = 2 << 20
	if most > before+16<<20+slack {
		t.Errorf("%d KiB are in memory", (most-before)>>10)
	}
	if _, err := w.Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := liveMemory(); after > before+slack {
		t.Errorf("%d KiB are in memory after Suspend", (after-before)>>10)
	}
}

// liveMemory returns how many bytes are in use, pools emptied.
func liveMemory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
