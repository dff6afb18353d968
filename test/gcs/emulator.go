package gcs

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// StartEmulator starts fake-gcs-server with an empty Bucket, and returns its
// address. It ends with the test. Its resumable uploads are not those of Google:
// objects have to be made at once. Where it is missing the test is skipped, and
// fails with CI=true.
func StartEmulator(t testing.TB) string {
	t.Helper()
	const name = "fake-gcs-server"
	program, err := exec.LookPath(name)
	for dir := "."; err != nil && len(dir) < 20; dir += "/.." {
		program, err = exec.LookPath(filepath.Join(dir, ".cache", "bin", name))
	}
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatalf("not installed: %s", name)
	}
	if err != nil {
		t.Skipf(`not installed: %s ("make deps" installs it)`, name)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-scheme", "http", "-host", host, "-port", port, "-backend", "memory", "-external-url", "http://"+addr, "-public-host", addr, "-log-level", "error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Post("http://"+addr+"/storage/v1/b?project=p", "application/json", strings.NewReader(fmt.Sprintf(`{"name":%q}`, Bucket)))
		if err == nil {
			resp.Body.Close()
			return "http://" + addr
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not answer: %v", name, err)
		}
	}
}
