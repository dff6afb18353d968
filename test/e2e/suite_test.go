// Package e2e holds the tests that look at berth from outside: the binary as it
// is shipped, with real clients, over real sockets. Everything stays on the
// loopback interface and in folders of the tests' own.
//
// What a test needs and the machine lacks is a reason to skip it, and says so;
// with CI=true in the environment it is a failure. "make deps" installs all of
// it.
package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// shared is what the tests of one run have in common.
var shared suite

func TestMain(m *testing.M) {
	code, err := shared.run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

// A suite holds what is made once, when it is first asked for: the binary and
// the container engines.
type suite struct {
	dir        string
	berth      func() (string, error)
	docker     func() (*engine, error)
	containerd func() (*engine, error)

	mu      sync.Mutex
	engines []*engine
}

func (s *suite) run(m *testing.M) (code int, err error) {
	// The machine may hold another client of the same name elsewhere: the one
	// that belongs to the engine comes first.
	tools, err := filepath.Abs("../../.cache/bin")
	if err != nil {
		return 0, err
	}
	s.dir, err = os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		return 0, err
	}
	defer func() {
		for _, e := range s.engines {
			e.stop()
		}
		err = errors.Join(err, os.RemoveAll(s.dir))
	}()
	path := []string{tools, filepath.Join(s.dir, "bin"), "/usr/bin", "/usr/sbin", os.Getenv("PATH")}
	os.Setenv("PATH", strings.Join(path, string(os.PathListSeparator)))

	s.berth = sync.OnceValues(s.build)
	s.docker = sync.OnceValues(s.startDocker)
	s.containerd = sync.OnceValues(s.startContainerd)
	return m.Run(), nil
}

// build makes the binary as it is shipped and returns its path.
func (s *suite) build() (string, error) {
	path := filepath.Join(s.dir, "bin", "berth")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", path, "berth/cmd/berth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth: %w\n%s", err, out)
	}
	return path, nil
}

// missing says what is lacking of the named programs, or is empty. The name
// "root" stands for the right to mount and to start container engines.
func missing(programs ...string) string {
	var names []string
	for _, p := range programs {
		if p == "root" {
			if os.Geteuid() != 0 {
				return "root is needed"
			}
			continue
		}
		if _, err := exec.LookPath(p); err != nil {
			names = append(names, p)
		}
	}
	if names == nil {
		return ""
	}
	return "not installed: " + strings.Join(names, ", ") + ` ("make deps" installs it)`
}

// need skips the test, or fails it in CI, unless all programs are there.
func need(t *testing.T, programs ...string) {
	t.Helper()
	lacking(t, missing(programs...))
}

func lacking(t *testing.T, reason string) {
	t.Helper()
	switch {
	case reason == "":
	case inCI():
		t.Fatal(reason)
	default:
		t.Skip(reason)
	}
}

func inCI() bool { return os.Getenv("CI") == "true" }
