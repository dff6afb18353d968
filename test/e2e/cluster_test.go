package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/test/postgres"
	"berth/test/versity"
)

const adminPassword = "secret-admin"

// A cluster is several nodes over one database and one object store, behind a
// balancer: deploy/cluster.
type cluster struct {
	nodes []*server
	addr  string // of the balancer
}

// startCluster runs nodes that start at once, on an empty database.
func startCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	need(t, "haproxy")
	db := postgres.Start(t, postgres.Options{Fast: true})
	store := versity.Start(t)
	store.NewBucket("berth")
	dir := t.TempDir()
	config, err := filepath.Abs("../../deploy/cluster/config.yml")
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(dir, "admin")
	if err := os.WriteFile(password, []byte(adminPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"REGISTRY_METADATA_POSTGRES_URL=" + db.URL(db.Database(t)), "REGISTRY_STORAGE_S3_REGIONENDPOINT=" + store.Endpoint,
		"REGISTRY_STORAGE_S3_ACCESSKEY=" + versity.AccessKey, "REGISTRY_STORAGE_S3_SECRETKEY=" + versity.SecretKey,
		"BERTH_ADMIN_PASSWORD_FILE=" + password, "REGISTRY_LOG_ACCESSLOG_DISABLED=true",
		"REGISTRY_HTTP_DRAINDELAY=2s", // haproxy looks twice a second
	}
	if _, err := shared.berth(); err != nil {
		t.Fatal(err)
	}
	c := &cluster{nodes: make([]*server, nodes)}
	var all sync.WaitGroup
	for i := range c.nodes {
		all.Go(func() {
			home := filepath.Join(dir, fmt.Sprint("node", i))
			if err := os.Mkdir(home, 0o700); err != nil {
				t.Error(err)
				return
			}
			s, err := launch(home, []string{"serve", config}, append([]string{"BERTH_DATA=" + home}, env...))
			if err != nil {
				t.Error(err)
				return
			}
			c.nodes[i] = s
			t.Cleanup(func() {
				s.stop()
				if t.Failed() {
					t.Logf("node %d said:\n%s", i, s.log)
				}
			})
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	c.balance(t)
	return c
}

// balance starts the balancer.
func (c *cluster) balance(t *testing.T) {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	c.addr = addr
	cmd := exec.Command("haproxy", "-db", "-f", "../../deploy/cluster/haproxy.cfg")
	cmd.Env = append(os.Environ(), "CLUSTER_ADDR="+addr)
	for i := range 3 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("CLUSTER_NODE%d=%s", i+1, c.nodes[i%len(c.nodes)].addr))
	}
	said := new(output)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	if err := awaitReady(addr, exited); err != nil {
		t.Fatalf("haproxy: %v\n%s", err, said)
	}
}

// as returns a client of one node, or of the balancer for -1.
func (c *cluster) as(node int, user, password string) *client {
	addr := c.addr
	if node >= 0 {
		addr = c.nodes[node].addr
	}
	return &client{base: "http://" + addr, user: user, password: password}
}

// command runs berth beside a node.
func (c *cluster) command(t *testing.T, node int, input string, args ...string) {
	t.Helper()
	s := c.nodes[node]
	cmd := exec.Command(filepath.Join(shared.dir, "bin", "berth"), append(args, "--config", s.args[1])...)
	cmd.Env, cmd.Dir, cmd.Stdin = append(os.Environ(), s.env...), s.dir, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("berth %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// soon waits for a status, which is there within 5 seconds.
func soon(t *testing.T, status int, c *client, method, path string) {
	t.Helper()
	begun := time.Now()
	for {
		resp := c.do(t, method, path, nil, nil)
		if resp.status == status {
			t.Logf("%s %s is %d after %v", method, path, status, time.Since(begun).Round(time.Millisecond))
			return
		}
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("%s %s as %q: %d, want %d: %s", method, path, c.user, resp.status, status, resp.body)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestCluster is a registry of two nodes.
func TestCluster(t *testing.T) {
	c := startCluster(t, 2)
	a, b := c.as(0, "admin", adminPassword), c.as(1, "admin", adminPassword)
	t.Run("upload from node to node", func(t *testing.T) { c.testUpload(t, a, b) })
	t.Run("identity", func(t *testing.T) { c.testIdentity(t) })
	t.Run("names", func(t *testing.T) { testNames(t, a, b) })
	t.Run("crane", func(t *testing.T) { c.testCrane(t) })
	t.Run("conformance", func(t *testing.T) {
		need(t, "conformance")
		conform(t, &server{addr: c.addr}, "admin", adminPassword)
	})
	t.Run("node killed in a push", func(t *testing.T) { c.testKill(t, b) })
	t.Run("rolling restart", func(t *testing.T) { c.testRestart(t) })
}

// at returns the place of an upload on the node of a client.
func at(c *client, location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return location
	}
	return c.base + u.RequestURI()
}

// testUpload sends each request of an upload to another node.
func (c *cluster) testUpload(t *testing.T, a, b *client) {
	layer := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // more than one part
	third := len(layer) / 3
	start := a.do(t, "POST", "/v2/team/app/blobs/uploads/", nil, nil)
	location := start.header.Get("Location")
	for i, node := range []*client{b, a} {
		resp := node.do(t, "PATCH", at(node, location), layer[i*third:(i+1)*third], map[string]string{
			"Content-Range": fmt.Sprintf("%d-%d", i*third, (i+1)*third-1), "Content-Type": "application/octet-stream",
		})
		if resp.status != http.StatusAccepted {
			t.Fatalf("PATCH %d: %d %s", i, resp.status, resp.body)
		}
		if status := a.do(t, "GET", at(a, location), nil, nil); status.header.Get("Range") != fmt.Sprintf("0-%d", (i+1)*third-1) {
			t.Errorf("status: %d %v", status.status, status.header)
		}
	}
	resp := b.do(t, "PUT", at(b, location)+"?digest="+digestOf(layer), layer[2*third:], nil)
	if resp.status != http.StatusCreated {
		t.Fatalf("PUT: %d %s", resp.status, resp.body)
	}
	if got := a.do(t, "GET", "/v2/team/app/blobs/"+digestOf(layer), nil, nil); !bytes.Equal(got.body, layer) {
		t.Errorf("GET: %d, %d bytes", got.status, len(got.body))
	}
}

// testIdentity: what is changed on one node counts on the other.
func (c *cluster) testIdentity(t *testing.T) {
	const path = "/v2/team/app/tags/list"
	alice := c.as(1, "alice", "secret-alice")
	alice.expect(t, http.StatusUnauthorized, "GET", "/auth/token")
	c.command(t, 0, "secret-alice", "user", "add", "alice", "--password-stdin")
	soon(t, http.StatusOK, alice, "GET", "/auth/token")
	bearer := c.as(0, "admin", adminPassword).bearer(t, "repository:team/app:pull,push")
	bearer.base = "http://" + c.nodes[1].addr
	if got := bearer.do(t, "GET", path, nil, nil); got.status != http.StatusOK && got.status != http.StatusNotFound {
		t.Errorf("a token of the other node: %d %s", got.status, got.body)
	}
	c.command(t, 0, "", "user", "disable", "alice")
	soon(t, http.StatusUnauthorized, alice, "GET", "/auth/token")
	c.command(t, 1, "", "user", "enable", "alice")
	soon(t, http.StatusOK, c.as(0, "alice", "secret-alice"), "GET", "/auth/token")
}

// testNames: tags are those of now on every node, and what is deleted is gone.
func testNames(t *testing.T, a, b *client) {
	for i := range 10 {
		img := newImage(fmt.Sprint("image ", i))
		a.mustPush(t, "team/app", "v1", img)
		if err := b.pull("team/app", "v1", img); err != nil {
			t.Fatal(err)
		}
		if err := b.pull("team/app", digestOf(img.manifest), img); err != nil {
			t.Fatal(err)
		}
	}
	img := newImage("image 9")
	manifest, blob := "/v2/team/app/manifests/"+digestOf(img.manifest), "/v2/team/app/blobs/"+digestOf(img.layer)
	a.expect(t, http.StatusAccepted, "DELETE", manifest)
	b.expect(t, http.StatusNotFound, "HEAD", "/v2/team/app/manifests/v1")
	b.expect(t, http.StatusNotFound, "HEAD", manifest)
	a.expect(t, http.StatusAccepted, "DELETE", blob)
	b.expect(t, http.StatusNotFound, "HEAD", blob)
}

func (c *cluster) testCrane(t *testing.T) {
	need(t, "crane")
	dir := t.TempDir()
	crane := func(args ...string) {
		t.Helper()
		cmd := exec.Command("crane", append(args, "--insecure")...)
		cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("crane %s: %v\n%s", args[0], err, out)
		}
	}
	layer := filepath.Join(dir, "layer.tar.gz")
	if out, err := exec.Command("tar", "-czf", layer, "-C", ".", "testdata").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	crane("auth", "login", c.addr, "-u", "admin", "-p", adminPassword)
	crane("append", "-f", layer, "-t", c.addr+"/team/crane:v1")
	crane("copy", c.addr+"/team/crane:v1", c.addr+"/team/other:v1")
	crane("pull", c.addr+"/team/other:v1", filepath.Join(dir, "image.tar"))
}

// testKill kills the node that has taken half of a blob; the other goes on.
func (c *cluster) testKill(t *testing.T, b *client) {
	a := c.as(0, "admin", adminPassword)
	layer := bytes.Repeat([]byte("fedcba9876543210"), 1<<19)
	half := len(layer) / 2
	location := a.do(t, "POST", "/v2/team/kill/blobs/uploads/", nil, nil).header.Get("Location")
	if resp := a.do(t, "PATCH", at(a, location), layer[:half], nil); resp.status != http.StatusAccepted {
		t.Fatalf("PATCH: %d %s", resp.status, resp.body)
	}
	c.nodes[0].kill()
	if resp := b.do(t, "PATCH", at(b, location), layer[half:], nil); resp.status != http.StatusAccepted {
		t.Fatalf("PATCH on the other: %d %s", resp.status, resp.body)
	}
	if resp := b.do(t, "PUT", at(b, location)+"?digest="+digestOf(layer), nil, nil); resp.status != http.StatusCreated {
		t.Fatalf("PUT on the other: %d %s", resp.status, resp.body)
	}
	img := newImage("through the balancer")
	proxy := c.as(-1, "admin", adminPassword)
	proxy.mustPush(t, "team/kill", "v1", img)
	if err := c.nodes[0].restart(); err != nil {
		t.Fatal(err)
	}
	if err := a.pull("team/kill", "v1", img); err != nil {
		t.Error(err)
	}
}

// testRestart restarts one node after the other while clients push.
func (c *cluster) testRestart(t *testing.T) {
	var pushes, stop atomic.Int64
	var all sync.WaitGroup
	for p := range 4 {
		all.Go(func() {
			proxy := c.as(-1, "admin", adminPassword)
			for i := 0; stop.Load() == 0; i++ {
				img := newImage(fmt.Sprint("pusher ", p, " image ", i, strings.Repeat("x", 100_000)))
				resp, err := proxy.push("team/restart", fmt.Sprintf("p%d-%d", p, i), img)
				if err != nil || resp.status != http.StatusCreated {
					t.Errorf("push %d of pusher %d: %+v, %v", i, p, resp, err)
					return
				}
				pushes.Add(1)
			}
		})
	}
	for i, s := range c.nodes {
		time.Sleep(time.Second) // haproxy has seen that the one before is back
		s.stop()
		if err := s.restart(); err != nil {
			t.Errorf("restart node %d: %v", i, err)
		}
	}
	time.Sleep(time.Second)
	stop.Store(1)
	all.Wait()
	t.Logf("%d pushes", pushes.Load())
}
