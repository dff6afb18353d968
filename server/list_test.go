package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

// follow reads a listing to its end, page by page, and returns the pages.
func (f *fixture) follow(path, key string, headers ...string) (pages [][]string) {
	f.t.Helper()
	for path != "" {
		a := f.do(get, path, "", headers...)
		f.wantStatus(a, http.StatusOK)
		var listing map[string]json.RawMessage
		var entries []any
		if err := json.Unmarshal([]byte(a.body), &listing); err != nil {
			f.t.Fatal(err)
		}
		if err := json.Unmarshal(listing[key], &entries); err != nil || entries == nil {
			f.t.Fatalf("%s in %s: %v", key, a.body, err)
		}
		page := []string{}
		for _, e := range entries {
			if d, ok := e.(map[string]any); ok {
				e = d["digest"]
			}
			page = append(page, fmt.Sprint(e))
		}
		pages = append(pages, page)
		path = ""
		if link := a.Header.Get("Link"); link != "" {
			var ok bool
			if path, ok = strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`); !ok {
				f.t.Fatalf("Link %s", link)
			}
		}
	}
	return pages
}

func TestTags(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MaxTags = 3 })
	for _, tag := range []oci.Tag{"v2", "V1", "v1", "a", "a-b", "a.b", "latest"} {
		f.reg.addManifest("docs", tag)
	}
	all := []string{"V1", "a", "a-b", "a.b", "latest", "v1", "v2"}
	tests := map[string][][]string{
		"":               {all},
		"?last=a-b":      {all[3:]},
		"?last=b":        {all[4:]},
		"?last=z":        {{}},
		"?n=2":           {all[:2], all[2:4], all[4:6], all[6:]},
		"?n=3&last=V1":   {all[1:4], all[4:]},
		"?n=1000":        {all[:3], all[3:6], all[6:]},
		"?n=0":           {{}},
		"?n=2147483647":  {all[:3], all[3:6], all[6:]},
		"?n=1&last=v1":   {{"v2"}},
		"?last=latest&x": {all[5:]},
	}
	for query, want := range tests {
		if diff := cmp.Diff(want, f.follow("/v2/docs/tags/list"+query, "tags")); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	for query, code := range map[string]oci.Code{
		"?n=-1": oci.PageInvalid, "?n=abc": oci.PageInvalid, "?n=1e3": oci.PageInvalid, "?n=100000000000000000000": oci.PageInvalid,
		"?n=1&n=2": oci.Unsupported, "?last=../../x": oci.TagInvalid, "?last=%00": oci.TagInvalid, "?last=%ff": oci.TagInvalid,
	} {
		a := f.do(get, "/v2/docs/tags/list"+query, "")
		f.wantStatus(a, http.StatusBadRequest)
		if a.code() != code {
			t.Errorf("%s: %s, want %s", query, a.code(), code)
		}
	}
	a := f.do(get, "/v2/team/none/tags/list", "", as("puller"))
	f.wantStatus(a, http.StatusNotFound)
	if a.code() != oci.NameUnknown {
		t.Errorf("an unknown repository: %s", a.body)
	}
}

// TestTagsBrokenOff: a listing that fails in its middle does not end like a
// complete one.
func TestTagsBrokenOff(t *testing.T) {
	for _, limit := range []int{1, 1000} {
		f := newFixture(t, func(o *Options) { o.MaxTags = limit })
		for i := range 2 * limit {
			f.reg.mu.Lock()
			f.reg.repo("docs").tags[oci.Tag(fmt.Sprintf("t%05d", i))] = someDigest
			f.reg.mu.Unlock()
		}
		f.reg.failTags = 2
		if a, err := f.try(get, "/v2/docs/tags/list", ""); err == nil {
			t.Errorf("pages of %d: a complete answer: %d %.80s", limit, a.StatusCode, a.body)
		}
	}
}

func TestCatalog(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Prefix = "sub" })
	names := []string{"docs", "team/a", "team/a-b", "team/a/b", "team/b"}
	for _, name := range append([]string{"secret"}, names...) {
		f.reg.addManifest(oci.Name(name), "v1")
	}
	tests := []struct {
		query, header string
		want          [][]string
	}{
		{"", as("puller"), [][]string{names}},
		{"", as("nobody"), [][]string{{"docs"}}},
		{"", as("root"), [][]string{{"docs", "secret", "team/a", "team/a-b", "team/a/b", "team/b"}}},
		{"?n=2", as("puller"), [][]string{names[:2], names[2:4], names[4:]}},
		{"?n=5", as("puller"), [][]string{names}},
		{"?n=0", as("puller"), [][]string{{}}},
		{"?last=team/a-b", as("puller"), [][]string{names[3:]}},
		{"?n=1000000000", f.bearer("nobody", "registry:catalog:*"), [][]string{{"docs"}}},
		{"", f.bearer("", "registry:catalog:*"), [][]string{{"docs"}}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, f.follow("/sub/v2/_catalog"+test.query, "repositories", test.header)); diff != "" {
			t.Errorf("%s: %s", test.query, diff)
		}
	}
	f.wantStatus(f.do(get, "/sub/v2/_catalog?last=../x", "", as("root")), http.StatusBadRequest)
	a := f.do(get, "/sub/v2/_catalog", "", f.bearer("root", "repository:docs:pull"))
	f.wantStatus(a, http.StatusUnauthorized)
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="registry:catalog:*",error="insufficient_scope"`) {
		t.Errorf("a token without the scope: %s", got)
	}
}

func TestReferrers(t *testing.T) {
	f := newFixture(t)
	subject := f.reg.addManifest("docs", "v1")
	var want []string
	for i := range 9 {
		data := imageManifest(subject, fmt.Sprint(i))
		m, err := oci.ParseManifest("", data)
		if err != nil {
			t.Fatal(err)
		}
		d := oci.DigestOf(oci.SHA256, data)
		want = append(want, string(d))
		if _, err := f.reg.PutManifest(t.Context(), "docs", registry.ManifestContent{Manifest: m, Digest: d, Bytes: data}, registry.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	path := "/v2/docs/referrers/" + string(subject)
	for query, pages := range map[string][][]string{
		"":                   {want},
		"?n=0":               {{}},
		"?n=5":               {want[:5], want[5:]},
		"?artifactType=none": {{}},
		"?artifactType=none&n=2&artifactType=application/x-note": {want[:2], want[2:4], want[4:6], want[6:8], want[8:]},
	} {
		if diff := cmp.Diff(pages, f.follow(path+query, "manifests")); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	a := f.do(get, path+"?artifactType=application/x-note", "")
	if got := a.Header.Get("OCI-Filters-Applied"); got != "artifactType" || a.Header.Get("Content-Type") != oci.MediaTypeIndex {
		t.Errorf("OCI-Filters-Applied %q, Content-Type %q", got, a.Header.Get("Content-Type"))
	}
	none := `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeIndex + `","manifests":[]}` + "\n"
	for _, path := range []string{"/v2/docs/referrers/" + someDigest, "/v2/team/none/referrers/" + someDigest} {
		if a := f.do(get, path, "", as("puller")); a.StatusCode != 200 || a.body != none {
			t.Errorf("%s: %d %s", path, a.StatusCode, a.body)
		}
	}
	if f.reg.mostReferrers > referrersAtOnce {
		t.Errorf("%d referrers were in memory at once", f.reg.mostReferrers)
	}
}

func TestSearch(t *testing.T) {
	f := newFixture(t)
	for _, name := range []oci.Name{"docs", "team/app", "team/docs", "secret"} {
		f.reg.addManifest(name, "v1")
	}
	tests := []struct {
		query, header string
		want          []string
	}{
		{"?q=docs&n=25", as("puller"), []string{"docs", "team/docs"}},
		{"?q=docs", "X-None: ", []string{"docs"}},
		{"?q=docs", "Authorization: Basic Og==", []string{"docs"}},
		{"?q=", f.bearer("puller", "registry:catalog:search"), []string{"docs", "team/app", "team/docs"}},
		{"?q=&n=1", as("root"), []string{"docs"}},
		{"?q=%25", as("root"), []string{}},
	}
	for _, test := range tests {
		a := f.do(get, "/v1/search"+test.query, "", test.header)
		f.wantStatus(a, http.StatusOK)
		var got struct {
			Num     int `json:"num_results"`
			Results []struct{ Name string }
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, r := range got.Results {
			names = append(names, r.Name)
		}
		if diff := cmp.Diff(test.want, names); diff != "" || got.Num != len(names) || a.Header.Get("X-Docker-Token") != "" {
			t.Errorf("%s: %s", test.query, diff)
		}
	}
	f.wantStatus(f.do(get, "/v1/search?n=x", ""), http.StatusBadRequest)
	f.wantStatus(f.do(get, "/v1/search?q="+strings.Repeat("x", 256), ""), http.StatusBadRequest)
	a := f.do(get, "/v1/_ping", "", "Authorization: Basic !")
	if a.body != "true\n" || a.Header.Get("X-Docker-Registry-Standalone") != "false" {
		t.Errorf("ping: %s, standalone %q", a.body, a.Header.Get("X-Docker-Registry-Standalone"))
	}
}

// TestSearchesAtOnce: a few searches read at a time, others wait for a moment,
// and are then told to come again. Who is slow to read his answer keeps nobody
// waiting, as the memory of the answer is all that he holds.
func TestSearchesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := &blockedSearch{memory: newMemory(), end: make(chan struct{})}
		reg.addManifest("docs", "v1")
		s := New(Options{View: func(access.Caller) registry.Registry { return reg }})
		search := func(ctx context.Context) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			defer func() { _ = recover() }() // of who has left
			s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, get, "/v1/search?q=docs", nil))
			return w
		}
		var wg sync.WaitGroup
		for range searchesAtOnce {
			wg.Go(func() {
				if w := search(t.Context()); w.Code != http.StatusOK {
					t.Errorf("one of the first: status %d", w.Code)
				}
			})
		}
		synctest.Wait()
		began := time.Now()
		w := search(t.Context())
		if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || time.Since(began) != searchWait {
			t.Errorf("one too many: status %d, Retry-After %q after %v", w.Code, w.Header().Get("Retry-After"), time.Since(began))
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		search(gone)
		wg.Go(func() {
			if w := search(t.Context()); w.Code != http.StatusOK {
				t.Errorf("one that had to wait: status %d", w.Code)
			}
		})
		time.Sleep(searchWait / 2)
		if now := reg.now.Load(); now != searchesAtOnce {
			t.Errorf("%d searches read at a time", now)
		}
		close(reg.end)
		wg.Wait()
		if len(s.searching) != 0 {
			t.Errorf("%d searches have not ended", len(s.searching))
		}
	})
}

// blockedSearch is a registry whose names take long to read.
type blockedSearch struct {
	*memory
	end chan struct{}
	now atomic.Int32
}

func (b *blockedSearch) Repos(ctx context.Context, q registry.RepoQuery) ([]registry.Repo, error) {
	b.now.Add(1)
	defer b.now.Add(-1)
	<-b.end
	return b.memory.Repos(ctx, q)
}

// TestSearchNothing: podman goes on to log in only when nobody is told so.
func TestSearchNothing(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Policy = access.Authenticated })
	f.reg.addManifest("docs", "v1")
	a := f.do(get, "/v1/search?q=", "")
	f.wantStatus(a, http.StatusUnauthorized)
	if got := a.Header.Get("WWW-Authenticate"); !strings.Contains(got, `scope="registry:catalog:*"`) {
		t.Errorf("challenge %s", got)
	}
	f.wantStatus(f.do(get, "/v1/search?q=", "", as("puller")), http.StatusOK)
}

// deadlines is a connection whose reads end at their deadline.
type deadlines struct {
	http.ResponseWriter
	until time.Time
	every time.Duration // takes a read
	size  int           // and brings
	left  int           // reads
}

func (d *deadlines) SetReadDeadline(t time.Time) error { d.until = t; return nil }

func (d *deadlines) Read(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		return 0, io.EOF
	}
	if next := time.Now().Add(d.every); next.After(d.until) {
		time.Sleep(time.Until(d.until))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(d.every)
	return min(d.size, len(p)), nil
}

func TestPace(t *testing.T) {
	tests := []struct {
		name  string
		d     deadlines
		after time.Duration // until it is cut off; 0 is never
	}{
		{"50 KB/s for an hour", deadlines{every: time.Second, size: 50_000, left: 3600}, 0},
		{"1 KiB/s for an hour", deadlines{every: time.Second, size: 1024, left: 3600}, 0},
		{"1 B/s", deadlines{every: time.Second, size: 1, left: 3600}, blobGrace},
		{"nothing", deadlines{every: 24 * time.Hour, left: 1}, blobGrace},
		{"fast", deadlines{size: 32 << 10, left: 10_000}, 0},
	}
	for _, test := range tests {
		synctest.Test(t, func(t *testing.T) {
			d := test.d
			began := time.Now()
			b := &pacedBody{body: &d, control: http.NewResponseController(&d)}
			b.restart()
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, b, make([]byte, blobBuffer))
			var cut *bodyError
			switch {
			case test.after == 0 && err != nil:
				t.Errorf("%s: %v after %v", test.name, err, time.Since(began))
			case test.after != 0 && (!errors.As(err, &cut) || cut.told() == nil || cut.told().status != http.StatusRequestTimeout || time.Since(began) != test.after):
				t.Errorf("%s: %v after %v, want a timeout after %v", test.name, err, time.Since(began), test.after)
			}
		})
	}
}

// TestBodyThatNobodyWants: net/http reads it before it answers, be there anybody
// who sends it or not.
func TestBodyThatNobodyWants(t *testing.T) {
	f := newFixture(t)
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{get, "/livez", 200}, {get, "/v2/", 401}, {put, "/v2/secret/manifests/v1", 401}, {get, "/nowhere", 404}, {"TRACE", "/v2/", 405},
		{http.MethodOptions, "*", 404},
	} {
		for _, content := range []string{"", "more"} {
			w := httptest.NewRecorder()
			d := &deadlines{ResponseWriter: w}
			r := httptest.NewRequest(test.method, test.path, strings.NewReader(content))
			if content == "" {
				r.Body = http.NoBody
			}
			f.Config.Handler.ServeHTTP(d, r)
			soon := !d.until.IsZero() && d.until.Before(time.Now().Add(restTime))
			if w.Code != test.status || soon != (content != "") {
				t.Errorf("%s %s with %q: %d, a read until %v", test.method, test.path, content, w.Code, d.until)
			}
		}
	}
	if !f.Config.DisableGeneralOptionsHandler {
		t.Error("OPTIONS * does not reach the handler")
	}
}
