package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// An engine is a container daemon with all of its state in one folder.
type engine struct {
	cmd    *exec.Cmd
	dir    string
	socket string
}

// startDocker starts a Docker engine that runs no container: it makes no
// network and touches no firewall.
func (s *suite) startDocker() (*engine, error) {
	dir := filepath.Join(s.dir, "docker")
	socket := filepath.Join(dir, "docker.sock")
	return s.startEngine(dir, socket, "dockerd",
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"-p", filepath.Join(dir, "pid"), "-H", "unix://"+socket,
		"--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none",
		"--insecure-registry", "127.0.0.0/8")
}

func (s *suite) startContainerd() (*engine, error) {
	dir := filepath.Join(s.dir, "containerd")
	socket := filepath.Join(dir, "containerd.sock")
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = %q
`, filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
	path := filepath.Join(s.dir, "containerd.toml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	return s.startEngine(dir, socket, "containerd", "-c", path)
}

func (s *suite) startEngine(dir, socket, program string, args ...string) (*engine, error) {
	if lack := missing(program); lack != "" {
		return nil, fmt.Errorf("%s", lack)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	logPath := filepath.Join(dir, "log")
	logFile, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	e := &engine{cmd: exec.Command(program, args...), dir: dir, socket: socket}
	e.cmd.Stdout, e.cmd.Stderr = logFile, logFile
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.engines = append(s.engines, e)
	s.mu.Unlock()
	for range 300 {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return e, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	log, _ := os.ReadFile(logPath)
	return nil, fmt.Errorf("%s does not answer after 30 s:\n%s", program, log)
}

// stop ends the daemon and undoes the mounts that it left behind.
func (e *engine) stop() {
	e.cmd.Process.Signal(syscall.SIGTERM)
	dead := time.AfterFunc(20*time.Second, func() { e.cmd.Process.Kill() })
	e.cmd.Wait()
	dead.Stop()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], e.dir+"/") {
			syscall.Unmount(f[1], syscall.MNT_DETACH)
		}
	}
}
