package postgres

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Kill ends all of the server at once, as a power cut does.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	processes := s.processes()
	for _, pid := range processes {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	s.frozen = nil
	<-s.exited
	s.cmd = nil
	// Their shared memory is in the way of a new server until they are gone.
	for _, pid := range processes {
		for range 500 {
			if state, _ := process(pid); state == "" || state == "Z" {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// Stop ends the server as an administrator does who does not wait for clients.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	<-s.exited
	s.cmd = nil
}

// Start starts the server again, at the address it had.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// Freeze lets all of the server stand still. Its connections stay.
func (s *Server) Freeze() {
	s.frozen = s.processes()
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// Thaw lets it go on.
func (s *Server) Thaw() {
	for _, pid := range s.frozen {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.frozen = nil
}

// CutConnections ends every connection to a database.
func (s *Server) CutConnections(t testing.TB, database string) {
	t.Helper()
	err := s.Exec(context.Background(), "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+database+"'")
	if err != nil {
		t.Fatal(err)
	}
}

// Remove ends the server and removes its data.
func (s *Server) Remove() {
	s.Thaw()
	s.Kill()
	_ = os.RemoveAll(s.dir)
}

// processes returns the server and its children, which are in groups of their own.
func (s *Server) processes() []int {
	pids := []int{s.cmd.Process.Pid}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent := process(pid); parent == s.cmd.Process.Pid {
			pids = append(pids, pid)
		}
	}
	return pids
}

// process returns the state and the parent of a process, "" and 0 where there is
// none.
func process(pid int) (state string, parent int) {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := bytes.Cut(data, []byte(") ")) // its name may hold anything but this
	fields := bytes.Fields(rest)
	if len(fields) < 2 {
		return "", 0
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	return string(fields[0]), parent
}

// A Shared server is started by the first test that asks, and serves all tests
// of a package. It is fast, and nobody may disturb it. The zero value is ready.
type Shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Server returns it.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	need(t)
	s.once.Do(func() { s.server, s.err = start(Options{Fast: true}) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Main returns what runs the tests of m, and ends the server after them.
func (s *Shared) Main(m *testing.M) interface{ Run() int } { return sharedMain{m, s} }

type sharedMain struct {
	*testing.M
	shared *Shared
}

func (m sharedMain) Run() int {
	defer func() {
		if m.shared.server != nil {
			m.shared.server.Remove()
		}
	}()
	return m.M.Run()
}
