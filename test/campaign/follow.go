package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A follower counts the system calls of a process that change a disk or answer a
// client, in all of its threads together, and can end the process at one of them.
// strace counts in each thread, and Go moves a request from thread to thread.
//
// It is a process of its own, because whoever follows a child of its own takes
// away what waiting for that child would report.
type follower struct {
	pid   int
	calls map[uint64]string
	stop  point // where to end the process; of no call when it is only to be counted

	mu     sync.Mutex
	counts map[string]int
	inside map[int]string // thread: the call that it is in, when that is the one to stop after
}

// followArg is the first argument of the program as a follower: what comes after
// it are the process, the call, which one, and "enter" or "exit".
const followArg = "follow"

// follow says "ready" once it counts, and then either "hit", after the process was
// killed, or what it has counted when its input ends. The process is then free.
func follow(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 4 {
		return errors.New("usage: follow PID CALL N enter|exit")
	}
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	nth, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	f := &follower{pid: pid, calls: followed(), stop: point{call: args[1], nth: nth, when: args[3]},
		counts: make(map[string]int), inside: make(map[int]string)}
	runtime.LockOSThread() // all of ptrace must come from one thread
	if err := f.seize(); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	go func() {
		io.Copy(io.Discard, in)
		f.mu.Lock() // for good: nothing is counted any more
		json.NewEncoder(out).Encode(f.counts)
		os.Exit(0) // which lets all threads go
	}()
	for {
		hit, err := f.step()
		if err != nil {
			return err
		}
		if hit {
			fmt.Fprintln(out, "hit")
			return nil
		}
	}
}

// seize begins to follow all threads, and those that they start later.
func (f *follower) seize() error {
	seen := make(map[string]bool)
	for grown := true; grown; {
		grown = false
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", f.pid))
		if err != nil {
			return err
		}
		for _, task := range tasks {
			if seen[task.Name()] {
				continue
			}
			seen[task.Name()], grown = true, true
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
			err = ptrace(unix.PTRACE_SEIZE, tid, 0, options)
			if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ESRCH) {
				continue // started by one that is followed, or gone
			}
			if err == nil {
				err = ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0)
			}
			if err != nil {
				return fmt.Errorf("follow thread %d: %w", tid, err)
			}
		}
	}
	return nil
}

// step waits for a thread to stop and lets it go on, unless it is at the call
// that is looked for: then the process dies there, and no other thread goes on
// from where it stopped.
func (f *follower) step() (hit bool, err error) {
	var status unix.WaitStatus
	tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err != nil || !status.Stopped() {
		return false, err
	}
	signal := 0
	switch sig := status.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if hit, err := f.at(tid); hit || err != nil {
			return hit, err
		}
	case uint32(status)>>16 == 0:
		signal = int(sig) // on its way to the process
	}
	err = ptrace(unix.PTRACE_SYSCALL, tid, 0, uintptr(signal))
	if errors.Is(err, unix.ESRCH) {
		err = nil // it died of a signal meanwhile
	}
	return false, err
}

// at looks at a thread that is about to enter a system call, or has come back.
func (f *follower) at(tid int) (hit bool, err error) {
	var info struct { // struct ptrace_syscall_info
		op     uint8
		_      [3]uint8
		arch   uint32
		ip, sp uint64
		number uint64
		args   [6]uint64
		_      [8]uint8
	}
	const getSyscallInfo, entry, exit = 0x420e, 1, 2
	err = ptrace(getSyscallInfo, tid, unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)))
	if errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch info.op {
	case entry:
		name := f.name(info.number, info.args)
		if name == "" {
			return false, nil
		}
		f.counts[name]++
		if name != f.stop.call || f.counts[name] != f.stop.nth {
			return false, nil
		}
		if f.stop.when == "exit" {
			f.inside[tid] = name
			return false, nil
		}
	case exit:
		if f.inside[tid] == "" {
			return false, nil
		}
	}
	return true, unix.Kill(f.pid, unix.SIGKILL)
}

// name returns what a call is counted as, and nothing for one that does not
// change a disk, and is no answer.
func (f *follower) name(number uint64, args [6]uint64) string {
	name := f.calls[number]
	switch name {
	case "openat":
		if args[2]&unix.O_CREAT == 0 {
			return ""
		}
	case "open":
		if args[1]&unix.O_CREAT == 0 {
			return ""
		}
	case "write", "writev":
		target, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(f.pid), "fd", strconv.FormatUint(args[0], 10)))
		switch {
		case err != nil || strings.HasPrefix(target, "anon_inode:"):
			return ""
		case strings.HasPrefix(target, "socket:"):
			return "answer"
		}
	}
	return name
}

// followed returns the calls by their numbers.
func followed() map[uint64]string {
	calls := map[uint64]string{
		unix.SYS_WRITE: "write", unix.SYS_WRITEV: "writev", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync",
		unix.SYS_FDATASYNC: "fdatasync", unix.SYS_OPENAT: "openat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat",
		unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_LINKAT: "linkat", unix.SYS_FCHMOD: "fchmod",
		unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
		unix.SYS_COPY_FILE_RANGE: "copy_file_range", unix.SYS_SYNC_FILE_RANGE: "sync_file_range", unix.SYS_SPLICE: "splice",
	}
	maps.Copy(calls, olderCalls())
	return calls
}

func ptrace(request, pid int, addr, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
