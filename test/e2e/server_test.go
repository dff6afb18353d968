package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// A server is a running "berth serve".
type server struct {
	cmd  *exec.Cmd
	addr string
	dir  string // holds the configuration and, by its rules, the data
	log  *output

	exited chan struct{}
	args   []string
	env    []string
}

// serve starts berth in a new folder, with the configuration of that name from
// testdata/config, and stops it when the test ends.
func serve(t *testing.T, config string, env ...string) *server {
	t.Helper()
	dir := t.TempDir()
	if err := prepare(dir, config); err != nil {
		t.Fatal(err)
	}
	s, err := launch(dir, []string{"serve", filepath.Join(dir, config)}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	return s
}

// prepare writes a configuration from testdata/config into dir, with $DIR in it
// standing for dir and each of the variables for what follows it, and an htpasswd
// file in which the password of user1 is secret1, and so on.
func prepare(dir, config string, variables ...string) error {
	data, err := os.ReadFile(filepath.Join("testdata", "config", config))
	if err != nil {
		return err
	}
	text := strings.NewReplacer(append(variables, "$DIR", dir)...).Replace(string(data))
	if err := os.WriteFile(filepath.Join(dir, config), []byte(text), 0o600); err != nil {
		return err
	}
	var lines strings.Builder
	for user, password := range passwords() {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		if err != nil {
			return err
		}
		fmt.Fprintf(&lines, "%s:%s\n", user, hash)
	}
	return os.WriteFile(filepath.Join(dir, "htpasswd"), []byte(lines.String()), 0o600)
}

// passwords returns the users of the htpasswd files of the tests.
func passwords() map[string]string {
	return map[string]string{
		"user1": "secret1", "user2": "secret2",
		"alice": "secret-alice", "bob": "secret-bob", "carol": "secret-carol", "dave": "secret-dave",
		"root": "secret-root",
	}
}

// launch runs berth on a port of its own and returns when it is ready.
func launch(dir string, args, env []string) (*server, error) {
	binary, err := shared.berth()
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		s := &server{dir: dir, args: args, env: env, log: new(output)}
		s.addr, err = freeAddr()
		if err != nil {
			return nil, err
		}
		err = s.run(binary)
		// Between asking for a free port and using it, another may have taken it.
		if err == nil || try == 3 || !strings.Contains(err.Error(), "address already in use") {
			return s, err
		}
	}
}

func (s *server) run(binary string) error {
	s.cmd = exec.Command(binary, s.args...)
	s.cmd.Dir = s.dir
	s.cmd.Env = append(append(os.Environ(), "REGISTRY_HTTP_ADDR="+s.addr), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func() {
		s.cmd.Wait()
		close(exited)
	}()
	if err := awaitReady(s.addr, s.exited); err != nil {
		s.kill()
		return fmt.Errorf("berth %s: %w\n%s", strings.Join(s.args, " "), err, s.log)
	}
	return nil
}

// restart runs the server again, at the address that it had.
func (s *server) restart() error {
	binary, err := shared.berth()
	if err != nil {
		return err
	}
	return s.run(binary)
}

// stop ends the server as a service manager does.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.kill()
	}
}

// kill ends the server without a chance to tidy up.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

func (s *server) url() string { return "http://" + s.addr }

// awaitReady returns when the server at addr says that it is ready, and with an
// error when exited is closed or much time has passed.
func awaitReady(addr string, exited <-chan struct{}) error {
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-exited:
			return errors.New("it exited before it was ready")
		case <-deadline:
			return errors.New("it is not ready after 30 s")
		case <-time.After(20 * time.Millisecond):
		}
		resp, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
}

// freeAddr returns an address of the loopback interface that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// An output gathers what a process writes. It is safe for concurrent use.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
