package trust

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"berth/auth/jwks"
)

func TestFaults(t *testing.T) {
	good := githubRule(jwks.Source{})
	if got := good.Faults(); got != nil {
		t.Fatalf("the rule that the others are made of: %v", got)
	}
	for _, test := range []struct {
		name   string
		change func(*Rule)
		want   string // key and part of the text; "" is no fault
	}{
		{"no name", func(r *Rule) { r.Name = "" }, "name: it must be a word"},
		{"a path", func(r *Rule) { r.Name = "a/b" }, "name: it must be a word"},
		{"large letters", func(r *Rule) { r.Name = "GitHub" }, "name: it must be a word"},
		{"a long name", func(r *Rule) { r.Name = strings.Repeat("a", 65) }, "name: it must be a word"},
		{"a name of parts", func(r *Rule) { r.Name = "github-org.main_2" }, ""},
		{"no audience", func(r *Rule) { r.Audience = "" }, "audience: it is missing"},
		{"no issuer", func(r *Rule) { r.Issuer, r.Kind = "", "github" }, "issuer: it is missing"},
		{"an issuer without TLS", func(r *Rule) { r.Issuer, r.Kind = "http://issuer.test", "github" }, "jwks: it must begin with https://"},
		{"an issuer that is no address", func(r *Rule) { r.Issuer, r.Kind = "kubernetes/serviceaccount", "github" }, "jwks: it must be a URL"},
		{"keys by other ways", func(r *Rule) { r.Issuer, r.Kind, r.Keys.File = "kubernetes/serviceaccount", "github", "f" }, ""},
		{"keys in two ways", func(r *Rule) { r.Keys.File, r.Keys.URL = "f", "https://issuer.test/keys" }, "jwks: keys are given in more than one way"},
		{"no keys", func(r *Rule) { r.Keys.JSON = []byte(`{"keys":[]}`) }, "jwks: it has no keys"},
		{"an unknown kind", func(r *Rule) { r.Kind = "bitbucket" }, `kind: "bitbucket" is none of github, gitlab, kubernetes, other`},

		{"no match", func(r *Rule) { r.Match = nil }, "match: it needs one of the claims that nobody can take over: for an issuer of the kind github that is repository_id, "},
		{"only names", func(r *Rule) { r.Match = match("repository", "org/app") }, "match: it needs one of the claims"},
		{"sub of GitHub", func(r *Rule) { r.Match = match("sub", "repo:org/app:ref:refs/heads/main") }, "match: it needs one of the claims"},
		{"owner", func(r *Rule) { r.Match = match("repository_owner_id", "1") }, ""},
		{"an empty value", func(r *Rule) { r.Match["ref"] = []string{""} }, "match: a value of ref is empty"},
		{"no value", func(r *Rule) { r.Match["ref"] = nil }, `match: the claim "ref" needs a value`},
		{"a pattern", func(r *Rule) { r.Match["ref"] = []string{"refs/heads/*"} }, "match: ref: there are no patterns"},

		{"no user", func(r *Rule) { r.User = "" }, "user: it must begin with a fixed text"},
		{"no prefix", func(r *Rule) { r.User = "{repository}" }, "user: it must begin with a fixed text"},
		{"only a colon", func(r *Rule) { r.User = ":{repository}" }, "user: it must begin with a fixed text"},
		{"a prefix without a colon", func(r *Rule) { r.User = "ci-{repository}" }, "user: it must begin with a fixed text"},
		{"a colon too early", func(r *Rule) { r.User = "ci:x{repository}" }, "user: it must begin with a fixed text"},
		{"without claims", func(r *Rule) { r.User = "ci:deploy" }, ""},
		{"several", func(r *Rule) { r.User = "ci:job:{repository}@{kubernetes.io/namespace}!" }, ""},
		{"side by side", func(r *Rule) { r.User = "ci:{repository}{ref}" }, "user: between two claims"},
		{"open", func(r *Rule) { r.User = "ci:{repository" }, "user: a { must be followed"},
		{"empty", func(r *Rule) { r.User = "ci:{}" }, "user: a { must be followed"},
		{"nested", func(r *Rule) { r.User = "ci:{a{b}}" }, "user: a { must be followed"},
		{"closed", func(r *Rule) { r.User = "ci:}" }, "user: a } stands without"},
		{"a line break", func(r *Rule) { r.User = "ci\n:{repository}" }, "user: it must be clean text"},
		{"a group with a line break", func(r *Rule) { r.Groups = []string{"a\nb"} }, "groups: a group must be clean text"},
		{"a negative age", func(r *Rule) { r.MaxAge = -time.Second }, "maxage: it must not be negative"},
		{"another replay", func(r *Rule) { r.Replay = "twice" }, `replay: "twice" is none of address, once, off`},
	} {
		r := githubRule(jwks.Source{})
		test.change(&r)
		faults := r.Faults()
		got := ""
		if len(faults) > 0 {
			got = faults[0].Key + ": " + faults[0].Text
		}
		if len(faults) > 1 || (got == "") != (test.want == "") || !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %v, want %q", test.name, faults, test.want)
		}
		if _, err := New([]Rule{r}, Options{Log: slog.New(slog.DiscardHandler)}); test.want != "" && err == nil {
			t.Errorf("%s: it is in force", test.name)
		}
	}
}

func match(claim string, values ...string) map[string][]string {
	return map[string][]string{claim: values}
}

func TestKinds(t *testing.T) {
	for issuer, want := range map[string]string{
		github:                                   "github",
		github + "/enterprise":                   "github",
		"https://ghes.corp.test/_services/token": "github",
		"https://token.actions.githubusercontent.com.evil.test": "other",
		"https://gitlab.com":                                         "gitlab",
		"https://gitlab.corp.test:8443":                              "gitlab",
		"https://kubernetes.default.svc.cluster.local":               "kubernetes",
		"kubernetes/serviceaccount":                                  "kubernetes",
		"https://oidc.eks.eu-central-1.amazonaws.com/id/0123":        "kubernetes",
		"https://container.googleapis.com/v1/projects/p/locations/l": "kubernetes",
		"https://sso.example.org/realms/main":                        "other",
		"%":                                                          "other",
	} {
		if got := kindOf("", issuer); got.name != want || len(got.immutable) == 0 {
			t.Errorf("%s is of the kind %s, want %s", issuer, got.name, want)
		}
		if got := kindOf("gitlab", issuer); got.name != "gitlab" {
			t.Errorf("%s is of the kind %s, though the rule says gitlab", issuer, got.name)
		}
	}
}

// TestPlatforms has the shapes of tokens of platforms, one condition and one
// name each.
func TestPlatforms(t *testing.T) {
	for name, test := range map[string]struct {
		rule   func(*Rule)
		claims claims
		want   string
	}{
		"GitLab": {func(r *Rule) {
			r.Issuer, r.Match, r.User = "https://gitlab.com", map[string][]string{"project_id": {"22"}, "ref_protected": {"true"}}, "ci:{project_path}"
		}, claims{"iss": "https://gitlab.com", "project_id": "22", "namespace_id": "72", "project_path": "my-group/my-project", "ref_protected": "true"},
			"github/ci:my-group/my-project"},
		"Kubernetes, by account": {func(r *Rule) {
			r.Issuer, r.Match, r.User = "https://kubernetes.default.svc", match("sub", "system:serviceaccount:ns:puller"), "k8s:{kubernetes.io/namespace}/{kubernetes.io/serviceaccount/name}"
		}, claims{"iss": "https://kubernetes.default.svc", "aud": []string{here}, "sub": "system:serviceaccount:ns:puller",
			"kubernetes.io": claims{"namespace": "ns", "serviceaccount": claims{"name": "puller", "uid": "u-1"}}}, "github/k8s:ns/puller"},
		"Kubernetes, by UID": {func(r *Rule) {
			r.Issuer, r.Match, r.User = "https://kubernetes.default.svc", match("kubernetes.io/serviceaccount/uid", "u-1"), "k8s:node"
		}, claims{"iss": "https://kubernetes.default.svc", "kubernetes.io": claims{"serviceaccount": claims{"uid": "u-1"}}}, "github/k8s:node"},
		"another": {func(r *Rule) {
			r.Issuer, r.Match, r.User = "https://sso.example.org", match("sub", "5c1f"), "svc:{preferred_username}"
		}, claims{"iss": "https://sso.example.org", "sub": "5c1f", "preferred_username": "deployer"}, "github/svc:deployer"},
	} {
		f := newFixture(t, test.rule)
		if id, err := f.login(t, test.claims); id.Name != test.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", name, id.Name, err, test.want)
		}
	}
}

// TestNamesAreOfOne: two sets of claims that differ in what the name is made of
// have two names, or none.
func TestNamesAreOfOne(t *testing.T) {
	template, err := parseTemplate("ci:{a}@{b}")
	if err != nil {
		t.Fatal(err)
	}
	values := []string{"x", "x@", "@x", "x@y", "y@x", "@", "y", "x@@"}
	names := make(map[string]string)
	for _, a := range values {
		for _, b := range values {
			name, err := template.fill(jwks.Claims{"a": a, "b": b})
			if err != nil {
				continue
			}
			pair := fmt.Sprintf("%q %q", a, b)
			if other, taken := names[name]; taken {
				t.Errorf("%s is of %s and of %s", name, other, pair)
			}
			names[name] = pair
		}
	}
	if len(names) == 0 {
		t.Error("nobody has a name")
	}
}
