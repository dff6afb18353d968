package server

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"berth/oci"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParsePath(t *testing.T) {
	byTag := func(repo oci.Name, tag oci.Tag) target {
		return target{kind: kindManifest, repo: repo, reference: oci.Reference{Tag: tag}}
	}
	tests := map[string]target{
		"/":                             {kind: kindRoot},
		"/v2":                           {kind: kindBase},
		"/v2/":                          {kind: kindBase},
		"/v2/_catalog":                  {kind: kindCatalog},
		"/auth/token":                   {kind: kindToken},
		"/ui":                           {kind: kindPage, page: "/ui"},
		"/ui/":                          {kind: kindPage, page: "/ui/"},
		"/ui/login/sso":                 {kind: kindPage, page: "/ui/login/sso"},
		"/auth/device":                  {kind: kindPage, page: "/auth/device"},
		"/auth/device/token":            {kind: kindPage, page: "/auth/device/token"},
		"/v2/a/tags/list":               {kind: kindTags, repo: "a"},
		"/v2/a/b/tags/list":             {kind: kindTags, repo: "a/b"},
		"/v2/a/manifests/v1":            byTag("a", "v1"),
		"/v2/a/manifests/" + someDigest: {kind: kindManifest, repo: "a", reference: oci.Reference{Digest: someDigest}},
		"/v2/a/manifests/sha256%3A" + someDigest[7:]: {kind: kindManifest, repo: "a", reference: oci.Reference{Digest: someDigest}},
		"/v2/a/blobs/" + someDigest:                  {kind: kindBlob, repo: "a", digest: someDigest},
		"/v2/a/blobs/uploads/":                       {kind: kindUploads, repo: "a"},
		"/v2/a/blobs/uploads":                        {kind: kindUploads, repo: "a"},
		"/v2/a/blobs/uploads/x-1_Y":                  {kind: kindUpload, repo: "a", upload: "x-1_Y"},
		"/v2/a/referrers/" + someDigest:              {kind: kindReferrers, repo: "a", digest: someDigest},
		// Names whose components are words of the API have one meaning.
		"/v2/a/blobs/uploads/manifests/v1":    byTag("a/blobs/uploads", "v1"),
		"/v2/a/blobs/uploads/tags/list":       {kind: kindTags, repo: "a/blobs/uploads"},
		"/v2/a/tags/list/manifests/list":      byTag("a/tags/list", "list"),
		"/v2/a/manifests/tags/list":           {kind: kindTags, repo: "a/manifests"},
		"/v2/manifests/manifests/manifests":   byTag("manifests", "manifests"),
		"/v2/a/blobs/uploads/blobs/uploads/":  {kind: kindUploads, repo: "a/blobs/uploads"},
		"/v2/a/blobs/blobs/uploads/uploads":   {kind: kindUpload, repo: "a/blobs", upload: "uploads"},
		"/v2/tags/list/tags/list":             {kind: kindTags, repo: "tags/list"},
		"/v2/a/referrers/blobs/" + someDigest: {kind: kindBlob, repo: "a/referrers", digest: someDigest},
	}
	for path, want := range tests {
		got, err := parsePath(path, "")
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(target{})); diff != "" || err != nil {
			t.Errorf("%s: %v %s", path, err, diff)
		}
	}
}

func TestParsePathRefuses(t *testing.T) {
	tests := map[string]int{
		"":                                           http.StatusNotFound,
		"//":                                         http.StatusNotFound,
		"/v3/":                                       http.StatusNotFound,
		"/v2/_catalog/":                              http.StatusNotFound,
		"/v2/a":                                      http.StatusNotFound,
		"/v2/a/manifests":                            http.StatusNotFound,
		"/v2/a/tags/lists":                           http.StatusNotFound,
		"/v2/manifests/v1":                           http.StatusNotFound,
		"/v2//manifests/v1":                          http.StatusBadRequest,
		"/v2/a//manifests/v1":                        http.StatusBadRequest,
		"/v2/a/../b/manifests/v1":                    http.StatusBadRequest,
		"/v2/a%2Fb/manifests/v1":                     http.StatusBadRequest,
		"/v2/a%2eb/manifests/v1":                     http.StatusBadRequest,
		"/v2/A/manifests/v1":                         http.StatusBadRequest,
		"/v2/a%00/manifests/v1":                      http.StatusBadRequest,
		"/v2/a/manifests/":                           http.StatusBadRequest,
		"/v2/a/manifests/..":                         http.StatusBadRequest,
		"/v2/a/manifests/v1%2fx":                     http.StatusBadRequest,
		"/v2/a/manifests/v1%0d%0a":                   http.StatusBadRequest,
		"/v2/a/manifests/-x":                         http.StatusBadRequest,
		"/v2/a/manifests/<script>":                   http.StatusBadRequest,
		"/v2/a/manifests/sha256:../../x":             http.StatusBadRequest,
		"/v2/a/blobs/sha256:../../x":                 http.StatusBadRequest,
		"/v2/a/referrers/sha256:../../x":             http.StatusBadRequest,
		"/v2/a/blobs/sha256:/tags/list":              http.StatusBadRequest,
		"/v2/a:b/c":                                  http.StatusNotFound,
		"/v2/a/blobs/sha256:%2e%2e%2f":               http.StatusBadRequest,
		"/v2/a/blobs/sha1:da39a3ee5e6b4b0d":          http.StatusBadRequest,
		"/v2/a/blobs/" + strings.ToUpper(someDigest): http.StatusBadRequest,
		"/v2/a/blobs/" + someDigest + "0":            http.StatusBadRequest,
		"/v2/a/blobs/":                               http.StatusBadRequest,
		"/v2/a/blobs/uploads/..%2f..%2fx":            http.StatusNotFound,
		"/v2/a/blobs/uploads/'":                      http.StatusNotFound,
		"/uix":                                       http.StatusNotFound,
		"/ui//evil":                                  http.StatusNotFound,
		"/ui/../v2/":                                 http.StatusNotFound,
		"/ui/.hidden":                                http.StatusNotFound,
		"/ui/%2e%2e/":                                http.StatusNotFound,
		"/ui/a%00":                                   http.StatusNotFound,
		"/auth/device/x":                             http.StatusNotFound,
		"/v2/a/blobs/uploads/" + strings.Repeat("x", 129): http.StatusNotFound,
		"/v2/a/blobs/uploads/x/y":                         http.StatusNotFound,
		"/v2/a/manifests/" + strings.Repeat("x", 129):     http.StatusBadRequest,
	}
	s := New(Options{})
	for path, want := range tests {
		got, err := parsePath(path, "")
		if err == nil {
			t.Errorf("%s is parsed as %+v", path, got)
			continue
		}
		r := &http.Request{}
		if a := s.answerTo(&exchange{r: r}, err); a.status != want {
			t.Errorf("%s: status %d (%v), want %d", path, a.status, err, want)
		}
		if got != (target{}) {
			t.Errorf("%s: a target beside an error: %+v", path, got)
		}
	}
}

// TestDigestWithSlashes: what stands where a digest belongs is told to be none,
// however many parts it has.
func TestDigestWithSlashes(t *testing.T) {
	for _, digest := range []string{"sha256:../../x", "sha256:/", "sha256:a/b/manifests/v1", "sha256:" + strings.Repeat("/", 64), ":/", "x:y/z"} {
		for _, word := range []string{"manifests", "blobs", "referrers"} {
			if _, err := parsePath("/v2/a/"+word+"/"+digest, ""); !errors.Is(err, oci.DigestInvalid) {
				t.Errorf("%s %s: %v", word, digest, err)
			}
		}
	}
}

func TestParsePathPrefix(t *testing.T) {
	if got, err := parsePath("/sub/v2/a/tags/list", "/sub"); err != nil || got.repo != "a" {
		t.Errorf("with the prefix: %+v, %v", got, err)
	}
	for _, path := range []string{"/v2/a/tags/list", "/subv2/a/tags/list", "/other/v2/"} {
		if _, err := parsePath(path, "/sub"); !errors.Is(err, error(errNoPath)) {
			t.Errorf("%s: %v, want errNoPath", path, err)
		}
	}
}

// TestPathRoundTrip: whatever the name, a path means what it was made for.
func TestPathRoundTrip(t *testing.T) {
	component := rapid.OneOf(
		rapid.SampledFrom([]string{"blobs", "uploads", "manifests", "tags", "list", "referrers", "v2"}),
		rapid.StringMatching(`[a-z0-9]{1,4}(-[a-z0-9]{1,3})?`),
	)
	tag := rapid.OneOf(rapid.SampledFrom([]string{"uploads", "list", "tags"}), rapid.StringMatching(`[a-zA-Z0-9_][a-zA-Z0-9._-]{0,9}`))
	rapid.Check(t, func(t *rapid.T) {
		repo := oci.Name(strings.Join(rapid.SliceOfN(component, 1, 6).Draw(t, "name"), "/"))
		for _, want := range []target{
			{kind: kindTags, repo: repo},
			{kind: kindManifest, repo: repo, reference: oci.Reference{Tag: oci.Tag(tag.Draw(t, "tag"))}},
			{kind: kindManifest, repo: repo, reference: oci.Reference{Digest: someDigest}},
			{kind: kindBlob, repo: repo, digest: someDigest},
			{kind: kindUploads, repo: repo},
			{kind: kindUpload, repo: repo, upload: tag.Draw(t, "upload")},
			{kind: kindReferrers, repo: repo, digest: someDigest},
		} {
			if strings.Contains(want.upload, ".") {
				continue
			}
			got, err := parsePath("/p"+want.path(), "/p")
			if err != nil || got != want {
				t.Fatalf("%s: %+v, %v; want %+v", want.path(), got, err, want)
			}
		}
	})
}

func TestQueryLimits(t *testing.T) {
	f := newFixture(t)
	many := func(n int) string { return strings.TrimSuffix(strings.Repeat("a=1&", n), "&") }
	f.wantStatus(f.do("GET", "/v2/docs/tags/list?"+many(100), ""), http.StatusNotFound)
	f.wantStatus(f.do("GET", "/v2/docs/tags/list?"+many(101), ""), http.StatusBadRequest)
	f.wantStatus(f.do("GET", "/v2/docs/tags/list?a=%zz", ""), http.StatusBadRequest)
	f.wantStatus(f.do("GET", "/v2/docs/tags/list", "", "Cookie: "+strings.Repeat("a=1; ", 101)), http.StatusBadRequest)
	f.wantStatus(f.do("GET", "/v2/docs/tags/list", "", "X-Large: "+strings.Repeat("x", maxHeader)), http.StatusRequestHeaderFieldsTooLarge)
}
