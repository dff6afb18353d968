package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const readyTime = 10 * time.Second // in which berth must be back

// A server is berth over one folder of data.
type server struct {
	c      *campaign
	config string // path
	data   string
	db     string // path of the database
	log    string // path
	addr   string
	debug  string      // address
	files  uint64      // limit of open files; as it is when 0
	tls    *tls.Config // of its clients; nil for plain HTTP
	memory uint64      // bytes of memory that it can have; as it is when 0

	cmd    *exec.Cmd
	exited chan struct{}
}

// pushers is how many clients push at a time. Each is a user of its own, of
// whom every limit holds by itself.
const pushers = 4

func userName(i int) string { return fmt.Sprintf("user%d", i) }
func password(u string) string {
	return "password of " + u
}

// newServer writes a configuration over the folder data, with the passwords of
// the pushers hashed at cost. The server is not started.
func (c *campaign) newServer(data, db string, cost int) (*server, error) {
	s := &server{c: c, data: data, db: db, config: filepath.Join(c.dir, "config.yml"), log: filepath.Join(c.dir, "berth.log")}
	if db == "" {
		s.db = filepath.Join(data, "berth.db")
	}
	var err error
	if s.addr, err = freeAddr(); err != nil {
		return nil, err
	}
	if s.debug, err = freeAddr(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`version: 0.1
http:
  addr: %s
  debug: {addr: %q}
  h2c: {enabled: true}
storage:
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
metadata:
  sqlite: {path: %q}
auth:
  htpasswd: {realm: campaign, path: %q}
  issuer: {service: berth}
access:
  - {name: "*", type: registry, action: [pull, push, delete]}
  - {name: %s, type: registry, action: "*"}
`, s.addr, s.debug, data, s.db, filepath.Join(c.dir, "htpasswd"), userName(0))
	var users strings.Builder
	for i := range pushers {
		hash, err := bcrypt.GenerateFromPassword([]byte(password(userName(i))), cost)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&users, "%s:%s\n", userName(i), hash)
	}
	return s, errors.Join(
		os.WriteFile(s.config, []byte(config), 0o600),
		os.WriteFile(filepath.Join(c.dir, "htpasswd"), []byte(users.String()), 0o600))
}

// startServer is newServer with passwords that are cheap to check, and starts it.
func (c *campaign) startServer(data, db string) (*server, error) {
	s, err := c.newServer(data, db, bcrypt.MinCost)
	if err != nil {
		return nil, err
	}
	return s, s.start()
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start runs berth and returns when it serves, noting how long that took.
func (s *server) start() error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := []string{s.c.bin, "serve", s.config}
	for limit, n := range map[string]uint64{"--nofile=": s.files, "--data=": s.memory} {
		if n > 0 {
			args = append([]string{"prlimit", limit + strconv.FormatUint(n, 10)}, args...)
		}
	}
	began := time.Now()
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(exited)
	}(s.cmd)
	for {
		select {
		case <-exited:
			return fmt.Errorf("berth ended before it was ready, see %s", log.Name())
		case <-time.After(10 * time.Millisecond):
		}
		took := time.Since(began)
		if s.isReady() {
			s.c.report.Restart = max(s.c.report.Restart, took)
			return nil
		}
		if took > readyTime {
			s.kill()
			return fmt.Errorf("berth is not ready after %v", readyTime)
		}
	}
}

func (s *server) isReady() bool {
	_, err := s.degraded()
	return err == nil
}

// degraded returns the names of the parts that are not well.
func (s *server) degraded() ([]string, error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{TLSClientConfig: s.tls, DisableKeepAlives: true}}
	resp, err := client.Get(s.base() + "/readyz")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("not ready: status %d", resp.StatusCode)
	}
	var said struct{ Degraded []string }
	err = json.NewDecoder(resp.Body).Decode(&said)
	return said.Degraded, err
}

// base returns the address as clients spell it.
func (s *server) base() string {
	if s.tls != nil {
		return "https://" + s.addr
	}
	return "http://" + s.addr
}

// alive reports whether the process runs.
func (s *server) alive() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// kill ends berth without a chance to tidy up.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

// stop ends berth as a service manager does.
func (s *server) stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		s.kill()
	}
}

// A usage is what a process holds.
type usage struct {
	memory, peak int // KiB, resident
	files        int // descriptors but those of folders
	goroutines   int
}

func (u usage) String() string {
	return fmt.Sprintf("%d MiB, %d descriptors, %d goroutines", u.memory>>10, u.files, u.goroutines)
}

func (s *server) usage() (usage, error) {
	var u usage
	proc := fmt.Sprintf("/proc/%d", s.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		return u, err
	}
	for line := range bytes.Lines(status) {
		fmt.Sscanf(string(line), "VmRSS: %d kB", &u.memory)
		fmt.Sscanf(string(line), "VmHWM: %d kB", &u.peak)
	}
	files, err := os.ReadDir(proc + "/fd")
	if err != nil {
		return u, err
	}
	for _, f := range files {
		// Folders in use are kept open, up to a limit.
		if info, err := os.Stat(proc + "/fd/" + f.Name()); err != nil || !info.IsDir() {
			u.files++
		}
	}
	resp, err := http.Get("http://" + s.debug + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return u, err
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		return u, err
	}
	_, err = fmt.Sscanf(line, "goroutine profile: total %d", &u.goroutines)
	return u, err
}
