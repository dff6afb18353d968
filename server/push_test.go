package server

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"berth/oci"
)

// put pushes a manifest to team/app.
func (f *fixture) put(reference string, data []byte, headers ...string) *answerOf {
	f.t.Helper()
	return f.do(put, "/v2/team/app/manifests/"+reference, string(data), append(headers, as("pusher"))...)
}

func TestPutManifest(t *testing.T) {
	f := newFixture(t)
	data := imageManifest("", "x")
	d := string(oci.DigestOf(oci.SHA256, data))
	d512 := string(oci.DigestOf(oci.SHA512, data))
	about := imageManifest(someDigest, "about")
	tests := []struct {
		name, reference string
		data            []byte
		header          string
		status          int
		code            oci.Code
	}{
		{"by tag", "v1", data, "", 201, ""},
		{"by digest", d, data, "", 201, ""},
		{"by the other algorithm", d512, data, "", 201, ""},
		{"by digest, with tags", d + "?tag=a&tag=b&tag=a", data, "", 201, ""},
		{"with a subject", "about", about, "", 201, ""},
		{"without Content-Type", "v2", data, "Content-Type: ", 201, ""},
		{"of other bytes", someDigest, data, "", 400, oci.DigestInvalid},
		{"a bad tag in the query", d + "?tag=-x", data, "", 400, oci.TagInvalid},
		{"tags beside a tag", "v1?tag=a", data, "", 400, oci.Unsupported},
		{"another Content-Type", "v1", data, "Content-Type: " + oci.MediaTypeIndex, 400, oci.ManifestInvalid},
		{"an unknown Content-Type", "v1", data, "Content-Type: text/html", 400, oci.ManifestInvalid},
		{"nothing", "v1", nil, "", 400, oci.ManifestInvalid},
		{"null", "v1", []byte("null"), "", 400, oci.ManifestInvalid},
		{"too deep", "v1", []byte(strings.Repeat("[", 1000)), "", 400, oci.ManifestInvalid},
		{"the largest", "large", padded(oci.MaxManifestSize), "", 201, ""},
		{"one byte more", "larger", padded(oci.MaxManifestSize + 1), "", 413, oci.SizeInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			a := f.put(test.reference, test.data, cmp.Or(test.header, "Content-Type: application/json"))
			f.wantStatus(a, test.status)
			if a.code() != test.code {
				t.Errorf("code %s, want %s", a.code(), test.code)
			}
			if test.status != 201 {
				return
			}
			got := f.do(get, a.Header.Get("Location"), "", as("puller"))
			f.wantStatus(got, http.StatusOK)
			if got.body != string(test.data) || got.Header.Get("Docker-Content-Digest") != a.Header.Get("Docker-Content-Digest") {
				t.Errorf("what is at the Location is %d bytes with digest %s", len(got.body), got.Header.Get("Docker-Content-Digest"))
			}
		})
	}
	f.t = t
	if got := f.put(d+"?tag=a&tag=b&tag=a", data).Header["Oci-Tag"]; fmt.Sprint(got) != "[a b]" {
		t.Errorf("OCI-Tag %v", got)
	}
	if got := f.put("v1", about).Header; got.Get("OCI-Subject") != someDigest || got.Get("OCI-Tag") != "" {
		t.Errorf("OCI-Subject %s, OCI-Tag %s", got.Get("OCI-Subject"), got.Get("OCI-Tag"))
	}
}

// padded returns a manifest of exactly that size.
func padded(size int) []byte {
	short := imageManifest("", "")
	return imageManifest("", strings.Repeat("x", size-len(short)))
}

// TestManifestWithoutLength: a body that does not say its size is cut as well.
func TestManifestWithoutLength(t *testing.T) {
	f := newFixture(t)
	for size, want := range map[int]int{oci.MaxManifestSize: 201, oci.MaxManifestSize + 1: 413} {
		r, err := http.NewRequest(put, f.URL+"/v2/team/app/manifests/v1", iotest.DataErrReader(strings.NewReader(string(padded(size)))))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("pusher", "secret-pusher")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", size, resp.StatusCode, want)
		}
	}
}

// TestRefusedUnread: who may not push is told so before he is asked for a body.
func TestRefusedUnread(t *testing.T) {
	f := newFixture(t)
	for _, request := range []string{
		"PUT /v2/team/app/manifests/v1", "PUT /v2/team/app/manifests/" + someDigest, "POST /v2/team/app/blobs/uploads/?digest=" + someDigest,
		"PATCH /v2/team/app/blobs/uploads/up", "PUT /v2/team/app/blobs/uploads/up?digest=" + someDigest,
	} {
		f.seed("puller")
		status := f.raw(request + " HTTP/1.1\r\nHost: a\r\n" + as("puller") + "\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n")
		if status != "HTTP/1.1 403 Forbidden" {
			t.Errorf("%s: %s", request, status)
		}
	}
}

// TestTooLargeUnread: a manifest that is announced as too large is refused
// before the client is asked for it.
func TestTooLargeUnread(t *testing.T) {
	f := newFixture(t)
	status := f.raw("PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: a\r\n" + as("pusher") + "\r\nExpect: 100-continue\r\nContent-Length: 4194305\r\n\r\n")
	if status != "HTTP/1.1 413 Request Entity Too Large" {
		t.Errorf("%s", status)
	}
}

// TestStalledManifests: those who send half a manifest and wait cannot take
// more memory together than there is for them.
func TestStalledManifests(t *testing.T) {
	f := newFixture(t)
	const size = 2 << 20
	head := "PUT /v2/team/app/manifests/v1 HTTP/1.1\r\nHost: a\r\n" + as("pusher") + fmt.Sprintf("\r\nContent-Length: %d\r\n\r\n", size)
	half := strings.Repeat(" ", size-1)
	statuses := make(chan string, 24)
	for range cap(statuses) {
		conn := f.dial(head)
		go func() {
			io.WriteString(conn, half)
			status, _ := bufio.NewReader(conn).ReadString('\n')
			statuses <- strings.TrimSpace(status)
		}()
	}
	for range cap(statuses) - manifestMemory/size {
		select {
		case status := <-statuses:
			if status != "HTTP/1.1 503 Service Unavailable" {
				t.Errorf("%s", status)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("more manifests are taken than there is memory for")
		}
	}
	f.Listener.Close()
	f.CloseClientConnections()
	for range manifestMemory / size {
		<-statuses
	}
}

func TestPreconditions(t *testing.T) {
	f := newFixture(t)
	first, second := imageManifest("", "1"), imageManifest("", "2")
	is := func(data []byte) string { return `If-Match: "` + string(oci.DigestOf(oci.SHA256, data)) + `"` }
	steps := []struct {
		data   []byte
		header string
		status int
	}{
		{first, "If-None-Match: *", 201},
		{second, "If-None-Match: *", 412},
		{second, is(second), 412},
		{second, is(first), 201},
		{first, is(first) + `, "` + someDigest + `"`, 412},
		{first, "If-Match: *", 400},
		{first, "If-None-Match: \"x\"", 400},
	}
	for i, step := range steps {
		a := f.put("v1", step.data, step.header)
		if a.StatusCode != step.status {
			t.Errorf("step %d: %d %s, want %d", i, a.StatusCode, a.body, step.status)
		}
	}
	if got := f.do(get, "/v2/team/app/manifests/v1", "", as("puller")).body; got != string(second) {
		t.Errorf("the tag names %s", got)
	}
}

// TestCreateOnly: who may only create can move no tag, and is told that he may
// not, and not that he should come with another token for ever.
func TestCreateOnly(t *testing.T) {
	f := newFixture(t)
	f.reg.addManifest("team/app", "v1")
	other := string(imageManifest("", "other"))
	for header, status := range map[string]int{as("creator"): 403, f.bearer("creator", "repository:team/app:pull,push"): 401} {
		a := f.do(put, "/v2/team/app/manifests/v1", other, header)
		f.wantStatus(a, status)
		if a.code() != oci.Denied || !strings.Contains(a.body, "may not be moved (ref ") {
			t.Errorf("%s", a.body)
		}
	}
	f.wantStatus(f.do(put, "/v2/team/app/manifests/v2", other, as("creator")), http.StatusCreated)
}

func TestUpload(t *testing.T) {
	f := newFixture(t)
	start := f.do(post, "/v2/team/app/blobs/uploads/", "", as("pusher"))
	f.wantStatus(start, http.StatusAccepted)
	at := start.Header.Get("Location")
	steps := []struct {
		name, method, query, body, header string
		status                            int
		wantRange                         string
		code                              oci.Code
	}{
		{"nothing yet", get, "", "", "", 204, "0-0", ""},
		{"a chunk of nothing", patch, "", "", "", 202, "0-0", ""},
		{"the first chunk", patch, "", "hello", "Content-Range: 0-4", 202, "0-4", ""},
		{"the same again", patch, "", "hello", "Content-Range: 0-4", 416, "0-4", oci.RangeInvalid},
		{"too far", patch, "", "hello", "Content-Range: 6-10", 416, "0-4", oci.RangeInvalid},
		{"not of its size", patch, "", "hello", "Content-Range: 5-6", 400, "", oci.SizeInvalid},
		{"nonsense", patch, "", "hello", "Content-Range: x", 416, "", oci.RangeInvalid},
		{"a stream, of any type", patch, "", ", wor", "Content-Type: text/html", 202, "0-9", ""},
		{"how far", head, "", "", "", 204, "0-9", ""},
		{"without a digest", put, "", "ld", "", 400, "", oci.DigestInvalid},
		{"two digests", put, "digest=" + someDigest + "&digest=" + someDigest, "ld", "", 400, "", oci.Unsupported},
		{"the end, too far", put, "digest=" + someDigest, "ld", "Content-Range: 11-12", 416, "0-9", oci.RangeInvalid},
		{"the end", put, "digest=" + string(oci.DigestOf(oci.SHA256, []byte("hello, world"))), "ld", "Content-Range: 10-11", 201, "", ""},
		{"after the end", patch, "", "more", "", 404, "", oci.BlobUploadUnknown},
		{"after the end", get, "", "", "", 404, "", oci.BlobUploadUnknown},
	}
	for _, step := range steps {
		a := f.do(step.method, at+"?"+step.query, step.body, as("pusher"), cmp.Or(step.header, "X-None: "))
		if a.StatusCode != step.status || a.Header.Get("Range") != step.wantRange || step.method != head && a.code() != step.code {
			t.Fatalf("%s: %d, Range %q: %s; want %d, %q, %s", step.name, a.StatusCode, a.Header.Get("Range"), a.body, step.status, step.wantRange, step.code)
		}
		if step.wantRange != "" && a.Header.Get("Location") != at {
			t.Errorf("%s: Location %s", step.name, a.Header.Get("Location"))
		}
		if step.status == 201 {
			if got := f.do(get, a.Header.Get("Location"), "", as("puller")); got.body != "hello, world" {
				t.Errorf("the blob is %q", got.body)
			}
		}
	}
}

// TestUploadOwner: an upload is its owner's, in its repository.
func TestUploadOwner(t *testing.T) {
	f := newFixture(t)
	at := f.do(post, "/v2/team/app/blobs/uploads/", "", as("pusher")).Header.Get("Location")
	for _, s := range []sample{{method: get}, {method: patch, body: "x"}, {method: put, path: "?digest=" + someDigest}, {method: remove}} {
		f.wantStatus(f.do(s.method, at+s.path, s.body, as("root")), http.StatusNotFound)
		f.wantStatus(f.do(s.method, strings.Replace(at, "team/app", "team/other", 1)+s.path, s.body, as("pusher")), http.StatusNotFound)
	}
	f.wantStatus(f.do(get, at, "", as("pusher")), http.StatusNoContent)
}

func TestUploadAtOnce(t *testing.T) {
	f := newFixture(t)
	d := string(oci.DigestOf(oci.SHA512, []byte("blob")))
	pushed := false
	tests := []struct {
		name, query, body string
		status            int
		code              oci.Code
	}{
		{"no proof", "digest=" + d, "", 400, oci.DigestInvalid},
		{"other bytes", "digest=" + d, "other", 400, oci.DigestInvalid},
		{"no digest", "digest=", "blob", 400, oci.DigestInvalid},
		{"two digests", "digest=" + d + "&digest=" + d, "blob", 400, oci.Unsupported},
		{"the bytes", "digest=" + url.QueryEscape(d), "blob", 201, ""},
		{"an algorithm", "digest-algorithm=sha512", "", 202, ""},
		{"an unknown algorithm", "digest-algorithm=md5", "", 400, oci.DigestInvalid},
	}
	for _, test := range tests {
		a := f.do(post, "/v2/team/app/blobs/uploads/?"+test.query, test.body, as("pusher"), "Content-Type: application/x-www-form-urlencoded")
		if a.StatusCode != test.status || a.code() != test.code {
			t.Errorf("%s: %d %s", test.name, a.StatusCode, a.body)
		}
		there := f.do(head, "/v2/team/app/blobs/"+d, "", as("puller")).StatusCode == http.StatusOK
		if pushed = pushed || test.status == 201; there != pushed {
			t.Errorf("%s: the blob is there: %v", test.name, there)
		}
	}
}

func TestMount(t *testing.T) {
	f := newFixture(t)
	d := string(f.reg.addBlob("docs", []byte("public")))
	hidden := string(f.reg.addBlob("secret", []byte("hidden")))
	narrow, wide := f.bearer("pusher", "repository:team/app:pull,push"), f.bearer("pusher", "repository:team/app:pull,push", "repository:docs:pull")
	tests := []struct {
		name, query, header string
		status              int
	}{
		{"from where it may be read", "mount=" + d + "&from=docs", as("pusher"), 201},
		{"from anywhere", "mount=" + d, as("pusher"), 201},
		{"with a token for both", "mount=" + d + "&from=docs", wide, 201},
		{"with a token for one", "mount=" + d + "&from=docs", narrow, 401},
		{"with a token for one, of what no token is for", "mount=" + hidden + "&from=secret", narrow, 202},
		{"from where it may not be read", "mount=" + hidden + "&from=secret", as("pusher"), 202},
		{"from anywhere, of what may not be read", "mount=" + hidden, as("pusher"), 202},
		{"of what is nowhere", "mount=" + someDigest + "&from=docs", as("pusher"), 202},
		{"from nowhere", "mount=" + d + "&from=no/such", as("pusher"), 202},
		{"from two", "mount=" + d + "&from=docs&from=secret", as("pusher"), 400},
		{"from no name", "mount=" + d + "&from=../x", as("pusher"), 400},
		{"of no digest", "mount=x&from=docs", as("pusher"), 400},
		{"without the right to push", "mount=" + d + "&from=docs", as("puller"), 403},
		{"by nobody", "mount=" + d + "&from=docs", "X-None: ", 401},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			a := f.do(post, "/v2/team/app/blobs/uploads/?"+test.query, "", test.header)
			f.wantStatus(a, test.status)
			if test.status == 201 {
				f.wantStatus(f.do(get, a.Header.Get("Location"), "", as("puller")), http.StatusOK)
			}
		})
	}
}

// TestClientLeaves: what a client sent before it left is kept.
func TestClientLeaves(t *testing.T) {
	f := newFixture(t)
	at := f.do(post, "/v2/team/app/blobs/uploads/", "", as("pusher")).Header.Get("Location")
	conn := f.dial("PATCH " + at + " HTTP/1.1\r\nHost: a\r\n" + as("pusher") + "\r\nContent-Length: 100\r\n\r\nhello")
	conn.Close()
	deadline := time.Now().Add(5 * time.Second)
	for f.do(get, at, "", as("pusher")).Header.Get("Range") != "0-4" {
		if time.Now().After(deadline) {
			t.Fatal("what the client sent before it left is lost")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestFailures: what goes wrong behind is told to the log, and not the client.
func TestFailures(t *testing.T) {
	f := newFixture(t)
	f.reg.fail = errors.New("open /var/lib/registry/x: input/output error")
	a := f.do(get, "/v2/docs/manifests/v1", "")
	f.wantStatus(a, http.StatusServiceUnavailable)
	if a.code() != oci.Unavailable || strings.Contains(a.body, "/var") || a.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", a.body, a.Header.Get("Retry-After"))
	}
	if !strings.Contains(f.log.String(), "/var/lib/registry/x") || !strings.Contains(f.log.String(), "ref="+a.Header.Get("X-Request-Id")) {
		t.Errorf("log: %s", f.log)
	}
	for code, status := range map[oci.Code]int{oci.InsufficientStorage: 507, oci.TooManyRequests: 429, oci.Conflict: 409, oci.Unknown: 500} {
		f.reg.fail = fmt.Errorf("wrapped: %w", oci.Errorf(code, "told"))
		a := f.do(post, "/v2/team/app/blobs/uploads/", "", as("pusher"))
		f.wantStatus(a, status)
		if a.code() != code || !strings.Contains(a.body, "told") {
			t.Errorf("%s: %s", code, a.body)
		}
		logged := strings.Contains(f.log.String(), "ref="+a.Header.Get("X-Request-Id"))
		if operators := code == oci.InsufficientStorage || code == oci.Unknown; logged != operators {
			t.Errorf("%s: logged: %v, want %v", code, logged, operators)
		}
	}
}
