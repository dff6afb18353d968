// Package versity runs an object store for tests: versitygw, over a folder. A
// test may kill it and start it again.
package versity

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// AccessKey and SecretKey are those of every Server.
const (
	AccessKey = "berth"
	SecretKey = "secret-of-the-store"
)

// startTime bounds how long a server may take to answer.
const startTime = 20 * time.Second

// A Server is a store that speaks S3. It ends with the test.
type Server struct {
	Endpoint string // its address, a URL

	t      testing.TB
	binary string
	dir    string

	mu  sync.Mutex
	cmd *exec.Cmd // nil while it does not run
}

// Start starts a store, or skips the test where there is none, which in
// CI is a failure.
func Start(t testing.TB) *Server {
	t.Helper()
	binary := program("versitygw")
	switch {
	case binary != "":
	case os.Getenv("CI") == "true":
		t.Fatal("not installed: versitygw")
	default:
		t.Skip(`not installed: versitygw ("make deps" installs it)`)
	}
	v := &Server{t: t, binary: binary, dir: t.TempDir()}
	for _, sub := range []string{"buckets", "meta"} {
		if err := os.Mkdir(filepath.Join(v.dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	v.Endpoint = "http://" + freeAddr(t)
	t.Cleanup(v.Kill)
	v.Restart()
	return v
}

// program returns the path of a tool of the tests, or "".
func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for dir := "."; len(dir) < 20; dir = filepath.Join("..", dir) {
		path, err := filepath.Abs(filepath.Join(dir, ".cache", "bin", name))
		if err == nil && executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// NewBucket makes a bucket.
func (v *Server) NewBucket(name string) {
	v.t.Helper()
	if err := os.Mkdir(filepath.Join(v.dir, "buckets", name), 0o700); err != nil {
		v.t.Fatal(err)
	}
}

// Folder returns where the objects of a bucket are, as files.
func (v *Server) Folder(name string) string { return filepath.Join(v.dir, "buckets", name) }

// Restart runs the store again, at the address that it had before.
func (v *Server) Restart() {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	cmd := exec.Command(v.binary, "--port", strings.TrimPrefix(v.Endpoint, "http://"), "--quiet", "--keep-alive",
		"posix", "--sidecar", filepath.Join(v.dir, "meta"), filepath.Join(v.dir, "buckets"))
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	log, err := os.OpenFile(filepath.Join(v.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		v.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	v.cmd = cmd
	if err := v.await(); err != nil {
		said, _ := os.ReadFile(log.Name())
		v.t.Fatalf("%v; it said:\n%s", err, said)
	}
}

// await waits until the store answers.
func (v *Server) await() error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get(v.Endpoint + "/health-of-nothing")
		if err == nil {
			return resp.Body.Close()
		}
	}
	return fmt.Errorf("versitygw does not answer on %s", v.Endpoint)
}

// Kill ends the store at once, as a power cut would.
func (v *Server) Kill() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cmd == nil {
		return
	}
	if err := v.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		v.t.Error(err)
	}
	_ = v.cmd.Wait() // it was killed
	v.cmd = nil
}
