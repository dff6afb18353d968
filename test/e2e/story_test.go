package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A cast holds the users of stories.yml, each as they log in.
type cast struct {
	alice, bob, carol, dave, root, anon *client
}

func castOf(s *server) cast {
	as := func(user string) *client {
		return &client{base: s.url(), user: user, password: passwords()[user]}
	}
	return cast{as("alice"), as("bob"), as("carol"), as("dave"), as("root"), &client{base: s.url()}}
}

// withScheme returns the cast with tokens in the place of passwords, where that
// is asked for: each story is told both ways.
func (c cast) withScheme(t *testing.T, scheme string, scopes ...string) cast {
	if scheme == "basic" {
		return c
	}
	for _, one := range []**client{&c.alice, &c.bob, &c.carol, &c.dave, &c.root, &c.anon} {
		*one = (*one).bearer(t, scopes...)
	}
	return c
}

// refused is the status that a user gets who may not: with Bearer it is a
// challenge, with Basic there is nothing left to try.
func refused(c *client) int {
	if c.password != "" {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

func TestStories(t *testing.T) {
	s := serve(t, "stories.yml")
	all := castOf(s)
	img := newImage("the app of team a")
	digest := all.alice.mustPush(t, "team-a/app", "v1", img)
	all.bob.mustPush(t, "team-b/app", "v1", newImage("the secret of team b"))
	all.root.mustPush(t, "public/base", "v1", newImage("the base of everybody"))
	all.root.mustPush(t, "team-a/frozen/app", "v1", img)

	for _, scheme := range []string{"basic", "bearer"} {
		t.Run(scheme, func(t *testing.T) {
			users := all.withScheme(t, scheme,
				"repository:team-a/app:pull,push,delete", "repository:team-b/app:pull,push",
				"repository:team-b/none:pull,push", "repository:team-a/frozen/app:pull,push,delete",
				"repository:public/base:pull,push", "repository:public/new-"+scheme+":pull,push",
				"repository:home/carol/box:pull,push", "repository:home/dave/box:pull,push",
				"registry:catalog:*")
			t.Run("colleague reads", func(t *testing.T) {
				for _, ref := range []string{"v1", digest} {
					if err := users.dave.pull("team-a/app", ref, img); err != nil {
						t.Error(err)
					}
				}
			})
			t.Run("colleague may move dev tags only", func(t *testing.T) { storyDev(t, users, digest) })
			t.Run("stranger sees nothing", func(t *testing.T) { storyStranger(t, users) })
			t.Run("mount reveals nothing", func(t *testing.T) { storyMount(t, users) })
			t.Run("frozen", func(t *testing.T) { storyFrozen(t, users, img) })
			t.Run("public", func(t *testing.T) { storyPublic(t, users, scheme) })
			t.Run("home", func(t *testing.T) { storyHome(t, users) })
			t.Run("catalog", func(t *testing.T) { storyCatalog(t, users) })
		})
	}
	t.Run("delete ends what others saw", func(t *testing.T) { storyDelete(t, all) })
}

// dave may push under dev-*, and can neither move nor make another tag, by
// whatever way a manifest comes in.
func storyDev(t *testing.T, users cast, digest string) {
	next := newImage("the next app of team a")
	if resp, err := users.dave.push("team-a/app", "dev-1", next); err != nil || resp.status != http.StatusCreated {
		t.Fatalf("push of dev-1: %+v, %v", resp, err)
	}
	if err := users.alice.pull("team-a/app", "dev-1", next); err != nil {
		t.Error(err)
	}
	header := map[string]string{"Content-Type": mediaTypeManifest}
	for _, ref := range []string{"v1", "new", digestOf(next.manifest) + "?tag=v1&tag=new", digestOf(next.manifest) + "?tag=dev-2&tag=new"} {
		resp := users.dave.do(t, "PUT", "/v2/team-a/app/manifests/"+ref, next.manifest, header)
		if resp.status != refused(users.dave) {
			t.Errorf("PUT %s: %d, want %d", ref, resp.status, refused(users.dave))
		}
	}
	if got := users.alice.expect(t, 200, "HEAD", "/v2/team-a/app/manifests/v1").header.Get("Docker-Content-Digest"); got != digest {
		t.Errorf("v1 moved to %s", got)
	}
	users.alice.expect(t, 404, "HEAD", "/v2/team-a/app/manifests/new")
	users.alice.expect(t, 404, "HEAD", "/v2/team-a/app/manifests/dev-2")
	users.dave.expect(t, refused(users.dave), "DELETE", "/v2/team-a/app/manifests/v1")
}

// alice cannot tell what team-b holds from what it does not.
func storyStranger(t *testing.T, users cast) {
	secret := newImage("the secret of team b")
	for _, c := range []*client{users.alice, users.anon} {
		for _, path := range []string{
			"/manifests/v1", "/manifests/" + digestOf(secret.manifest), "/blobs/" + digestOf(secret.layer),
			"/tags/list", "/referrers/" + digestOf(secret.manifest),
		} {
			there := c.expect(t, refused(c), "GET", "/v2/team-b/app"+path)
			not := c.expect(t, refused(c), "GET", "/v2/team-b/none"+path)
			if a, b := withoutReference(there.body, "team-b/app"), withoutReference(not.body, "team-b/none"); a != b {
				t.Errorf("%s as %q: what is there answers\n%s\nand what is not\n%s", path, c.user, a, b)
			}
		}
	}
	layer := digestOf(secret.layer)
	users.alice.expect(t, 404, "GET", "/v2/team-a/app/blobs/"+layer)
	users.alice.expect(t, 404, "HEAD", "/v2/team-a/app/blobs/"+layer)
}

// withoutReference returns an error body without what differs from refusal to
// refusal: the repository and the reference at the end of the message.
func withoutReference(body []byte, repo string) string {
	text := strings.ReplaceAll(string(body), repo, "REPO")
	before, rest, ok := strings.Cut(text, "(ref ")
	if !ok {
		return text
	}
	_, after, _ := strings.Cut(rest, ")")
	return before + after
}

// A mount from what one may not read is answered like one of what is not there:
// with a session to upload to.
func storyMount(t *testing.T, users cast) {
	secret := digestOf(newImage("the secret of team b").layer)
	absent := digestOf([]byte("nobody has this"))
	for _, query := range []string{
		"?mount=" + secret + "&from=team-b/app", "?mount=" + absent + "&from=team-b/app",
		"?mount=" + secret, "?mount=" + secret + "&from=team-b/none",
	} {
		resp := users.alice.do(t, "POST", "/v2/team-a/app/blobs/uploads/"+query, nil, nil)
		if resp.status != http.StatusAccepted {
			t.Errorf("POST %s: %d, want 202: %s", query, resp.status, resp.body)
			continue
		}
		users.alice.do(t, "DELETE", resp.header.Get("Location"), nil, nil)
	}
	users.alice.expect(t, 404, "HEAD", "/v2/team-a/app/blobs/"+secret)
}

// A deny beats every allow but an administrator's.
func storyFrozen(t *testing.T, users cast, img image) {
	if err := users.dave.pull("team-a/frozen/app", "v1", img); err != nil {
		t.Error(err)
	}
	resp := users.alice.do(t, "POST", "/v2/team-a/frozen/app/blobs/uploads/", nil, nil)
	if resp.status != refused(users.alice) {
		t.Errorf("push into what is frozen: %d, want %d", resp.status, refused(users.alice))
	}
	users.alice.expect(t, refused(users.alice), "DELETE", "/v2/team-a/frozen/app/manifests/v1")
}

// Everybody reads what is public; bob adds to it and changes nothing.
func storyPublic(t *testing.T, users cast, scheme string) {
	base := newImage("the base of everybody")
	for _, c := range []*client{users.anon, users.carol, users.alice} {
		if err := c.pull("public/base", "v1", base); err != nil {
			t.Errorf("as %q: %v", c.user, err)
		}
	}
	for _, c := range []*client{users.anon, users.carol} {
		if resp := c.do(t, "POST", "/v2/public/base/blobs/uploads/", nil, nil); resp.status != refused(c) {
			t.Errorf("push as %q: %d, want %d", c.user, resp.status, refused(c))
		}
	}
	added := newImage("made by bob over " + scheme)
	if resp, err := users.bob.push("public/new-"+scheme, "v1", added); err != nil || resp.status != http.StatusCreated {
		t.Fatalf("create: %+v, %v", resp, err)
	}
	if err := users.anon.pull("public/base", "v1", base); err != nil {
		t.Error(err)
	}
	resp, err := users.bob.push("public/base", "v1", added)
	if err != nil {
		t.Fatal(err)
	}
	if resp.status < 400 || resp.status >= 500 {
		t.Errorf("bob, who may only create, moved a tag: %d", resp.status)
	}
	if err := users.anon.pull("public/base", "v1", base); err != nil {
		t.Error(err)
	}
}

// Each user has a place of their own, and no other.
func storyHome(t *testing.T, users cast) {
	box := newImage("carol's")
	if resp, err := users.carol.push("home/carol/box", "v1", box); err != nil || resp.status != http.StatusCreated {
		t.Fatalf("push into one's home: %+v, %v", resp, err)
	}
	if err := users.carol.pull("home/carol/box", "v1", box); err != nil {
		t.Error(err)
	}
	users.dave.expect(t, refused(users.dave), "GET", "/v2/home/carol/box/manifests/v1")
	if resp := users.carol.do(t, "POST", "/v2/home/dave/box/blobs/uploads/", nil, nil); resp.status != refused(users.carol) {
		t.Errorf("push into another's home: %d, want %d", resp.status, refused(users.carol))
	}
}

// A listing shows what its reader may pull.
func storyCatalog(t *testing.T, users cast) {
	for _, tt := range []struct {
		name string
		c    *client
		see  []string
		hide []string
	}{
		{"alice", users.alice, []string{"team-a/app", "public/base"}, []string{"team-b/app", "home/carol/box"}},
		{"bob", users.bob, []string{"team-b/app", "public/base"}, []string{"team-a/app", "home/carol/box"}},
		{"carol", users.carol, []string{"public/base", "home/carol/box"}, []string{"team-a/app", "team-b/app"}},
		{"root", users.root, []string{"public/base", "team-a/app", "team-b/app"}, nil},
	} {
		for _, path := range []string{"/v2/_catalog?n=100", "/v1/search?q=&n=100"} {
			names := listed(t, tt.c.expect(t, 200, "GET", path).body)
			for _, name := range tt.see {
				if !slices.Contains(names, name) {
					t.Errorf("%s as %s lacks %s: %v", path, tt.name, name, names)
				}
			}
			for _, name := range tt.hide {
				if slices.Contains(names, name) {
					t.Errorf("%s as %s shows %s", path, tt.name, name)
				}
			}
		}
	}
}

// listed returns the names in an answer of the catalog or of the search.
func listed(t *testing.T, body []byte) []string {
	t.Helper()
	var answer struct {
		Repositories []string
		Results      []struct{ Name string }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	names := answer.Repositories
	for _, r := range answer.Results {
		names = append(names, r.Name)
	}
	return names
}

// What alice deletes is gone for dave at once, and what she kept is not.
func storyDelete(t *testing.T, users cast) {
	img := newImage("short-lived")
	digest := users.alice.mustPush(t, "team-a/gone", "v1", img)
	users.alice.mustPush(t, "team-a/kept", "v1", img)
	users.dave.expect(t, 403, "DELETE", "/v2/team-a/gone/manifests/"+digest)
	users.alice.expect(t, 202, "DELETE", "/v2/team-a/gone/manifests/"+digest)
	users.dave.expect(t, 404, "GET", "/v2/team-a/gone/manifests/v1")
	users.dave.expect(t, 404, "GET", "/v2/team-a/gone/manifests/"+digest)
	users.alice.expect(t, 202, "DELETE", "/v2/team-a/gone/blobs/"+digestOf(img.layer))
	users.dave.expect(t, 404, "GET", "/v2/team-a/gone/blobs/"+digestOf(img.layer))
	if err := users.dave.pull("team-a/kept", "v1", img); err != nil {
		t.Error(err)
	}
}
