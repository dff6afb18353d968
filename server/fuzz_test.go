package server

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"berth/access"
	"berth/auth"
	"berth/guard"
	"berth/registry"
)

// FuzzParsePath: a path that means something has one meaning and a way back, and
// nothing in it leads out of a folder.
func FuzzParsePath(f *testing.F) {
	f.Fuzz(func(t *testing.T, path string) {
		got, err := parsePath(path, "")
		if err != nil {
			if got != (target{}) {
				t.Errorf("%q: %+v beside an error", path, got)
			}
			return
		}
		again, err := parsePath(got.path(), "")
		if err != nil || again != got {
			t.Errorf("%q is %+v, whose path %q is %+v, %v", path, got, got.path(), again, err)
		}
		if got.repo != "" && !filepath.IsLocal(string(got.repo)) || strings.ContainsAny(got.upload, "./\\%\x00") {
			t.Errorf("%q is %+v", path, got)
		}
	})
}

// FuzzRange: whatever ranges are asked for, the bytes are those of the content
// at the place where they are said to be, and all are within it.
func FuzzRange(f *testing.F) {
	content := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	reg := newMemory()
	path := "/v2/docs/blobs/" + string(reg.addBlob("docs", content))
	s := New(Options{View: func(c access.Caller) registry.Registry { return guard.New(reg, c, access.Open()) }})
	check := func(t *testing.T, header, contentRange string, got []byte) {
		var first, last, size int
		_, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &size)
		if err != nil || size != len(content) || first < 0 || last < first || last >= size || string(got) != string(content[first:last+1]) {
			t.Fatalf("Range %q is answered with %q as %q: %v", header, got, contentRange, err)
		}
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(get, path, nil)
		r.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		mediaType, params, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
		switch {
		case w.Code == http.StatusOK && w.Body.String() == string(content):
		case w.Code == http.StatusRequestedRangeNotSatisfiable && w.Header().Get("Content-Range") == fmt.Sprintf("bytes */%d", len(content)):
		case w.Code == http.StatusPartialContent && mediaType == "multipart/byteranges":
			parts := multipart.NewReader(w.Body, params["boundary"])
			for n := 0; ; n++ {
				part, err := parts.NextRawPart()
				if err == io.EOF {
					break
				}
				if err != nil || n == maxRanges {
					t.Fatalf("Range %q: part %d: %v", header, n, err)
				}
				data, err := io.ReadAll(part)
				if err != nil {
					t.Fatal(err)
				}
				check(t, header, part.Header.Get("Content-Range"), data)
			}
		case w.Code == http.StatusPartialContent:
			check(t, header, w.Header().Get("Content-Range"), w.Body.Bytes())
		default:
			t.Errorf("Range %q: status %d, %q", header, w.Code, w.Body)
		}
	})
}

// FuzzContentRange: a chunk begins at a byte that there can be, and is as long
// as its body.
func FuzzContentRange(f *testing.F) {
	f.Fuzz(func(t *testing.T, header string, length int64) {
		c, err := parseChunk(&http.Request{Header: http.Header{"Content-Range": {header}}, ContentLength: length})
		switch {
		case err != nil && c != (chunk{}), err == nil && c.given != (header != ""):
			t.Errorf("Content-Range %q: %+v, %v", header, c, err)
		case err == nil && c.given && length > 0:
			said := fmt.Sprintf("%d-%d", c.first, c.first+length-1)
			if again, err := parseChunk(&http.Request{Header: http.Header{"Content-Range": {said}}, ContentLength: length}); err != nil || c.first < 0 || again != c {
				t.Errorf("Content-Range %q of %d bytes begins at %d; %q: %+v, %v", header, length, c.first, said, again, err)
			}
		case err == nil && c.given && length == 0:
			t.Errorf("Content-Range %q of nothing", header)
		}
	})
}

// FuzzForwarded: what a client sends changes nothing of what a trusted proxy
// adds behind it, and nothing at all without one.
func FuzzForwarded(f *testing.F) {
	proxy := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	client, peer := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("192.0.2.1")
	f.Fuzz(func(t *testing.T, forwarded, forwardedFor string) {
		request := func(remote string) *http.Request {
			return &http.Request{RemoteAddr: remote, Host: "r.test", Header: make(http.Header)}
		}
		r := request("192.0.2.1:5")
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			r.Header[name] = []string{forwarded, forwardedFor}
		}
		if o := originOf(r, proxy); o != (origin{peer, "http", "r.test"}) {
			t.Errorf("a peer that is not trusted is believed: %+v", o)
		}
		for name, lines := range map[string]http.Header{
			"a line of its own":      {"Forwarded": {forwarded, "for=203.0.113.9;proto=https;host=hub.test"}},
			"the same line":          {"Forwarded": {forwarded + ", for=203.0.113.9;proto=https;host=hub.test"}},
			"in quotes":              {"Forwarded": {forwarded + `, for="203.0.113.9:47";host="hub.test"`}},
			"X, a line of its own":   {"X-Forwarded-For": {forwardedFor, "203.0.113.9"}},
			"X, the same line":       {"X-Forwarded-For": {forwardedFor + ", 203.0.113.9"}},
			"X, beside Forwarded":    {"X-Forwarded-For": {forwardedFor + ", 203.0.113.9"}, "Forwarded": {forwarded}},
			"Forwarded, beside X":    {"X-Forwarded-For": {forwardedFor}, "Forwarded": {forwarded + ", for=203.0.113.9"}},
			"Forwarded beside hosts": {"X-Forwarded-Host": {forwardedFor}, "Forwarded": {forwarded + ", for=203.0.113.9;host=hub.test"}},
		} {
			r := request("10.0.0.1:5")
			r.Header = lines
			o := originOf(r, proxy)
			if o.addr.IsValid() && o.addr != client {
				t.Errorf("%s: %q makes the client %v", name, lines, o.addr)
			}
			if o.scheme != "http" && o.scheme != "https" {
				t.Errorf("%s: %q makes the scheme %q", name, lines, o.scheme)
			}
		}
	})
}

// FuzzAuthorization: whatever is sent as credentials, nobody becomes somebody,
// and who has not proved who he is gets a 401 with one challenge in one line.
func FuzzAuthorization(f *testing.F) {
	fix := newFixture(f)
	fix.reg.addManifest("docs", "v1")
	handler := fix.Config.Handler
	f.Fuzz(func(t *testing.T, header string) {
		c, basic := auth.ParseBasic(header)
		right := basic && (c.User == "" && c.Password == "" || c.Password.Reveal() == "secret-"+c.User)
		for _, path := range []string{"/v2/", "/v2/_catalog", "/v2/docs/manifests/v1", "/auth/token?scope=repository:docs:pull"} {
			r := httptest.NewRequest(get, path, nil)
			r.Header["Authorization"] = []string{header}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			challenges := w.Header()["Www-Authenticate"]
			switch {
			case right && w.Code < 500:
			case w.Code != http.StatusUnauthorized:
				t.Errorf("%s with %q: status %d", path, header, w.Code)
			case len(challenges) != 1 || strings.ContainsAny(challenges[0], "\r\n\x00\\") || strings.Count(challenges[0], `"`)%2 != 0:
				t.Errorf("%s with %q: challenges %q", path, header, challenges)
			}
			if word := strings.TrimSpace(header); len(word) > 12 && strings.Contains(w.Body.String(), word) {
				t.Errorf("%s with %q: the answer repeats it: %s", path, header, w.Body)
			}
		}
	})
}

// FuzzTokenRequest: whatever is asked of the token server, it answers with a
// token for what is allowed, or says that the request is a bad one.
func FuzzTokenRequest(f *testing.F) {
	fix := newFixture(f)
	handler := fix.Config.Handler
	f.Fuzz(func(t *testing.T, query string, posted bool) {
		r := httptest.NewRequest(get, "/auth/token", nil)
		if posted {
			r = httptest.NewRequest(post, "/auth/token", strings.NewReader(query))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		} else {
			r.URL.RawQuery = query
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		values, err := url.ParseQuery(query)
		switch {
		case w.Code != http.StatusOK && w.Code != http.StatusBadRequest && w.Code != http.StatusUnauthorized && w.Code != http.StatusRequestEntityTooLarge:
			t.Errorf("%q: status %d", query, w.Code)
		case w.Header().Get("Cache-Control") != "no-store":
			t.Errorf("%q: Cache-Control %q", query, w.Header().Get("Cache-Control"))
		case w.Code == http.StatusOK && (err != nil || auth.CountScopes(values["scope"]) > auth.MaxScopes):
			t.Errorf("%q: a token for %d scopes, %v", query, auth.CountScopes(values["scope"]), err)
		case w.Code == http.StatusOK && !posted:
			var answer tokenAnswer
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			for _, scope := range auth.ParseScopes([]string{answer.Scope}) {
				if scope.Name != "docs" && scope.Name != "catalog" || strings.Contains(scope.String(), "push") || strings.Contains(scope.String(), "delete") {
					t.Errorf("%q: nobody has a token for %s", query, scope)
				}
			}
		}
	})
}

// FuzzChallenge: whatever stands in a challenge, it stays one line with as many
// parts as it was made of.
func FuzzChallenge(f *testing.F) {
	f.Fuzz(func(t *testing.T, realm, service, scope, description string) {
		h := (&challenge{realm: realm, service: service, scope: "x" + scope, err: invalidToken}).header(description)
		if strings.ContainsAny(h, "\r\n\x00\\") || strings.Count(h, `"`) != 10 {
			t.Errorf("challenge %q", h)
		}
	})
}
