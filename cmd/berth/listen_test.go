package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

func TestListenUnixReplacesADeadSocketOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil {
		t.Error("took the socket of a server that answers")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listenUnix(path)
	if err != nil {
		t.Fatalf("the socket of a dead server: %v", err)
	}
	second.Close()

	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(file); err == nil {
		t.Error("listens on what is not a socket")
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
		t.Errorf("the file that was no socket is now %q, %v", data, err)
	}
}

func TestNoSocketPassed(t *testing.T) {
	me := strconv.Itoa(os.Getpid())
	for _, env := range [][2]string{{"", ""}, {"1", "1"}, {me, "0"}, {me, ""}, {me, "x"}} {
		if l, err := passedListener(env[0], env[1]); l != nil || err != nil {
			t.Errorf("LISTEN_PID=%q LISTEN_FDS=%q: %v, %v", env[0], env[1], l, err)
		}
	}
}

func TestDataIsLockedOnce(t *testing.T) {
	dir := t.TempDir()
	lock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(dir); !errors.Is(err, errLocked) {
		t.Errorf("locked twice: %v", err)
	}
	lock.Close()
	again, err := lockData(dir)
	if err != nil {
		t.Fatalf("after the lock ended: %v", err)
	}
	again.Close()
}

func TestAdminSocketIsTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	l, err := listenAdmin(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		t.Errorf("permissions %o, want 600", perm)
	}
}
