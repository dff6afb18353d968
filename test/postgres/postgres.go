// Package postgres starts real PostgreSQL servers for tests: each on a port and in
// a folder of its own, on the loopback interface, as an ordinary user.
//
// What a test needs and the machine lacks is a reason to skip it; with CI=true
// in the environment it is a failure. "make deps" installs all of it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// User is the owner of all databases, and Password his.
	User     = "berth"
	Password = "database-secret"

	startTime = 60 * time.Second
)

// Options are the choices of Start.
type Options struct {
	// Fast leaves out what makes commits durable: not for a server that is killed.
	Fast bool
	// Settings are added to the command line, such as "wal_level=replica".
	Settings []string
}

// A Server is a PostgreSQL whose databases sort text as people do, unless told
// otherwise.
type Server struct {
	dir     string // all of it
	port    int
	o       Options
	account *syscall.Credential // nil: whoever runs the test

	mu     sync.Mutex
	made   int // databases
	cmd    *exec.Cmd
	exited chan struct{}
	frozen []int
	log    string
}

// Start starts a server that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	need(t)
	s, err := start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return s
}

// need skips the test, or fails it in CI, where there is no PostgreSQL.
func need(t testing.TB) {
	t.Helper()
	switch {
	case program("initdb") != "":
	case os.Getenv("CI") == "true":
		t.Fatal("not installed: PostgreSQL")
	default:
		t.Skip(`not installed: PostgreSQL ("make deps" installs it)`)
	}
}

// program returns the path of a program of the newest version that is installed,
// or "". Debian keeps them where no PATH leads.
func program(name string) string {
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(paths) > 0 {
		slices.Sort(paths)
		return paths[len(paths)-1]
	}
	path, _ := exec.LookPath(name)
	return path
}

func start(o Options) (*Server, error) {
	s := &Server{o: o}
	var err error
	if s.dir, err = os.MkdirTemp("", "berth-postgres-"); err != nil {
		return nil, err
	}
	s.log = filepath.Join(s.dir, "log")
	if err := s.initialize(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if s.port, err = freePort(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.start(); err != nil {
		s.Remove()
		return nil, err
	}
	return s, nil
}

// initialize makes the folder of the data. PostgreSQL refuses to run as root.
func (s *Server) initialize() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		s.account = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o644); err != nil {
		return err
	}
	cmd := s.command("initdb", "-D", filepath.Join(s.dir, "data"), "-U", User, "--pwfile", secret, "-A", "scram-sha-256",
		"-E", "UTF8", "--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(program(name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.account}
	return cmd
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// start starts the server and waits until it takes connections.
func (s *Server) start() error {
	args := []string{"-D", filepath.Join(s.dir, "data"), "-p", strconv.Itoa(s.port)}
	settings := []string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100", "shared_buffers=32MB", "timezone=UTC"}
	if s.o.Fast {
		settings = append(settings, "fsync=off", "full_page_writes=off", "autovacuum=off")
	}
	for _, setting := range append(settings, s.o.Settings...) {
		args = append(args, "-c", setting)
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	s.cmd, s.exited = cmd, exited
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		err := s.try()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("PostgreSQL does not start:\n%s", s.Log())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, s.Log())
		}
	}
}

func (s *Server) try() error {
	return s.Exec(context.Background(), "postgres", "SELECT 1")
}

// URL returns that of a database.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", User, Password, s.port, database)
}

// Addr returns the address of the server.
func (s *Server) Addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// Exec runs statements in a database.
func (s *Server) Exec(ctx context.Context, database, statements string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.PgConn().Exec(ctx, statements).ReadAll()
	return err
}

// Database makes an empty database and returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	return s.Copy(t, "template1")
}

// Copy makes a database like another, to which nobody is connected, and returns
// its name.
func (s *Server) Copy(t testing.TB, database string) string {
	t.Helper()
	s.mu.Lock()
	s.made++
	name := fmt.Sprintf("test%d", s.made)
	s.mu.Unlock()
	if err := s.Exec(context.Background(), "postgres", "CREATE DATABASE "+name+" TEMPLATE "+database); err != nil {
		t.Fatal(err)
	}
	return name
}

// Log returns what the server has written.
func (s *Server) Log() string {
	data, _ := os.ReadFile(s.log)
	return string(data)
}
