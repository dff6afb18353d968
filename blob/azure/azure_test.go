package azure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"berth/auth"
	"berth/blob"
	"berth/blob/blobtest"
	"berth/blob/bucket"
	"berth/test/azurite"
)

// A lab has one Azurite, behind a proxy that breaks what fault says.
type lab struct {
	server *azurite.Server
	proxy  *httptest.Server
	fault  atomic.Pointer[func(*http.Request) fault]
	made   int
}

// A fault is how one request goes wrong.
type fault struct {
	status int
	lose   bool
}

// TestAzurite runs all tests that need a server, with the same one.
func TestAzurite(t *testing.T) {
	l := &lab{server: azurite.Start(t)}
	target, err := url.Parse(l.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", target.Host },
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	l.proxy = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var f fault
		if decide := l.fault.Load(); decide != nil {
			f = (*decide)(r)
		}
		switch {
		case f.status != 0:
			w.WriteHeader(f.status)
		case f.lose:
			forward.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		default:
			forward.ServeHTTP(w, r)
		}
	}))
	defer l.proxy.Close()
	tests := []struct {
		name string
		test func(*testing.T, *lab)
	}{
		{"kit", testKit},
		{"kit with faults", testKitWithFaults},
		{"another process", testAnotherProcess},
		{"overtaken elsewhere", testOvertakenElsewhere},
		{"lost answers", testLostAnswers},
		{"no container", testNoContainer},
		{"replaced", testReplaced},
		{"addresses", testAddresses},
		{"connection string", testConnectionString},
		{"store is away", testAway},
		{"server is killed", testKilled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			defer l.fault.Store(nil)
			test.test(t, l)
		})
	}
}

func (l *lab) breaks(f func(*http.Request) fault) { l.fault.Store(&f) }

// options returns those of a new container.
func (l *lab) options(t *testing.T) Options {
	t.Helper()
	l.made++
	o := Options{
		AccountName: azurite.Account, AccountKey: azurite.Key, ServiceURL: l.proxy.URL + "/" + azurite.Account,
		Container: fmt.Sprintf("berth-%d", l.made), RootDirectory: "/a/registry", RetryDelay: time.Millisecond,
		Log: slog.New(slog.DiscardHandler),
	}
	key := must[*azblob.SharedKeyCredential](t)(azblob.NewSharedKeyCredential(azurite.Account, azurite.Key))
	c := must[*container.Client](t)(container.NewClientWithSharedKeyCredential(l.server.URL+"/"+o.Container, key, nil))
	must[container.CreateResponse](t)(c.Create(t.Context(), nil))
	return o
}

func open(t *testing.T, o Options) *bucket.Store {
	t.Helper()
	return must[*bucket.Store](t)(Open(t.Context(), o))
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

func content(seed uint64, n int) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func read(t *testing.T, s blob.Store, key string) []byte {
	t.Helper()
	o := must[blob.Object](t)(s.Open(t.Context(), key))
	rc := must[io.ReadCloser](t)(o.Range(t.Context(), 0, -1))
	defer rc.Close()
	return must[[]byte](t)(io.ReadAll(rc))
}

func put(t *testing.T, s *bucket.Store, key string, data []byte) blob.Info {
	t.Helper()
	w := must[blob.Writer](t)(s.Create(t.Context(), key))
	must[int](t)(w.Write(data))
	return must[blob.Info](t)(w.Commit(t.Context()))
}

// small returns a Store of o whose parts are short.
func small(t *testing.T, o Options) *bucket.Store {
	t.Helper()
	d := must[*driver](t)(newDriver(&o))
	return bucket.New(d, bucket.Options{Prefix: bucket.Prefix(o.RootDirectory), Part: 100_000, Log: o.Log})
}

func testKit(t *testing.T, l *lab) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return small(t, l.options(t)) })
}

// testKitWithFaults: one request of eight goes wrong.
func testKitWithFaults(t *testing.T, l *lab) {
	blobtest.Run(t, func(t *testing.T) blob.Store {
		s := small(t, l.options(t))
		var n atomic.Int64
		l.breaks(func(*http.Request) fault {
			switch n.Add(1) % 16 {
			case 0:
				return fault{lose: true}
			case 8:
				return fault{status: http.StatusServiceUnavailable}
			}
			return fault{}
		})
		return s
	})
}

func testAnotherProcess(t *testing.T, l *lab) {
	o := l.options(t)
	data := content(1, 1_000_000)
	w := must[blob.Writer](t)(small(t, o).Create(t.Context(), "k"))
	for rest := data; len(rest) > 0; {
		n := min(len(rest), 170_000)
		must[int](t)(w.Write(rest[:n]))
		rest = rest[n:]
		state := must[[]byte](t)(w.Suspend(t.Context()))
		w = must[blob.Writer](t)(small(t, o).Resume(t.Context(), "k", state))
	}
	must[blob.Info](t)(w.Commit(t.Context()))
	if !bytes.Equal(read(t, open(t, o), "k"), data) {
		t.Error("what was written in pieces is something else")
	}
	var names []string
	d := must[*driver](t)(newDriver(&o))
	err := d.List(t.Context(), "", "", 0, func(e blob.Entry) bool { names = append(names, e.Key); return true })
	if err != nil || fmt.Sprint(names) != "[a/registry/k]" {
		t.Errorf("left are %q, %v", names, err)
	}
}

// testOvertakenElsewhere: blocks of the slow one take nobody's place, and whoever
// commits second finds out.
func testOvertakenElsewhere(t *testing.T, l *lab) {
	o := l.options(t)
	w := must[blob.Writer](t)(small(t, o).Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 300_000)))
	state := must[[]byte](t)(w.Suspend(t.Context()))
	slow := must[blob.Writer](t)(small(t, o).Resume(t.Context(), "k", state))
	fast := must[blob.Writer](t)(small(t, o).Resume(t.Context(), "k", state))
	must[int](t)(fast.Write(content(2, 300_000)))
	must[int](t)(slow.Write(content(3, 300_000)))
	must[blob.Info](t)(fast.Commit(t.Context()))
	if _, err := slow.Commit(t.Context()); !errors.Is(err, blob.ErrStale) {
		t.Errorf("the slow one: %v, want %v", err, blob.ErrStale)
	}
	if err := slow.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	want := append(content(1, 300_000), content(2, 300_000)...)
	if !bytes.Equal(read(t, open(t, o), "k"), want) {
		t.Error("the bytes are not those that were committed")
	}
	if _, err := open(t, o).Resume(t.Context(), "k", state); !errors.Is(err, blob.ErrStale) {
		t.Errorf("Resume of what was committed: %v", err)
	}
}

// testLostAnswers: what was done is found out, and not done twice.
func testLostAnswers(t *testing.T, l *lab) {
	for _, n := range []int{0, 10, 350_000} {
		s := small(t, l.options(t))
		var lost sync.Map
		l.breaks(func(r *http.Request) fault {
			if r.Method != http.MethodPut {
				return fault{}
			}
			_, before := lost.LoadOrStore(r.URL.Query().Get("comp"), true)
			return fault{lose: !before}
		})
		info := put(t, s, "k", content(1, n))
		l.fault.Store(nil)
		if o := must[blob.Object](t)(s.Open(t.Context(), "k")); o.Info() != info || !bytes.Equal(read(t, s, "k"), content(1, n)) {
			t.Errorf("%d bytes: committed is %+v, found %+v", n, info, o.Info())
		}
	}
}

func testNoContainer(t *testing.T, l *lab) {
	o := l.options(t)
	o.Container = "elsewhere"
	if _, err := small(t, o).Open(t.Context(), "k"); err == nil || errors.Is(err, blob.ErrNotExist) {
		t.Errorf("Open without a container: %v", err)
	}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "ContainerNotFound") {
		t.Errorf("a container that is not there: %v", err)
	}
	o.AccountKey = "d3Jvbmc="
	if _, err := Open(t.Context(), o); err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong key: %v", err)
	}
}

// testReplaced: bytes that somebody put into the place of others are not read.
func testReplaced(t *testing.T, l *lab) {
	opts := l.options(t)
	s := small(t, opts)
	info := put(t, s, "k", []byte("right"))
	o := must[blob.Object](t)(s.Open(t.Context(), "k"))
	d := must[*driver](t)(newDriver(&opts))
	if _, err := d.blob("a/registry/k").Upload(t.Context(), body([]byte("wrong")), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Range(t.Context(), 0, -1); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("Range: %v", err)
	}
	if again := must[blob.Object](t)(s.Open(t.Context(), "k")); again.Info().Stamp == info.Stamp {
		t.Error("the stamp is the same")
	}
}

func get(t *testing.T, address string) (int, string) {
	t.Helper()
	resp := must[*http.Response](t)(http.Get(address))
	defer resp.Body.Close()
	return resp.StatusCode, string(must[[]byte](t)(io.ReadAll(resp.Body)))
}

func testAddresses(t *testing.T, l *lab) {
	o := l.options(t)
	s := small(t, o)
	put(t, s, "a/b-c_d.e", []byte("hello"))
	address := must[string](t)(s.URL(t.Context(), "a/b-c_d.e", time.Minute))
	if status, data := get(t, address); status != http.StatusOK || data != "hello" {
		t.Errorf("the address answers %d with %q", status, data)
	}
	put(t, s, "other", []byte("secret"))
	if status, _ := get(t, strings.Replace(address, url.PathEscape("a/b-c_d.e"), "other", 1)); status != http.StatusForbidden {
		t.Errorf("the address of another blob answers %d", status)
	}
	short := must[string](t)(s.URL(t.Context(), "other", time.Second))
	time.Sleep(2 * time.Second)
	if status, _ := get(t, short); status != http.StatusForbidden {
		t.Errorf("an address that has run out answers %d", status)
	}
}

func testConnectionString(t *testing.T, l *lab) {
	o := l.options(t)
	put(t, small(t, o), "k", []byte("hello"))
	o.ConnectionString = auth.Secret("DefaultEndpointsProtocol=http;AccountName=" + azurite.Account + ";AccountKey=" + azurite.Key + ";BlobEndpoint=" + o.ServiceURL + ";")
	o.AccountName, o.AccountKey, o.ServiceURL = "", "", ""
	s := open(t, o)
	if got := read(t, s, "k"); string(got) != "hello" {
		t.Errorf("read %q", got)
	}
	if status, data := get(t, must[string](t)(s.URL(t.Context(), "k", time.Minute))); status != http.StatusOK || data != "hello" {
		t.Errorf("the address answers %d with %q", status, data)
	}
}

// testAway: the error comes in a bounded time, in one line, and holds no address.
func testAway(t *testing.T, l *lab) {
	s := small(t, l.options(t))
	w := must[blob.Writer](t)(s.Create(t.Context(), "k"))
	must[int](t)(w.Write(content(1, 250_000)))
	l.breaks(func(*http.Request) fault { return fault{status: http.StatusServiceUnavailable} })
	_, err := w.Commit(t.Context())
	if err == nil || errors.Is(err, blob.ErrStale) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "http") {
		t.Errorf("Commit: %v", err)
	}
	l.fault.Store(nil)
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort: %v", err)
	}
}

// testKilled: the server is killed in the middle of an upload, which goes on
// when it is back, and what was committed is there.
func testKilled(t *testing.T, l *lab) {
	o := l.options(t)
	put(t, small(t, o), "before", content(1, 250_000))
	w := must[blob.Writer](t)(small(t, o).Create(t.Context(), "k"))
	must[int](t)(w.Write(content(2, 250_000)))
	state := must[[]byte](t)(w.Suspend(t.Context()))
	time.Sleep(7 * time.Second) // Azurite saves what it knows of its blobs every 5
	l.server.Kill()
	if _, err := small(t, o).Resume(t.Context(), "k", state); err == nil || errors.Is(err, blob.ErrStale) {
		t.Errorf("Resume without a server: %v", err)
	}
	l.server.Restart(t)
	if !bytes.Equal(read(t, small(t, o), "before"), content(1, 250_000)) {
		t.Error("what was committed is something else")
	}
	w = must[blob.Writer](t)(small(t, o).Resume(t.Context(), "k", state))
	must[int](t)(w.Write([]byte("end")))
	must[blob.Info](t)(w.Commit(t.Context()))
	if !bytes.Equal(read(t, small(t, o), "k"), append(content(2, 250_000), "end"...)) {
		t.Error("what was written around a kill is something else")
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{Container: "c"},
		{AccountName: "a"},
		{AccountName: "a", Container: "c", Type: SharedKey},
		{AccountName: "a", Container: "c", Type: ClientSecret, ClientID: "x"},
		{AccountName: "a", Container: "c", Type: "magic"},
		{AccountName: "a", Container: "c", AccountKey: "not base64: secret"},
		{AccountName: "a", Container: "c", AccountKey: "d3Jvbmc=", ServiceURL: "https://a/?sig=secret"},
		{Container: "c", ConnectionString: "secret"},
	} {
		if _, err := newDriver(&o); err == nil || strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "client_secret") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	o := Options{AccountName: "a", Container: "c", AccountKey: "d3Jvbmc="}
	if err := o.Check(); err != nil || o.Type != SharedKey || o.ServiceURL != "https://a.blob.core.windows.net" {
		t.Errorf("%+v, %v", o, err)
	}
}
