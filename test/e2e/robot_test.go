package e2e

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// manage runs a command of berth beside the server, and returns what it prints.
func (s *server) manage(t *testing.T, config string, args ...string) string {
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(binary, append([]string{"--config", filepath.Join(s.dir, config)}, args...)...).Output()
	if err != nil {
		t.Fatalf("berth %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// TestRobotsWithinTheirLimits is RB1 and TK10, told with the people of
// stories.yml: a robot does what it is given and its owner may, by Basic and by
// Bearer, and nothing else; what ends it ends its tokens.
func TestRobotsWithinTheirLimits(t *testing.T) {
	const config = "stories.yml"
	s := serve(t, config)
	all := castOf(s)
	img := newImage("the app of team a")
	all.alice.mustPush(t, "team-a/app", "v1", img)
	all.bob.mustPush(t, "team-b/app", "v1", newImage("the secret of team b"))
	as := func(user string, args ...string) *client {
		return &client{base: s.url(), user: user, password: s.manage(t, config, args...)}
	}
	puller := as("r-a", "robot", "add", "r-a", "--repository", "team-a/app", "--action", "pull")
	wide := as("wide", "robot", "add", "wide", "--owner", "alice", "--repository", "**", "--action", "*")
	token := as("alice", "token", "add", "--user", "alice", "--name", "t", "--repository", "team-a/app", "--action", "pull")

	scopes := []string{"repository:team-a/app:pull,push,delete", "repository:team-b/app:pull,push", "repository:home/alice/x:pull,push", "registry:catalog:*"}
	for _, test := range []struct {
		name   string
		c      *client
		pushes bool
	}{{"own robot", puller, false}, {"robot of alice", wide, true}, {"token of alice", token, false}} {
		for _, c := range []*client{test.c, test.c.bearer(t, scopes...)} {
			scheme := map[bool]string{true: "basic", false: "bearer"}[c.token == ""]
			t.Run(test.name+" "+scheme, func(t *testing.T) {
				if err := c.pull("team-a/app", "v1", img); err != nil {
					t.Error(err)
				}
				want := refused(c)
				if test.pushes {
					want = http.StatusCreated
				}
				resp, err := c.push("team-a/app", "next", newImage("the next app"))
				if err != nil || resp.status != want {
					t.Errorf("push: %+v, %v, want %d", resp, err, want)
				}
				c.expect(t, refused(c), "GET", "/v2/team-b/app/manifests/v1")
				c.expect(t, refused(c), "GET", "/v2/team-b/app/blobs/"+digestOf(newImage("the secret of team b").layer))
				c.expect(t, refused(c), "GET", "/metrics")
				if resp := c.expect(t, 200, "GET", "/v2/_catalog"); strings.Contains(string(resp.body), "team-b") || !strings.Contains(string(resp.body), "team-a/app") {
					t.Errorf("it sees %s", resp.body)
				}
				resp, err = c.push("team-a/frozen/app", "v1", img)
				if err != nil || resp.status != refused(c) {
					t.Errorf("push to what is frozen: %+v, %v", resp, err)
				}
			})
		}
	}

	bearer := puller.bearer(t, scopes...)
	bearer.expect(t, 200, "GET", "/v2/team-a/app/tags/list")
	s.manage(t, config, "robot", "disable", "r-a")
	bearer.expect(t, 401, "GET", "/v2/team-a/app/tags/list")
	puller.expect(t, 401, "GET", "/auth/token")
	tokenBearer := token.bearer(t, scopes...)
	tokenBearer.expect(t, 200, "GET", "/v2/team-a/app/tags/list")
	_, last, _ := strings.Cut(s.manage(t, config, "token", "list", "--user", "alice"), "\n")
	s.manage(t, config, "token", "revoke", strings.Fields(last)[0])
	tokenBearer.expect(t, 401, "GET", "/v2/team-a/app/tags/list")
	token.expect(t, 401, "GET", "/v2/")
}
