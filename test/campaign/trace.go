package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// A tracer is strace at work on a server.
type tracer struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// trace attaches strace to the server, with what it is to inject, and returns
// when it is in place. Calls are counted from there, in each thread.
func (s *server) trace(inject string) (*tracer, error) {
	calls, _, _ := strings.Cut(inject, ":")
	t := &tracer{done: make(chan struct{}), cmd: exec.Command("strace", "-f", "-p", fmt.Sprint(s.cmd.Process.Pid),
		"-o", filepath.Join(s.c.dir, "strace.log"), "-e", "trace="+calls, "-e", "inject="+inject)}
	stderr, err := t.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	attached := make(chan struct{})
	var said strings.Builder
	go func() {
		defer close(t.done)
		var once sync.Once
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if strings.Contains(lines.Text(), "attached") { // also said of later threads
				once.Do(func() { close(attached) })
			}
			said.WriteString(lines.Text())
		}
		t.cmd.Wait()
	}()
	select {
	case <-attached:
		return t, nil
	case <-t.done:
		return nil, errors.New("strace: " + said.String())
	case <-time.After(5 * time.Second):
		t.detach()
		return nil, errors.New("strace did not attach")
	}
}

// detach lets the server go on undisturbed. It must not be in the midst of a
// delay.
func (t *tracer) detach() {
	t.cmd.Process.Signal(os.Interrupt)
	select {
	case <-t.done:
	case <-time.After(5 * time.Second):
		t.cmd.Process.Kill()
		<-t.done
	}
}
