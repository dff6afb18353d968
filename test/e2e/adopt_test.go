package e2e

import (
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMovingFromDistribution takes over what a real Distribution has written and
// is still serving, kills that on the way, serves it, and goes back.
func TestMovingFromDistribution(t *testing.T) {
	for _, version := range []struct{ name, program string }{{"3.1", "registry"}, {"2.8", "docker-registry"}} {
		t.Run(version.name, func(t *testing.T) {
			need(t, version.program)
			m := &move{t: t, program: version.program, dir: t.TempDir()}
			m.root, m.config = filepath.Join(m.dir, "data"), filepath.Join(m.dir, "config.yml")
			text := "version: 0.1\nstorage: {filesystem: {rootdirectory: \"" + m.root + "\"}, delete: {enabled: true}}\n"
			if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			m.run()
		})
	}
}

// A move is the way of one registry from Distribution to berth, and back.
type move struct {
	t             *testing.T
	program       string
	dir           string
	root, config  string
	solo, mounted image
	sha512        string
	index         []byte
}

func (m *move) run() {
	t := m.t
	old := m.distribution(m.root)
	m.fill(old)
	old.cmd.Process.Kill() // with an upload in flight
	<-old.exited
	layer := newImage("broken")
	link := filepath.Join(m.root, "docker/registry/v2/repositories/broken/_layers/sha256", strings.TrimPrefix(digestOf(layer.layer), "sha256:"), "link")
	if err := os.Truncate(link, 0); err != nil {
		t.Fatal(err)
	}
	old = m.distribution(m.root)
	before := m.contents(old.client())

	if out, code := m.berth("serve", m.config); code != 1 || !strings.Contains(out, "berth import") {
		t.Errorf("serve before the import: exit %d: %s", code, out)
	}
	m.importKilled()
	report := m.adopt(0)
	if report.Uploads != 2 || report.Lost != 0 || !slices.ContainsFunc(report.LeftOut, func(f finding) bool { return strings.HasSuffix(link, f.Path) }) {
		t.Errorf("the report: %+v", report)
	}
	if diff := cmp.Diff(before, m.contents(old.client())); diff != "" {
		t.Errorf("Distribution, after the import (-before +after):\n%s", diff)
	}

	late := newImage("pushed while berth imports")
	old.client().mustPush(t, "team/app", "v1", late)
	before["team/app:v1"] = digestOf(late.manifest)
	if report := m.adopt(0); report.New != 2 {
		t.Errorf("again: %+v", report)
	}
	old.stop()

	s := m.serve()
	c := &client{base: s.url()}
	if diff := cmp.Diff(before, m.contents(c)); diff != "" {
		t.Errorf("berth (-Distribution +berth):\n%s", diff)
	}
	m.checkRest(c)
	ours := newImage("pushed to berth")
	c.mustPush(t, "team/new", "v1", ours)
	c.expect(t, 202, "DELETE", "/v2/team/app/manifests/v2")
	before["team/new:v1"] = digestOf(ours.manifest)
	delete(before, "team/app:v2")

	if report := m.adopt(0); report.New != 0 || report.Manifests < 10 {
		t.Errorf("beside the server: %+v", report)
	}
	c.expect(t, 404, "GET", "/v2/team/app/manifests/v2")

	away := filepath.Join(m.dir, "away")
	if out, code := m.berth("export", m.config, away); code != 0 {
		t.Errorf("export beside the server: exit %d: %s", code, out)
	}
	s.stop()
	if out, code := m.berth("export", m.config, m.root); code != 1 || !strings.Contains(out, "tags/v2") {
		t.Errorf("export back, with a tag that is gone: exit %d: %s", code, out)
	}
	if out, code := m.berth("export", "--prune", m.config, m.root); code != 0 {
		t.Errorf("export back: exit %d: %s", code, out)
	}
	for _, root := range []string{away, m.root} {
		back := m.distribution(root)
		if diff := cmp.Diff(before, m.contents(back.client())); diff != "" {
			t.Errorf("Distribution again, on %s (-berth +Distribution):\n%s", root, diff)
		}
		m.checkRest(back.client())
		back.stop()
	}
}

// fill pushes what a registry gathers in years.
func (m *move) fill(d *server) {
	t, c := m.t, d.client()
	c.mustPush(t, "team/app", "v1", newImage("one"))
	c.mustPush(t, "team/app", "v2", newImage("two"))
	c.mustPush(t, "team/app", "RC_1.0", newImage("two"))
	c.mustPush(t, "team/app/nested/deep-er", "latest", newImage("one"))
	c.mustPush(t, "team-app", "latest", newImage(strings.Repeat("long ", 100_000)))
	c.mustPush(t, "broken", "v1", newImage("broken"))
	m.solo = newImage("solo")
	c.mustPush(t, "solo", digestOf(m.solo.manifest), m.solo)

	gone := newImage("gone")
	c.mustPush(t, "team/old", "gone", gone)
	c.mustPush(t, "team/old", "kept", newImage("kept"))
	c.expect(t, 202, "DELETE", "/v2/team/old/manifests/"+digestOf(gone.manifest))
	c.mustPush(t, "team/untagged", "v1", gone)
	if m.program == "registry" {
		c.expect(t, 202, "DELETE", "/v2/team/untagged/manifests/v1")
	}

	var children []string
	for _, arch := range []string{"amd64", "arm64"} {
		img := newImage(arch)
		d := c.mustPush(t, "team/multi", digestOf(img.manifest), img)
		children = append(children, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":%q}}`, mediaTypeManifest, d, len(img.manifest), arch))
	}
	const index = "application/vnd.oci.image.index.v1+json"
	m.index = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, index, strings.Join(children, ","))
	if resp := c.do(t, "PUT", "/v2/team/multi/manifests/latest", m.index, map[string]string{"Content-Type": index}); resp.status != 201 {
		t.Fatalf("push of an index: %d %s", resp.status, resp.body)
	}

	m.mounted = newImage("one")
	c.expect(t, 201, "POST", "/v2/mounted/blobs/uploads/?from=team/app&mount="+digestOf(m.mounted.layer))
	c.mustPush(t, "mounted", "v1", m.mounted)

	sum := sha512.Sum512([]byte("by its SHA-512"))
	m.sha512 = "sha512:" + hex.EncodeToString(sum[:])
	location := m.upload(c, "team/app")
	q := location.Query()
	q.Set("digest", m.sha512)
	location.RawQuery = q.Encode()
	if resp := c.do(t, "PUT", location.String(), []byte("by its SHA-512"), map[string]string{"Content-Type": "application/octet-stream"}); resp.status != 201 {
		t.Fatalf("push by SHA-512: %d %s", resp.status, resp.body)
	}

	half := map[string]string{"Content-Type": "application/octet-stream"}
	if resp := c.do(t, "PATCH", m.upload(c, "team/half").String(), []byte("half of it"), half); resp.status != 202 {
		t.Fatalf("half an upload: %d %s", resp.status, resp.body)
	}
	m.hang(m.upload(c, "team/app").String())
}

func (m *move) upload(c *client, repo string) *url.URL {
	m.t.Helper()
	location, err := url.Parse(c.expect(m.t, 202, "POST", "/v2/"+repo+"/blobs/uploads/").header.Get("Location"))
	if err != nil {
		m.t.Fatal(err)
	}
	return location
}

// hang begins to send a blob, and does not end.
func (m *move) hang(location string) {
	m.t.Helper()
	r, w := io.Pipe()
	req, err := http.NewRequest("PATCH", location, r)
	if err != nil {
		m.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := w.Write(make([]byte, 256<<10)); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { w.Close() })
}

// contents returns the digest that each tag names, by repository and tag, and
// checks that it can be pulled, but for the image that is broken.
func (m *move) contents(c *client) map[string]string {
	t := m.t
	t.Helper()
	var catalog struct{ Repositories []string }
	if err := json.Unmarshal(c.expect(t, 200, "GET", "/v2/_catalog?n=100").body, &catalog); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]string)
	for _, repo := range catalog.Repositories {
		resp := c.do(t, "GET", "/v2/"+repo+"/tags/list", nil, nil)
		var list struct{ Tags []string }
		if err := json.Unmarshal(resp.body, &list); err != nil {
			t.Fatal(err)
		}
		for _, tag := range list.Tags {
			manifest := c.do(t, "GET", "/v2/"+repo+"/manifests/"+tag, nil, map[string]string{"Accept": mediaTypes})
			if manifest.status != 200 || digestOf(manifest.body) != manifest.header.Get("Docker-Content-Digest") {
				t.Errorf("%s:%s: %d %s", repo, tag, manifest.status, manifest.body)
			}
			all[repo+":"+tag] = digestOf(manifest.body)
			if repo != "broken" {
				m.checkLayers(c, repo, manifest.body)
			}
		}
	}
	return all
}

func (m *move) checkLayers(c *client, repo string, manifest []byte) {
	m.t.Helper()
	var parsed struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(manifest, &parsed); err != nil {
		m.t.Fatal(err)
	}
	for _, l := range parsed.Layers {
		if resp := c.do(m.t, "GET", "/v2/"+repo+"/blobs/"+l.Digest, nil, nil); resp.status != 200 || digestOf(resp.body) != l.Digest {
			m.t.Errorf("%s, layer %s: %d, %d bytes", repo, l.Digest, resp.status, len(resp.body))
		}
	}
}

// checkRest checks what no tag leads to.
func (m *move) checkRest(c *client) {
	t := m.t
	t.Helper()
	for repo, img := range map[string]image{"solo": m.solo, "team/multi": newImage("arm64"), "mounted": m.mounted} {
		if err := c.pull(repo, digestOf(img.manifest), img); err != nil {
			t.Error(err)
		}
	}
	if resp := c.expect(t, 200, "GET", "/v2/team/app/blobs/"+m.sha512); string(resp.body) != "by its SHA-512" {
		t.Errorf("by its SHA-512: %s", resp.body)
	}
	gone := newImage("gone")
	c.expect(t, 404, "GET", "/v2/team/old/manifests/"+digestOf(gone.manifest))
	if err := c.pull("team/untagged", digestOf(gone.manifest), gone); err != nil {
		t.Error(err)
	}
}

// importKilled kills imports at random moments.
func (m *move) importKilled() {
	binary, err := shared.berth()
	if err != nil {
		m.t.Fatal(err)
	}
	for range 6 {
		cmd := exec.Command(binary, "import", m.config)
		if err := cmd.Start(); err != nil {
			m.t.Fatal(err)
		}
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
	}
}

type finding struct {
	Path, Reason string
	Lost         bool
}

type transferReport struct {
	Uploads, New, Lost, Manifests int
	LeftOut                       []finding
}

// adopt imports, and returns the report.
func (m *move) adopt(code int) (r transferReport) {
	t := m.t
	t.Helper()
	binary, err := shared.berth()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "import", "-o", "json", m.config)
	log := new(output)
	cmd.Stderr = log
	out, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("import: exit %d: %s", got, log)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s%s", err, out, log)
	}
	return r
}

// berth runs a command, and returns all that it says.
func (m *move) berth(args ...string) (string, int) {
	m.t.Helper()
	binary, err := shared.berth()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.Command(binary, args...)
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

// serve runs berth on what was taken over.
func (m *move) serve() *server {
	m.t.Helper()
	s, err := launch(m.dir, []string{"serve", m.config}, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(s.stop)
	return s
}

// distribution runs Distribution on the folder.
func (m *move) distribution(root string) *server {
	t := m.t
	t.Helper()
	s := &server{log: new(output), exited: make(chan struct{})}
	var err error
	if s.addr, err = freeAddr(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn}\nhttp: {addr: %q, secret: s}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}\n", s.addr, root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(m.program, "serve", config)
	s.cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	t.Cleanup(func() { s.cmd.Process.Kill() })
	eventually(t, "Distribution answers", func() bool {
		resp, err := s.client().send("GET", "/v2/", nil, nil)
		return err == nil && resp.status == 200
	})
	return s
}

func (s *server) client() *client { return &client{base: s.url()} }
