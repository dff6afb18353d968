package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"berth/blob"
	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
)

// A far store is on another machine, as it were: to look and to read are counted.
type far struct {
	*memory.Store
	looks, reads int
}

func (f *far) Open(ctx context.Context, key string) (blob.Object, error) {
	f.looks++
	return f.Store.Open(ctx, key)
}

func (f *far) URL(_ context.Context, key string, ttl time.Duration) (string, error) {
	return "https://store.example.org/" + key + "?for=" + ttl.String(), nil
}

func (f *far) Recall(key string, info blob.Info) blob.Object { return recalled{f, key, info} }

type recalled struct {
	f    *far
	key  string
	info blob.Info
}

func (r recalled) Info() blob.Info        { return r.info }
func (r recalled) Close() error           { return nil }
func (r recalled) File() (*os.File, bool) { return nil, false }
func (r recalled) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	r.f.reads++
	o, err := r.f.Store.Open(ctx, r.key)
	if err == nil && o.Info() != r.info {
		err = blob.ErrChanged
	}
	if err != nil {
		return nil, err
	}
	return o.Range(ctx, off, n)
}

// replace puts other bytes where those of d are.
func (f *far) replace(t *testing.T, r *Registry, d oci.Digest, content string) {
	t.Helper()
	key := row(t, r, d).Key
	if err := f.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if content == "" {
		return
	}
	if _, err := r.storeBytes(t.Context(), key, []byte(content)); err != nil {
		t.Fatal(err)
	}
}

func openFar(t *testing.T, o Options) (*Registry, *far) {
	t.Helper()
	f := &far{Store: memory.New()}
	return openRegistry(t, f, openDB(t), o), f
}

func TestFarBlobIsReadWithoutALook(t *testing.T) {
	r, f := openFar(t, Options{})
	d := push(t, r, repo, "content")
	f.looks, f.reads = 0, 0
	wantBlob(t, r, repo, "content")
	if f.looks != 0 || f.reads != 1 {
		t.Errorf("a pull takes %d looks and %d reads, want 0 and 1", f.looks, f.reads)
	}
	if got, err := read(r, repo, d, 3, 2); err != nil || got != "te" || f.reads != 2 || f.looks != 0 {
		t.Errorf("a part is %q, %v, after %d reads and %d looks", got, err, f.reads, f.looks)
	}
}

func TestFarBlobThatIsLost(t *testing.T) {
	r, f := openFar(t, Options{URLLifetime: time.Minute})
	for _, use := range []func(oci.Digest) error{
		func(d oci.Digest) error { _, err := read(r, repo, d, 0, -1); return err },
		func(d oci.Digest) error { _, err := read(r, repo, d, 0, 0); return err },
		func(d oci.Digest) error { _, err := urlOf(t, r, d); return err },
	} {
		d := push(t, r, repo, "content")
		f.replace(t, r, d, "")
		if err := use(d); !errors.Is(err, oci.BlobUnknown) {
			t.Errorf("what is lost: %v, want %v", err, oci.BlobUnknown)
		}
		if _, err := r.Blob(t.Context(), repo, d); !errors.Is(err, oci.BlobUnknown) {
			t.Errorf("what is known to be lost: %v, want %v", err, oci.BlobUnknown)
		}
		push(t, r, repo, "content")
		wantBlob(t, r, repo, "content")
	}
}

// TestFarBlobThatWasReplaced: other bytes are noticed on their way, and the same
// are served again without a look.
func TestFarBlobThatWasReplaced(t *testing.T) {
	r, f := openFar(t, Options{URLLifetime: time.Minute})
	d := push(t, r, repo, "content")
	f.replace(t, r, d, "content")
	if url, err := urlOf(t, r, d); err != nil || url != "" {
		t.Errorf("what was not checked has the address %q, %v", url, err)
	}
	wantBlob(t, r, repo, "content")
	f.looks = 0
	wantBlob(t, r, repo, "content")
	if f.looks != 0 {
		t.Errorf("what was checked takes %d looks", f.looks)
	}
	f.replace(t, r, d, "garbage")
	if got, err := read(r, repo, d, 0, -1); err == nil {
		t.Errorf("other bytes were served: %q", got)
	}
	if _, err := r.Blob(t.Context(), repo, d); !errors.Is(err, oci.BlobUnknown) {
		t.Errorf("other bytes: %v, want %v", err, oci.BlobUnknown)
	}
}

func urlOf(t *testing.T, r *Registry, d oci.Digest) (string, error) {
	t.Helper()
	c, err := r.Blob(t.Context(), repo, d)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.URL(t.Context())
}

func TestURL(t *testing.T) {
	r, _ := openFar(t, Options{})
	if url, err := urlOf(t, r, push(t, r, repo, "content")); url != "" || err != nil {
		t.Errorf("without a lifetime: %q, %v", url, err)
	}
	r, _ = openFar(t, Options{URLLifetime: time.Minute})
	d := push(t, r, repo, "content")
	want := "https://store.example.org/" + row(t, r, d).Key + "?for=1m0s"
	if url, err := urlOf(t, r, d); url != want || err != nil {
		t.Errorf("the address is %q, %v; want %q", url, err, want)
	}
}

// TestStorage: what a client is told of an error of the store.
func TestStorage(t *testing.T) {
	for err, want := range map[error]error{
		blob.ErrNoSpace: oci.InsufficientStorage, meta.ErrNoSpace: oci.InsufficientStorage,
		blob.ErrTooLarge: oci.SizeInvalid, blob.ErrStale: oci.BlobUploadUnknown,
	} {
		if got := storage(fmt.Errorf("write: %w", err)); !errors.Is(got, want) || !errors.Is(got, err) {
			t.Errorf("%v becomes %v, want %v", err, got, want)
		}
	}
	if got := storage(io.ErrUnexpectedEOF); got != io.ErrUnexpectedEOF {
		t.Errorf("a failure of the store becomes %v", got)
	}
}
