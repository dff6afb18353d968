// Package azurite starts Azurite, which stands in for Azure Blob Storage. It is
// an npm package, which "make deps" installs; a test that needs it where it is
// missing is skipped, and fails with CI=true.
package azurite

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Account and Key are those that every Azurite has.
const (
	Account = "devstoreaccount1"
	Key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// patience is how long it may take to start.
const patience = 60 * time.Second

// A Server is a running Azurite.
type Server struct {
	URL string // of the account

	dir, addr string
	args      []string
	cmd       *exec.Cmd
}

// Start starts Azurite, which ends with the test. What it holds stands in a
// folder of the test's.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{dir: t.TempDir(), addr: l.Addr().String(), args: args}
	l.Close()
	s.URL = "http://" + s.addr + "/" + Account
	s.Restart(t)
	t.Cleanup(s.Kill)
	return s
}

// Kill ends it at once.
func (s *Server) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Restart starts it again with what it held.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	script := program(t)
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{script, "--blobHost", host, "--blobPort", port, "--location", s.dir, "--skipApiVersionCheck", "--disableTelemetry", "--silent"}, s.args...)
	s.cmd = exec.Command("node", args...)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", s.addr, time.Second)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("azurite does not listen: %v", err)
		}
	}
}

// program returns the script of Azurite.
func program(t testing.TB) string {
	t.Helper()
	root, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if filepath.Dir(root) == root {
			t.Fatal("the test does not run inside the module")
		}
		root = filepath.Dir(root)
	}
	script := filepath.Join(root, ".cache", "node", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	_, missing := os.Stat(script)
	if missing == nil {
		_, missing = exec.LookPath("node")
	}
	if missing != nil && os.Getenv("CI") == "true" {
		t.Fatalf("azurite is missing: %v", missing)
	}
	if missing != nil {
		t.Skipf("azurite is missing, make deps installs it: %v", missing)
	}
	return script
}
