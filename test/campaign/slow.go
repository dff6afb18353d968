package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	slowClients = 10_000 // at most
	slowUsers   = 16     // as many as it takes that none has too many uploads
	slowBytes   = 4 << 10
	slowEvery   = 4 * time.Second // about a kilobyte a second, and not all at once
	slowUpload  = 8 << 20
	slowWindows = 3
	slowMemory  = 400 // MiB that the server may hold: 30 KiB for each client, and garbage
	slowFiles   = 65_536
	otherFiles  = 500  // descriptors but for clients and blobs; folders are among them
	crowdMemory = 1024 // MiB that it may hold while all pull at full speed
)

func slowUser(i int) string { return fmt.Sprintf("slow%d", i%slowUsers) }

// slow has 10,000 clients read, and then send, a kilobyte a second, and as many
// pull at once, over plain HTTP; and the slow ones over TLS, which has no goal.
func (c *campaign) slow(rounds int) error {
	n, err := allowFiles()
	if err != nil {
		return err
	}
	readers := attack{name: fmt.Sprint(n, " slow readers"), clients: n, windows: slowWindows, total: slowMemory, slow: true, open: (*attackers).readSlowly}
	uploads := attack{name: fmt.Sprint(n, " slow uploads"), clients: n, windows: slowWindows, total: slowMemory, slow: true, open: (*attackers).sendSlowly}
	for range rounds {
		for _, secure := range []bool{false, true} {
			for _, a := range []attack{readers, uploads} {
				if err := c.ctx.Err(); err != nil {
					return err
				}
				if secure {
					a.name, a.total = a.name+" over TLS", 0
				}
				if err := c.slowAttack(a, secure); err != nil {
					return fmt.Errorf("%s: %w", a.name, err)
				}
			}
		}
		c.report.Rounds++
	}
	return nil
}

// slowAttack is one attack on a server of its own: what another has left behind
// is not to be measured.
func (c *campaign) slowAttack(a attack, secure bool) error {
	dir := filepath.Join(c.dir, "data")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	s, err := c.newServer(dir, "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	for i := range slowUsers {
		if err := addUser(filepath.Join(c.dir, "htpasswd"), slowUser(i), bcrypt.MinCost); err != nil {
			return err
		}
	}
	if secure {
		if err := s.secure(); err != nil {
			return err
		}
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	p, err := c.newProbe(s)
	if err != nil {
		return err
	}
	if a.large, err = p.pushLarge(); err != nil {
		return err
	}
	for i := range slowUsers { // whose passwords are then known
		user := s.client(0)
		user.user = slowUser(i)
		r, err := user.do("GET", "/v2/", nil)
		user.close()
		if err == nil && r.status != http.StatusOK {
			err = &statusError{r}
		}
		if err != nil {
			return fmt.Errorf("log in as %s: %w", user.user, err)
		}
	}
	if err := c.attack(s, p, a); err != nil {
		return err
	}
	if !secure {
		if err := c.crowd(s, p, a.clients); err != nil {
			return err
		}
	}
	defer c.history.forget()
	return c.checkAll(s)
}

// allowFiles lets this process, and those that it starts, have a descriptor for
// each client, and the server one more for each blob. It returns how many clients
// there can be, where only a part of that is allowed.
func allowFiles() (clients int, err error) {
	limit := syscall.Rlimit{Cur: slowFiles, Max: slowFiles}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return 0, err
		}
		limit.Cur = limit.Max
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			return 0, fmt.Errorf("allow %d open files: %w", limit.Max, err)
		}
	}
	clients = min(slowClients, (int(limit.Cur)-otherFiles)/2)
	if clients < slowClients/2 {
		return 0, fmt.Errorf("%d open files are too few: this would show nothing", limit.Cur)
	}
	return clients, nil
}

// readSlowly asks for a large blob, and takes a kilobyte of it a second.
func (at *attackers) readSlowly() error {
	head := []byte(at.head("GET", "/v2/probe/app/blobs/"+at.large, ""))
	if err := at.dial(at.clients, func(int) []byte { return head }); err != nil {
		return err
	}
	for _, conn := range at.conns {
		at.wg.Go(func() {
			buf := make([]byte, slowBytes)
			for first := true; at.ctx.Err() == nil; first = false {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				if first && bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
					at.told.Add(1)
				}
				at.rest(first)
			}
		})
	}
	return at.wait("are being served", at.told.Load)
}

// sendSlowly begins to push a large blob, and sends a kilobyte of it a second.
func (at *attackers) sendSlowly() error {
	more := fmt.Sprintf("Content-Type: application/octet-stream\r\nContent-Length: %d\r\n", slowUpload)
	path := "/v2/slow/app/blobs/uploads/?digest=" + digestOf(nil)
	if err := at.dial(at.clients, func(i int) []byte { return []byte(at.headOf(slowUser(i), "POST", path, more)) }); err != nil {
		return err
	}
	at.wg.Wait() // the heads come before the bytes
	for _, conn := range at.conns {
		at.wg.Go(func() {
			piece := make([]byte, slowBytes)
			for first := true; at.ctx.Err() == nil; first = false {
				if _, err := conn.Write(piece); err != nil {
					return
				}
				at.rest(first)
			}
		})
	}
	return at.wait("have been taken bytes from", at.s.uploading)
}

// rest waits until the next bytes are due, the first time for some of that, so
// that not all come at once.
func (at *attackers) rest(first bool) {
	d := slowEvery
	if first {
		d = rand.N(slowEvery)
	}
	select {
	case <-time.After(d):
	case <-at.ctx.Done():
	}
}

// wait returns when the clients that count tells of are all of them.
func (at *attackers) wait(are string, count func() int64) error {
	const most = 60 * time.Second
	for began := time.Now(); ; time.Sleep(time.Second) {
		n := count()
		if n == int64(at.clients) {
			return nil
		}
		if time.Since(began) > most || at.ctx.Err() != nil {
			return fmt.Errorf("%d of %d clients %s: this shows nothing", n, at.clients, are)
		}
	}
}

// uploading returns how many files are open that hold bytes of an upload: those
// whose mode says that they are not committed.
func (s *server) uploading() int64 {
	dir := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var n int64
	for _, f := range files {
		info, err := os.Stat(filepath.Join(dir, f.Name()))
		if err == nil && info.Mode() == 0o200 && info.Size() > 0 {
			n++
		}
	}
	return n
}

// crowd has all clients pull a small blob at the same time, as fast as they can.
func (c *campaign) crowd(s *server, p *probe, clients int) error {
	at := &attackers{s: s, ctx: c.ctx}
	defer at.close()
	if err := at.dial(clients, func(int) []byte { return nil }); err != nil {
		return err
	}
	request := at.head("GET", "/v2/"+p.repo+"/blobs/"+p.layer, "")
	times := make([]time.Duration, clients)
	began := time.Now()
	answers := parallel(clients, func(i int) string {
		answer := pullOnce(at.conns[i], request, p.layer)
		times[i] = time.Since(began)
		return answer
	})
	u, err := s.usage()
	if err != nil {
		return err
	}
	most := u.peak >> 10
	slices.Sort(times)
	c.report.note("%d pulls at once: p99 %v, all in %v, at most %d MiB, answers %s", clients, times[len(times)*99/100].Round(time.Millisecond),
		times[len(times)-1].Round(time.Millisecond), most, inOrder(answers))
	if answers["200"]+answers["429"]+answers["503"] != clients || answers["200"] == 0 {
		c.report.broken("%d pulls at once are answered %v", clients, answers)
	}
	if most > crowdMemory {
		c.report.broken("%d pulls at once cost %d MiB", clients, most)
	}
	return nil
}

// pullOnce sends a request for a blob and returns how it was answered.
func pullOnce(conn io.ReadWriter, request, digest string) string {
	if _, err := io.WriteString(conn, request); err != nil {
		return "cut"
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "cut"
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "cut"
	case resp.StatusCode == http.StatusOK && digestOf(data) != digest:
		return "other bytes"
	}
	return fmt.Sprint(resp.StatusCode)
}
