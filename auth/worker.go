package auth

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// idleWorker is how long a worker waits for its next hash before it ends.
const idleWorker = time.Minute

// A hashRequest asks a worker whether Password has that Hash, or, when there is
// none, for its hash of that Cost.
type hashRequest struct {
	Hash     []byte `json:"hash,omitempty"`
	Password []byte `json:"password"`
	Cost     int    `json:"cost,omitempty"`
}

// A hashResponse answers a hashRequest.
type hashResponse struct {
	Match bool   `json:"match,omitempty"`
	Hash  []byte `json:"hash,omitempty"`
	Error string `json:"error,omitempty"`
}

// ServeHashes is what the process of a HasherOptions.Worker does: it computes
// what it reads from r and writes the answers to w, one after the other, at a low
// priority, until r ends.
func ServeHashes(r io.Reader, w io.Writer) error {
	runtime.LockOSThread() // the priority is the thread's
	defer runtime.UnlockOSThread()
	if err := lowerPriority(); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	requests, answers := json.NewDecoder(r), json.NewEncoder(w)
	for {
		var q hashRequest
		switch err := requests.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a request for a hash: %w", err)
		}
		if err := answers.Encode(q.answer()); err != nil {
			return fmt.Errorf("answer a request for a hash: %w", err)
		}
	}
}

func (q hashRequest) answer() hashResponse {
	var a hashResponse
	var err error
	if len(q.Hash) == 0 {
		a.Hash, err = bcrypt.GenerateFromPassword(q.Password, q.Cost)
	} else {
		err = bcrypt.CompareHashAndPassword(q.Hash, q.Password)
		a.Match = err == nil
	}
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		a.Error = err.Error()
	}
	return a
}

// workers are processes that hash. A hash in this process would hold one of the
// few processors that the runtime has for requests, and each collection of
// garbage would wait for it. It is safe for concurrent use; the processes end
// with this one.
type workers struct {
	command func() *exec.Cmd
	mu      sync.Mutex
	idle    []*worker // the one that was used last is at the end
	ending  *time.Timer
}

// A worker is one process. One goroutine at a time uses it.
type worker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	since time.Time // it is idle
}

// ask has a worker compute q. Errors: that there is no worker, or that it has
// ended.
func (p *workers) ask(q hashRequest) (hashResponse, error) {
	w, err := p.take()
	if err != nil {
		return hashResponse{}, err
	}
	var a hashResponse
	err = json.NewEncoder(w.in).Encode(q)
	if err == nil {
		err = w.out.Decode(&a)
	}
	if err != nil {
		w.end()
		return hashResponse{}, fmt.Errorf("ask a process for a hash: %w", err)
	}
	p.give(w)
	return a, nil
}

func (p *workers) take() (*worker, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return w, nil
	}
	p.mu.Unlock()
	return startWorker(p.command())
}

func (p *workers) give(w *worker) {
	w.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, w)
	if p.ending == nil {
		p.ending = time.AfterFunc(idleWorker, p.endIdle)
	}
}

// endIdle ends the workers that nobody has needed for a while.
func (p *workers) endIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && time.Since(p.idle[n].since) >= idleWorker {
		go p.idle[n].end()
		n++
	}
	p.idle = slices.Delete(p.idle, 0, n)
	p.ending = nil
	if len(p.idle) > 0 {
		p.ending = time.AfterFunc(idleWorker, p.endIdle)
	}
}

func startWorker(cmd *exec.Cmd) (*worker, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process for hashes: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start a process for hashes: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process for hashes: %w", err)
	}
	return &worker{cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}, nil
}

// end lets the process end, whose input does.
func (w *worker) end() {
	_ = w.in.Close()
	_ = w.cmd.Wait() // how it ended tells nothing that ask has not told
}
