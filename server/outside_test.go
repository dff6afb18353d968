package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"berth/access"
	"berth/auth"
	"berth/auth/token"
)

// elsewhere is an outside token server: its tokens are the keys of the map.
type elsewhere map[string]token.Claims

var errKeys = errors.New("the keys are not known")

func (e elsewhere) Verify(_ context.Context, raw string) (token.Claims, error) {
	if raw == "down" {
		return token.Claims{}, errKeys
	}
	c, ok := e[raw]
	if !ok {
		return token.Claims{}, token.ErrInvalid
	}
	return c, nil
}

// withSubjects is a Verifier that knows the subjects of outside tokens too.
type withSubjects struct{ *users }

func (w withSubjects) Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error) {
	if s.Provider == "token" {
		return auth.Identity{Subject: s}, nil
	}
	return w.users.Resolve(ctx, s)
}

// newOutside starts a server with a token server elsewhere, and a policy; the
// rules of other tests when nil.
func newOutside(t *testing.T, policy *access.Policy, change ...func(*Options)) *fixture {
	scopes := func(s string) []auth.Scope { return auth.ParseScopes([]string{s}) }
	bob := auth.Subject{Provider: "token", Name: "token/bob"}
	tokens := elsewhere{
		"reader":  {Subject: bob, Scopes: scopes("repository:team/app:pull")},
		"writer":  {Subject: bob, Scopes: scopes("repository:team/app:pull,push repository:docs:pull")},
		"lister":  {Subject: bob, Scopes: scopes("registry:catalog:*")},
		"nobody":  {Scopes: scopes("repository:team/app:pull")},
		"nothing": {Subject: bob},
		"late":    {Subject: bob, Scopes: scopes("repository:team/app:pull"), Expired: true},
		"other":   {Subject: auth.Subject{Provider: "test", Name: "root"}, Scopes: scopes("repository:team/app:*")},
	}
	return newFixture(t, append([]func(*Options){func(o *Options) {
		if policy != nil {
			o.Policy = func() *access.Policy { return policy }
		}
		o.Verifier = withSubjects{o.Verifier.(*users)}
		o.Outside = &Outside{Realm: "https://auth.test/token", Service: "their.service", Tokens: tokens}
	}}, change...)...)
}

func presentToken(raw string) string { return "Authorization: Bearer " + raw }

// TestOutsideAlone is Distribution's auth.token: what a token says is so.
func TestOutsideAlone(t *testing.T) {
	f := newOutside(t, access.Delegated(), func(o *Options) { o.Tokens = nil })
	f.reg.addManifest("team/app", "v1")
	const manifest = "/v2/team/app/manifests/v1"
	upload := "/v2/team/app/blobs/uploads/"
	for _, test := range []struct {
		name, method, path, token string
		status                    int
		want                      string // behind realm and service
	}{
		{"without a token", get, "/v2/", "", 401, ""},
		{"a pull without a token", get, manifest, "", 401, `,scope="repository:team/app:pull"`},
		{"any token is a login", get, "/v2/", "nothing", 200, ""},
		{"a token for nobody is one too", get, "/v2/", "nobody", 200, ""},
		{"what it is for", get, manifest, "reader", 200, ""},
		{"for nobody", get, manifest, "nobody", 200, ""},
		{"what it is not for", post, upload, "reader", 401, `,scope="repository:team/app:pull,push",error="insufficient_scope"`},
		{"nor nobody", post, upload, "nobody", 401, `,scope="repository:team/app:pull,push",error="insufficient_scope"`},
		{"a push", post, upload, "writer", 202, ""},
		{"nothing", get, manifest, "nothing", 401, `,scope="repository:team/app:pull",error="insufficient_scope"`},
		{"the catalog", get, "/v2/_catalog", "lister", 200, ""},
		{"not the catalog", get, "/v2/_catalog", "reader", 401, `,scope="registry:catalog:*",error="insufficient_scope"`},
		{"run out", get, manifest, "late", 401, `,scope="repository:team/app:pull",error="invalid_token"`},
		{"unknown", get, manifest, "else", 401, `,scope="repository:team/app:pull",error="invalid_token"`},
		{"no user of this server", get, manifest, f.bearer("root", "repository:team/app:*")[len("Authorization: Bearer "):], 401, `,scope="repository:team/app:pull",error="invalid_token"`},
		{"a user of this server from there", get, manifest, "other", 401, `,scope="repository:team/app:pull",error="invalid_token"`},
		{"keys that are not known", get, manifest, "down", 503, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.t = t
			header := "X-None: "
			if test.token != "" {
				header = presentToken(test.token)
			}
			a := f.do(test.method, test.path, "", header)
			f.wantStatus(a, test.status)
			if test.status != http.StatusUnauthorized {
				return
			}
			got := a.Header["Www-Authenticate"]
			const prefix = `Bearer realm="https://auth.test/token",service="their.service"`
			if len(got) != 1 || !strings.HasPrefix(got[0], prefix+test.want) || test.want == "" && got[0] != prefix {
				t.Errorf("challenges %q, want %s%s", got, prefix, test.want)
			}
		})
	}
	if a := f.do(get, "/v2/_catalog", "", presentToken("lister")); !strings.Contains(a.body, "team/app") {
		t.Errorf("the catalog is %s", a.body)
	}
	f.wantStatus(f.do(get, "/auth/token", ""), http.StatusNotFound)
}

// TestOutsideBeside: with rules of its own and users of its own a server takes
// an outside token for a ceiling, and its own tokens and passwords as ever.
func TestOutsideBeside(t *testing.T) {
	policy, err := access.Compile(append(rules(), access.Rule{
		Names: []string{"token/bob"}, Type: access.TypeRepository, Repositories: []string{"team/**"}, Actions: []string{"pull"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	f := newOutside(t, policy)
	f.reg.addManifest("team/app", "v1")
	f.reg.addManifest("docs", "v1")
	const manifest, upload = "/v2/team/app/manifests/v1", "/v2/team/app/blobs/uploads/"
	for _, test := range []struct {
		name, method, path, header string
		status                     int
	}{
		{"rules and token", get, manifest, presentToken("writer"), 200},
		{"the token, not the rules", post, upload, presentToken("writer"), 401},
		{"the rules, not the token", get, "/v2/team/other/manifests/v1", presentToken("writer"), 401},
		{"the rules for everybody", get, "/v2/docs/manifests/v1", presentToken("writer"), 200},
		{"nobody may not", get, manifest, presentToken("nobody"), 401},
		{"a token of this server", post, upload, f.bearer("pusher", "repository:team/app:pull,push"), 202},
		{"one that is for less", post, upload, f.bearer("pusher", "repository:team/app:pull"), 401},
		{"a password", post, upload, as("pusher"), 202},
		{"a wrong one", get, manifest, "Authorization: Basic cm9vdDp3cm9uZw==", 401},
	} {
		a := f.do(test.method, test.path, "", test.header)
		if a.StatusCode != test.status {
			t.Errorf("%s: %d %s, want %d", test.name, a.StatusCode, a.body, test.status)
		}
		if got := a.Header.Get("WWW-Authenticate"); test.status == 401 && !strings.HasPrefix(got, `Bearer realm="https://auth.test/token",service="their.service"`) {
			t.Errorf("%s: challenge %s", test.name, got)
		}
	}
	f.wantStatus(f.do(get, "/auth/token?service=registry.test", "", as("pusher")), http.StatusOK)
}

// TestOutsideRealm: behind a path of this host, clients are sent to the host that
// they asked, by TLS.
func TestOutsideRealm(t *testing.T) {
	behind := func(o *Options) { o.Outside.Realm, o.Outside.Path = "", "/their/token" }
	for name, test := range map[string]struct {
		change func(*Options)
		host   string
		want   string
	}{
		"the host of the request": {behind, "hub.test:5000", "https://hub.test:5000/their/token"},
		"no host":                 {behind, "a;b", "/their/token"},
		"the configured host":     {func(o *Options) { behind(o); o.Host = &url.URL{Scheme: "http", Host: "inside.test"} }, "evil.test", "http://inside.test/their/token"},
	} {
		f := newOutside(t, nil, test.change)
		got := f.do(get, "/v2/", "", "Host: "+test.host).Header.Get("WWW-Authenticate")
		if want := `Bearer realm="` + test.want + `",service="their.service"`; got != want {
			t.Errorf("%s: challenge %s, want %s", name, got, want)
		}
	}
}
