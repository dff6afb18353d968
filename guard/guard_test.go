package guard

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/access"
	"berth/auth"
	"berth/oci"
	"berth/registry"
)

func TestCreateOnly(t *testing.T) {
	for _, test := range []struct {
		user, words string
		want        string
		createOnly  bool
	}{
		{"dave", "put team-a/app m-dev:v1,new", "ok", true},
		{"dave", "put team-a/app m-dev", "ok", true},
		{"dave", "put team-a/other m-dev:v1", "denied", false},
		{"alice", "put team-a/app m-dev:v1,new", "ok", false},
		{"alice", "put team-a/app m-dev", "ok", false},
	} {
		f := content()
		if got := do(New(f, caller(test.user), rules(t)), test.words); got != test.want || f.put.CreateOnly != test.createOnly {
			t.Errorf("%s: %s: %s, create only %v", test.user, test.words, got, f.put.CreateOnly)
		}
	}
	f := content()
	g := New(f, caller("alice"), rules(t))
	if _, err := g.PutManifest(context.Background(), "team-a/app", registry.ManifestContent{}, registry.PutOptions{CreateOnly: true}); err != nil || !f.put.CreateOnly {
		t.Errorf("create only was asked for: %v, %v", f.put.CreateOnly, err)
	}
}

// TestClosed: what a pusher learns of a blob is that it is there.
func TestClosed(t *testing.T) {
	ctx := context.Background()
	c, err := New(content(), caller("pusher"), rules(t)).Blob(ctx, "team-a/app", "base")
	if err != nil {
		t.Fatal(err)
	}
	_, opened := c.Open(ctx, 0, -1)
	url, located := c.URL(ctx)
	for _, err := range []error{opened, located} {
		if !errors.As(err, new(*access.DeniedError)) {
			t.Errorf("reading it: %v", err)
		}
	}
	if f, ok := c.File(); f != nil || ok || url != "" {
		t.Errorf("it has the file %v and the address %q", f, url)
	}
	if d := c.Descriptor(); d.Digest != "base" || d.Size != 1 {
		t.Errorf("it is described as %+v", d)
	}
}

func TestOwner(t *testing.T) {
	for user, want := range map[string]string{"alice": "accounts/alice", "root": "accounts/root"} {
		for _, words := range []string{"upload team-a/app", "resume team-a/app", "status team-a/app"} {
			f := content()
			if got := do(New(f, caller(user), rules(t)), words); got != "ok" || f.owner != want {
				t.Errorf("%s: %s: %s, owner %q, want %q", user, words, got, f.owner, want)
			}
		}
	}
	f := content()
	if got := do(New(f, caller("anonymous"), access.Open()), "resume team-a/app"); got != "ok" || f.owner != "" {
		t.Errorf("anonymous: %s, owner %q", got, f.owner)
	}
}

func TestBearer(t *testing.T) {
	c := caller("alice")
	c.Bearer = true
	c.Ceiling = auth.ParseScopes([]string{"repository:team-a/app:pull repository:team-a/other:push"})
	f := content()
	f.repos["team-a/third"] = &fakeRepo{blobs: []oci.Digest{"third"}}
	g := New(f, c, rules(t))
	for _, step := range []string{
		"tag team-a/app v1 = ok",
		"tags team-a/app = dev-1 dev-2 prod-1 prod-2 prod-3 v1",
		"upload team-a/app = denied",
		"tag team-a/other v1 = denied",
		"head team-a/other base = BLOB_UNKNOWN",
		"mount team-a/other @base = ok",
		"mount team-a/other @third = BLOB_UNKNOWN",
		"mount team-a/other team-a/third@third = BLOB_UNKNOWN",
		"repos = denied",
	} {
		words, want, _ := strings.Cut(step, " = ")
		if got := do(g, words); got != want {
			t.Errorf("%s: got %q, want %q", words, got, want)
		}
	}
	c.Ceiling = auth.ParseScopes([]string{"registry:catalog:*"})
	if got := do(New(content(), c, rules(t)), "repos"); got != "public/x team-a/app team-a/other" {
		t.Errorf("the list of repositories: %q", got)
	}
}

func TestExpired(t *testing.T) {
	c := caller("alice")
	c.Bearer, c.Expired = true, true
	c.Ceiling = auth.ParseScopes([]string{"repository:team-a/app:* registry:catalog:*"})
	for _, step := range []string{
		"resume team-a/app = ok",
		"status team-a/app = ok",
		"resume team-a/other = denied",
		"upload team-a/app = denied",
		"mount team-a/app team-a/app@base = denied",
		"put team-a/app m-dev:v1 = denied",
		"put team-a/app m-dev = denied",
		"head team-a/app base = denied",
		"tag team-a/app v1 = denied",
		"tags team-a/app = denied",
		"repos = denied",
		"holders base = ",
	} {
		words, want, _ := strings.Cut(step, " = ")
		if got := do(New(content(), c, rules(t)), words); got != want {
			t.Errorf("%s: got %q, want %q", words, got, want)
		}
	}
}

// TestRefusals says what the refused is told.
func TestRefusals(t *testing.T) {
	expired := caller("alice")
	expired.Expired = true
	for _, test := range []struct {
		caller        access.Caller
		words         string
		scope, reason string
	}{
		{caller("alice"), "upload team-b/x", "repository:team-b/x:pull,push", "user alice may not push to team-b/x"},
		{caller("alice"), "put team-b/x m:v1", "repository:team-b/x:pull,push", "user alice may not push to team-b/x:v1"},
		{caller("alice"), "put team-b/x m:v1,v2", "repository:team-b/x:pull,push", "user alice may not push to team-b/x"},
		{caller("alice"), "tag team-b/x v1", "repository:team-b/x:pull", "user alice may not pull from team-b/x:v1"},
		{caller("alice"), "blob team-b/x b", "repository:team-b/x:pull", "user alice may not pull from team-b/x"},
		{caller("pusher"), "blob team-a/app base", "repository:team-a/app:pull", "user pusher may not pull from team-a/app"},
		{caller("dev"), "manifest team-a/app m-prod", "repository:team-a/app:pull", "user dev may not pull from team-a/app"},
		{caller("alice"), "delete-tag team-a/app v1", "repository:team-a/app:delete", "user alice may not delete from team-a/app:v1"},
		{caller("alice"), "tags team-b/x", "repository:team-b/x:pull", "user alice may not list team-b/x"},
		{caller("anonymous"), "upload team-b/x", "repository:team-b/x:pull,push", "log in to push to team-b/x"},
		{expired, "upload team-a/app", "repository:team-a/app:pull,push", "the token has run out"},
	} {
		g := New(content(), test.caller, rules(t))
		var denied *access.DeniedError
		if _, err := attempt(g, test.words); !errors.As(err, &denied) {
			t.Errorf("%s: %v", test.words, err)
			continue
		}
		if got := denied.Scope.String(); got != test.scope || denied.Reason != test.reason {
			t.Errorf("%s: scope %s, %q; want %s, %q", test.words, got, denied.Reason, test.scope, test.reason)
		}
	}
	var denied *access.DeniedError
	_, err := New(content(), caller("anonymous"), new(access.Policy)).Repos(context.Background(), registry.RepoQuery{Limit: 1})
	if !errors.As(err, &denied) || denied.Scope.String() != "registry:catalog:*" || denied.Reason != "log in to list repositories" {
		t.Errorf("the list of repositories: %v", err)
	}
}

// TestEveryMethod calls each method of the interface: whoever may do nothing
// gets no further than the guard, and whoever may do all reaches the registry.
func TestEveryMethod(t *testing.T) {
	interfaceType := reflect.TypeFor[registry.Registry]()
	for i := range interfaceType.NumMethod() {
		name := interfaceType.Method(i).Name
		for _, c := range []access.Caller{caller("anonymous"), caller("alice")} {
			f := content()
			err := call(New(f, c, new(access.Policy)), name)
			var denied *access.DeniedError
			// Where there is nothing to be had, the answer may be just that.
			empty := err == nil && (name == "BlobRepos" || name == "Repos" && !c.Anonymous())
			if !errors.As(err, &denied) && !empty || len(f.calls) > 0 {
				t.Errorf("%s by %s: %v, having asked for %v", name, c.Identity, err, f.calls)
			}
		}
		f := content()
		if err := call(New(f, caller("root"), rules(t)), name); errors.As(err, new(*access.DeniedError)) || !slices.Contains(f.calls, name) {
			t.Errorf("%s by root: %v, having asked for %v", name, err, f.calls)
		}
	}
}

// call calls a method with arguments that mean nothing.
func call(g registry.Registry, method string) error {
	m := reflect.ValueOf(g).MethodByName(method)
	args := make([]reflect.Value, m.Type().NumIn())
	for i := range args {
		in := m.Type().In(i)
		args[i] = reflect.Zero(in)
		switch in {
		case reflect.TypeFor[context.Context]():
			args[i] = reflect.ValueOf(context.Background())
		case reflect.TypeFor[oci.Name]():
			args[i] = reflect.ValueOf(oci.Name("team-a/app"))
		case reflect.TypeFor[oci.Digest]():
			args[i] = reflect.ValueOf(oci.Digest("base"))
		case reflect.TypeFor[registry.RepoQuery]():
			args[i] = reflect.ValueOf(registry.RepoQuery{Limit: 10})
		}
	}
	results := m.Call(args)
	err, _ := results[len(results)-1].Interface().(error)
	return err
}

// TestUnanswered: a look-up that fails is a failure, and neither yes nor no.
func TestUnanswered(t *testing.T) {
	down := errors.New("database is down")
	for _, words := range []string{"manifest team-a/app m-dev", "blob team-a/app devlayer", "delete-manifest team-a/app m-dev", "mount team-a/other team-a/app@devlayer", "tags team-a/app", "referrers team-a/app m-dev", "holders devlayer"} {
		f := content()
		f.fail = func(method string) error {
			if method == "Tags" {
				return down
			}
			return nil
		}
		if got := do(New(f, caller("dev"), rules(t)), words); !strings.Contains(got, down.Error()) {
			t.Errorf("%s: %s", words, got)
		}
	}
	f := content()
	f.fail = func(string) error { return down }
	if got := do(New(f, caller("alice"), rules(t)), "mount team-a/other @base"); got != down.Error() {
		t.Errorf("mount: %s", got)
	}
}

// TestPages: a page from which entries are left out is as full as any.
func TestPages(t *testing.T) {
	f := content()
	r := f.repos["team-a/app"]
	var dev []string
	for i := range 3 * minPage {
		prod := oci.Tag(fmt.Sprintf("prod-%04d", i))
		r.tags[prod] = "m-prod"
		if i%20 == 0 {
			tag := fmt.Sprintf("dev-%04d", i)
			r.tags[oci.Tag(tag)] = "m-dev"
			dev = append(dev, tag)
		}
	}
	delete(r.tags, "dev-1")
	delete(r.tags, "dev-2")
	delete(r.tags, "v1")
	g := New(f, caller("dev"), rules(t))
	for _, limit := range []int{1, 4, 15, 16, registry.MaxPage} {
		var got []string
		q := registry.TagQuery{Limit: limit}
		for {
			page, err := g.Tags(context.Background(), "team-a/app", q)
			if err != nil {
				t.Fatal(err)
			}
			for _, tag := range page {
				got = append(got, string(tag.Tag))
				q.After = tag.Tag
			}
			if len(page) != limit {
				if len(page) > limit {
					t.Errorf("a page of %d has %d", limit, len(page))
				}
				break
			}
		}
		if diff := cmp.Diff(dev, got); diff != "" {
			t.Errorf("pages of %d: %s", limit, diff)
		}
	}
	// The tags that reach content are looked up to the last page.
	for i := range registry.MaxPage {
		r.tags[oci.Tag(fmt.Sprintf("a%04d", i))] = "m-dev"
	}
	if got := do(g, "manifest team-a/app m-dev"); got != "ok" {
		t.Errorf("the tag behind %d others: %s", registry.MaxPage, got)
	}
}

func TestVisibleInBoth(t *testing.T) {
	asked := registry.RepoQuery{Limit: 10, Visible: &registry.Visibility{Spans: []registry.Span{{From: "team-a/app", To: "team-a/b"}, {From: "team-b"}}}}
	got, err := names(New(content(), caller("alice"), rules(t)).Repos(context.Background(), asked))
	if err != nil || got != "team-a/app" {
		t.Errorf("repositories that are asked for and seen: %v, %v", got, err)
	}
}
