package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// firstPassedFile is the descriptor of the first socket that systemd passes
// (sd_listen_fds, SD_LISTEN_FDS_START).
const firstPassedFile = 3

// listen opens the socket that http.net and http.addr name. One that systemd
// passed to this process takes its place.
func listen(network, addr string) (net.Listener, error) {
	if l, err := passedListener(os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")); l != nil || err != nil {
		return l, err
	}
	switch network {
	case "", "tcp":
		l, err := net.Listen("tcp", addr)
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen on http.addr %q: another program listens there: stop it, or name another http.addr", addr)
		}
		if err != nil {
			return nil, fmt.Errorf("listen on http.addr %q: %w", addr, err)
		}
		return l, nil
	case "unix":
		return listenUnix(addr)
	}
	return nil, fmt.Errorf("http.net is %q: it must be tcp or unix", network)
}

// passedListener returns the socket that the environment says was passed, or
// nil when none was.
func passedListener(pid, count string) (net.Listener, error) {
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	if n, err := strconv.Atoi(count); err != nil || n < 1 {
		return nil, nil
	}
	f := os.NewFile(firstPassedFile, "socket from systemd")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("use the socket that systemd passed: %w", err)
	}
	return l, nil
}

// listenUnix opens a socket in the file system. A socket file that a dead
// process left is replaced; one that is answered is not.
func listenUnix(path string) (net.Listener, error) {
	l, err := net.Listen("unix", path)
	if err == nil {
		return l, nil
	}
	if answered(path) {
		return nil, fmt.Errorf("listen on %s: another server answers there", path)
	}
	if info, statErr := os.Lstat(path); statErr != nil || info.Mode().Type() != os.ModeSocket {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("replace the socket of a dead server: %w", err)
	}
	if l, err = net.Listen("unix", path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func answered(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}
