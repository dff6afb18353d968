package server

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"berth/access"
	"berth/oci"
)

// A sample is one request of an operation, and what it brings who may do it.
type sample struct {
	kind   kind
	method string
	path   string
	body   string
	status int
}

// samples returns a request for every operation of the table of routes.
func samples() []sample {
	const repo = "/v2/team/app"
	blob := repo + "/blobs/" + string(oci.DigestOf(oci.SHA256, []byte("blob")))
	finish := repo + "/blobs/uploads/up?digest=" + string(oci.DigestOf(oci.SHA256, []byte("some more")))
	list := []sample{
		{kindRoot, get, "/", "", 200},
		{kindLive, get, "/livez", "", 200},
		{kindReady, get, "/readyz", "", 200},
		{kindPing, get, "/v1/_ping", "", 200},
		{kindPage, get, "/ui/", "", 200},
		{kindPage, post, "/auth/device", "client_name=x", 200},
		{kindMetrics, get, "/metrics", "", 200},
		{kindSearch, get, "/v1/search?q=app", "", 200},
		{kindBase, get, "/v2/", "", 200},
		{kindCatalog, get, "/v2/_catalog", "", 200},
		{kindTags, get, repo + "/tags/list", "", 200},
		{kindReferrers, get, repo + "/referrers/" + someDigest, "", 200},
		{kindManifest, get, repo + "/manifests/v1", "", 200},
		{kindManifest, put, repo + "/manifests/new", string(imageManifest("", "new")), 201},
		{kindManifest, remove, repo + "/manifests/v1", "", 202},
		{kindBlob, get, blob, "", 200},
		{kindBlob, remove, blob, "", 202},
		{kindUploads, post, repo + "/blobs/uploads/", "", 202},
		{kindUpload, get, repo + "/blobs/uploads/up", "", 204},
		{kindUpload, patch, repo + "/blobs/uploads/up", " more", 202},
		{kindUpload, put, finish, " more", 201},
		{kindUpload, remove, repo + "/blobs/uploads/up", "", 204},
	}
	for _, s := range slices.Clone(list) {
		if s.method == get && routes[s.kind].find(head) != nil {
			s.method, s.body = head, ""
			list = append(list, s)
		}
	}
	return list
}

// rights are what the rules give in team/app.
var rights = map[string]access.Action{
	"":        0,
	"nobody":  0,
	"puller":  access.Pull | access.List,
	"pusher":  access.Pull | access.List | access.Push,
	"creator": access.Pull | access.List | access.Push, // of what is not there yet
	"deleter": access.Pull | access.List | access.Delete,
	"root":    access.All | access.Admin,
}

// seed puts the registry into the state that the samples are made for: with an
// upload of that user's.
func (f *fixture) seed(user string) {
	f.reg.mu.Lock()
	clear(f.reg.repos)
	owner := ""
	if user != "" {
		owner = "test/" + user
	}
	f.reg.uploads = map[string]*memoryUpload{"up": {m: f.reg, id: "up", name: "team/app", owner: owner, data: []byte("some")}}
	f.reg.mu.Unlock()
	f.reg.addManifest("docs", "v1")
	f.reg.addManifest("team/app", "v1")
	f.reg.addBlob("team/app", []byte("blob"))
}

// state tells one state of the registry from another.
func (f *fixture) state() string {
	f.reg.mu.Lock()
	defer f.reg.mu.Unlock()
	r := f.reg.repos["team/app"]
	up := f.reg.uploads["up"]
	return fmt.Sprintf("%d repositories, %d blobs, %d manifests, tags %v, %d uploads, %+v",
		len(f.reg.repos), len(r.blobs), len(r.manifests), slices.Sorted(maps.Keys(r.tags)), len(f.reg.uploads), up != nil && string(up.data) == "some")
}

// TestMatrix asks every operation of every kind of caller.
func TestMatrix(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("metrics")) })
	})
	everything := []string{"repository:team/app:*", "registry:catalog:*"}
	tried := make(map[string]bool)
	for _, s := range samples() {
		op := routes[s.kind].find(s.method)
		tried[fmt.Sprint(s.kind, s.method)] = true
		for user, held := range rights {
			allowed := routes[s.kind].open || op.login || s.kind == kindSearch || held&op.action != 0
			for scheme, header := range map[string]string{"Basic": as(user), "Bearer": f.bearer(user, everything...), "none": "X-None: "} {
				if (user == "") != (scheme == "none") && !(user == "" && scheme == "Bearer") {
					continue
				}
				want := s.status
				switch {
				case scheme == "none" && op.login, !allowed && scheme != "Basic":
					want = 401
				case !allowed:
					want = 403
				case s.kind == kindMetrics && scheme == "Bearer":
					want = 401 // no token is for managing
				}
				t.Run(fmt.Sprintf("%s %s %s %s", s.method, s.path, user, scheme), func(t *testing.T) {
					f.t = t
					f.check(s, user, scheme, header, want)
				})
			}
		}
		t.Run(fmt.Sprintf("%s %s wrong", s.method, s.path), func(t *testing.T) {
			f.t = t
			f.checkWrong(s)
		})
	}
	for k, route := range routes {
		for _, op := range route.ops {
			if k := kind(k); !tried[fmt.Sprint(k, op.method)] && k != kindToken && k != kindKeys {
				t.Errorf("no sample of %s for handler %s", op.method, route.label)
			}
		}
	}
}

// check sends s and compares the answer with what its caller is to get.
func (f *fixture) check(s sample, user, scheme, header string, want int) {
	f.t.Helper()
	f.seed(user)
	before := f.state()
	a := f.do(s.method, s.path, s.body, header)
	f.wantStatus(a, want)
	f.checkHeaders(s, a)
	if want != 401 && want != 403 {
		return
	}
	if after := f.state(); after != before {
		f.t.Errorf("refused, and yet the registry changed from %s to %s", before, after)
	}
	challenges := a.Header["Www-Authenticate"]
	switch {
	case want == 403 && len(challenges) != 0:
		f.t.Errorf("403 with a challenge: %q", challenges)
	case want == 401 && len(challenges) != 1:
		f.t.Fatalf("%d challenges, want 1: %q", len(challenges), challenges)
	case want == 401 && !strings.HasPrefix(challenges[0], `Bearer realm="`+f.URL+`/auth/token",service="registry.test"`):
		f.t.Errorf("challenge %q", challenges[0])
	case want == 401 && scheme == "Bearer" != strings.Contains(challenges[0], `error="insufficient_scope",error_description="`):
		f.t.Errorf("challenge %q for scheme %s", challenges[0], scheme)
	}
	wantCode := oci.Denied
	if user == "" {
		wantCode = oci.Unauthorized
	}
	if s.method != head && a.code() != wantCode {
		f.t.Errorf("code %s, want %s", a.code(), wantCode)
	}
}

// checkHeaders checks what every answer has.
func (f *fixture) checkHeaders(s sample, a *answerOf) {
	f.t.Helper()
	if got := a.Header.Get("X-Content-Type-Options"); got != "nosniff" {
		f.t.Errorf("X-Content-Type-Options %q", got)
	}
	if id := a.Header.Get("X-Request-Id"); len(id) != 10 || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		f.t.Errorf("X-Request-Id %q", id)
	}
	if strings.HasPrefix(s.path, "/v2/") && a.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" {
		f.t.Error("Docker-Distribution-Api-Version is missing")
	}
	ref := "(ref " + a.Header.Get("X-Request-Id") + ")"
	if refused := a.StatusCode == 401 || a.StatusCode == 403; refused && s.method != head && !strings.Contains(a.body, ref) {
		f.t.Errorf("no %s in %s", ref, a.body)
	}
}

// checkWrong: credentials that are there and wrong are a 401 wherever they are
// looked at, whatever anonymous might do.
func (f *fixture) checkWrong(s sample) {
	f.t.Helper()
	f.seed("root")
	want := http.StatusUnauthorized
	if routes[s.kind].open {
		want = s.status
	}
	before := f.state()
	for _, header := range []string{
		"Authorization: Basic cm9vdDp3cm9uZw==", // root:wrong
		"Authorization: Basic !",
		"Authorization: Basic cm9vdA==", // root, without a colon
		"Authorization: Bearer nonsense",
		"Authorization: Digest x",
		"Authorization: ",
	} {
		a := f.do(s.method, s.path, s.body, header)
		f.wantStatus(a, want)
		if n := len(a.Header["Www-Authenticate"]); want == 401 && n != 1 {
			f.t.Errorf("%s: %d challenges", header, n)
		}
	}
	a := f.do(s.method, s.path, s.body, as("root"), as("root"))
	f.wantStatus(a, want)
	if want == 401 && f.state() != before {
		f.t.Error("the registry changed")
	}
}

// TestMethods: what no route knows is a 405 that says what there is, and no
// header or key overrides a method.
func TestMethods(t *testing.T) {
	f := newFixture(t)
	f.seed("root")
	allow := map[string]string{
		"/v2/":                        "GET, HEAD",
		"/v2/team/app/manifests/v1":   "GET, HEAD, PUT, DELETE",
		"/v2/team/app/blobs/uploads/": "POST",
		"/nowhere":                    "GET, HEAD",
	}
	for path, want := range allow {
		for _, method := range []string{"TRACE", "PROPFIND", "get", "Delete"} {
			a := f.do(method, path, "", as("root"))
			f.wantStatus(a, http.StatusMethodNotAllowed)
			if got := a.Header.Get("Allow"); got != want {
				t.Errorf("%s %s: Allow %q, want %q", method, path, got, want)
			}
		}
	}
	f.wantStatus(f.do(post, "/v2/team/app/manifests/v1", "", as("root")), http.StatusMethodNotAllowed)
	f.wantStatus(f.do(head, "/v2/team/app/blobs/uploads/", "", as("root")), http.StatusMethodNotAllowed)
	before := f.state()
	f.wantStatus(f.do(get, "/v2/team/app/manifests/v1?_method=DELETE", "", as("root"), "X-HTTP-Method-Override: DELETE"), http.StatusOK)
	if f.state() != before {
		t.Error("a method was overridden")
	}
	a := f.do(http.MethodOptions, "/v2/team/app/manifests/v1", "")
	f.wantStatus(a, http.StatusNoContent)
	if got := a.Header.Get("Allow"); got != "GET, HEAD, PUT, DELETE" {
		t.Errorf("OPTIONS: Allow %q", got)
	}
}

// TestSwitchedOff: who might delete or push learns that it is off, and nobody
// else learns anything.
func TestSwitchedOff(t *testing.T) {
	f := newFixture(t, func(o *Options) {
		o.DeleteEnabled = false
		o.ReadOnly = func() bool { return true }
	})
	for _, s := range samples() {
		action := routes[s.kind].find(s.method).action
		if action&(access.Push|access.Delete) == 0 {
			continue
		}
		f.seed("root")
		before := f.state()
		a := f.do(s.method, s.path, s.body, as("root"))
		f.wantStatus(a, http.StatusMethodNotAllowed)
		if strings.Contains(a.Header.Get("Allow"), s.method) {
			t.Errorf("%s is said to be allowed: %s", s.method, a.Header.Get("Allow"))
		}
		f.wantStatus(f.do(s.method, s.path, s.body, as("nobody")), http.StatusForbidden)
		f.wantStatus(f.do(s.method, s.path, s.body), http.StatusUnauthorized)
		if f.state() != before {
			t.Errorf("%s %s changed the registry", s.method, s.path)
		}
	}
}

// TestMissingIsForbidden: who may not see a repository cannot tell whether it
// is there.
func TestMissingIsForbidden(t *testing.T) {
	f := newFixture(t)
	f.seed("nobody")
	ref := func(a *answerOf) string { return strings.ReplaceAll(a.body, a.Header.Get("X-Request-Id"), "") }
	for _, path := range []string{"/manifests/v1", "/tags/list", "/blobs/" + string(oci.DigestOf(oci.SHA256, []byte("blob"))), "/referrers/" + someDigest} {
		for _, header := range []string{as("nobody"), f.bearer("nobody", "repository:team/app:pull"), "X-None: "} {
			there := f.do(get, "/v2/team/app"+path, "", header)
			missing := f.do(get, "/v2/team/not"+path, "", header)
			if there.StatusCode != missing.StatusCode || strings.ReplaceAll(ref(there), "team/app", "team/not") != ref(missing) {
				t.Errorf("%s: %d %s, and %d %s", path, there.StatusCode, there.body, missing.StatusCode, missing.body)
			}
		}
	}
}
