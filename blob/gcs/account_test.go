package gcs

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/auth"
	"berth/blob"
	"berth/blob/bucket"
	"berth/test/gcs"
)

func get(t *testing.T, address string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, data
}

func put(t *testing.T, s *bucket.Store, key string, data []byte) {
	t.Helper()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	must[int](t)(w.Write(data))
	must[blob.Info](t)(w.Commit(t.Context()))
}

// TestKeyFile: the account logs in with its key, again when its token ends, and
// signs addresses itself.
func TestKeyFile(t *testing.T) {
	s := gcs.Start(t)
	file := s.KeyFile(t)
	s.TokenLife = 11 * time.Second // of which the library uses one
	store := open(t, s, func(o *Options) { o.Credentials = auth.Secret(file) })
	put(t, store, "a/b_c", []byte("hello"))
	time.Sleep(1200 * time.Millisecond)
	put(t, store, "k", content(1, 3*chunk+5))
	if n := s.Requests("token"); n < 2 {
		t.Errorf("%d tokens were given", n)
	}
	address := must[string](t)(store.URL(t.Context(), "k", time.Minute))
	if status, data := get(t, address); status != http.StatusOK || !bytes.Equal(data, content(1, 3*chunk+5)) {
		t.Errorf("the address answers %d with %d bytes", status, len(data))
	}
	if status, _ := get(t, strings.Replace(address, "/k?", "/l?", 1)); status != http.StatusForbidden {
		t.Errorf("the address of another object answers %d", status)
	}
	short := must[string](t)(store.URL(t.Context(), "k", time.Second))
	time.Sleep(2 * time.Second)
	if status, _ := get(t, short); status != http.StatusForbidden {
		t.Errorf("an address that has run out answers %d", status)
	}
}

// TestMachine: the account of a machine signs through Google, if it may.
func TestMachine(t *testing.T) {
	s := gcs.Start(t)
	s.SignFor = gcs.NewKey(t)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	log := slog.New(slog.DiscardHandler)
	d := must[*driver](t)(newDriver(t.Context(), &Options{Bucket: gcs.Bucket, Log: log}))
	d.base = s.URL
	d.signer.(*remoteSigner).endpoint = s.URL
	store := bucket.New(d, bucket.Options{Align: chunk})
	put(t, store, "k", []byte("hello"))
	address := must[string](t)(store.URL(t.Context(), "k", time.Minute))
	if status, data := get(t, address); status != http.StatusOK || string(data) != "hello" {
		t.Errorf("the address answers %d with %q", status, data)
	}
	s.Forbidden = true
	n := s.Requests("sign")
	for range 3 {
		if address := must[string](t)(store.URL(t.Context(), "k", time.Minute)); address != "" {
			t.Error("an address although the account may not sign")
		}
	}
	if s.Requests("sign") != n+1 {
		t.Error("an account that may not sign is asked again at once")
	}
}
