package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many a second the kernel counts processor time in: USER_HZ,
// which is the same on every architecture that Go runs on.
const ticks = 100

// A process is a server that was started here.
type process struct {
	cmd  *exec.Cmd
	addr string // where it serves
	done chan struct{}
	peak int64 // bytes of resident memory, over all measurements
}

// start runs a server and waits until it answers at addr. What it prints is
// kept in logFile.
func start(addr, logFile, name string, args ...string) (*process, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own
	p := &process{cmd: exec.Command(name, args...), addr: addr, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.done:
			text, _ := os.ReadFile(logFile)
			return nil, fmt.Errorf("start %s: it ended: %s", filepath.Base(name), text)
		default:
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return p, nil
		}
	}
	p.stop()
	return nil, fmt.Errorf("start %s: it does not listen on %s", filepath.Base(name), addr)
}

// stop ends the server, gently at first.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// members returns the server's process and its children.
func (p *process) members() []int {
	pid := p.cmd.Process.Pid
	all := []int{pid}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, f := range strings.Fields(string(data)) {
		if child, err := strconv.Atoi(f); err == nil {
			all = append(all, child)
		}
	}
	return all
}

// cpu returns the processor time that the server has used.
func (p *process) cpu() (time.Duration, error) {
	var sum int64
	for _, pid := range p.members() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		n, err := statTicks(string(data))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return time.Duration(sum) * time.Second / ticks, nil
}

// statTicks returns the sum of utime and stime of a line of /proc/PID/stat
// (proc_pid_stat(5)). The name of the program may hold anything, so fields are
// counted from its end.
func statTicks(line string) (int64, error) {
	i := strings.LastIndexByte(line, ')')
	fields := strings.Fields(line[i+1:])
	if i < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("not a line of stat: %q", line)
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return user + system, err
}

// resetPeak lets the count of the most memory begin anew.
func (p *process) resetPeak() error {
	var all []error
	for _, pid := range p.members() {
		all = append(all, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0))
	}
	return errors.Join(all...)
}

// readPeak returns the most resident memory since resetPeak, in bytes.
func (p *process) readPeak() (int64, error) {
	var sum int64
	for _, pid := range p.members() {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(data), "VmHWM:")
		line, _, _ := strings.Cut(rest, "kB")
		kib, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the peak of memory: %w", err)
		}
		sum += kib << 10
	}
	p.peak = max(p.peak, sum)
	return sum, nil
}

// freeAddr returns an address of loopback that nothing listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
