package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	pointDelay = 20 * time.Second       // for which a system call is held up
	pointStall = 800 * time.Millisecond // after which a request must be held up
)

// What changes a disk. There is no rename: berth has none.
var pointCalls = []string{"pwrite64", "fsync", "fdatasync", "write", "fchmod", "openat", "mkdirat", "unlinkat", "unlink", "ftruncate"}

// A point is a moment of one request: before or after the nth call of a system
// call in one thread.
type point struct {
	request string
	call    string
	when    string // "enter" or "exit"
	nth     int
}

func (p point) String() string {
	return fmt.Sprintf("%s: %s of %s %d", p.request, p.when, p.call, p.nth)
}

// A pointRequest is a request that changes something. Its run prepares what the
// request needs and returns it.
type pointRequest struct {
	name string
	run  func(p *pusher, mark string) (prepared func() string, ok bool)
}

// points kills the process at every point of every kind of request.
func (c *campaign) points(limit int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	tried := 0
	for _, request := range pointRequests {
		for _, call := range pointCalls {
			for nth := 1; nth <= 4 && tried < limit; nth++ {
				if err := c.ctx.Err(); err != nil {
					return err
				}
				tried++
				hit, err := c.point(s, request, point{request.name, call, "enter", nth})
				if err != nil {
					return fmt.Errorf("%s %s %d: %w", request.name, call, nth, err)
				}
				if !hit {
					break // the request has no such call
				}
				tried++
				if _, err := c.point(s, request, point{request.name, call, "exit", nth}); err != nil {
					return fmt.Errorf("%s %s %d: %w", request.name, call, nth, err)
				}
			}
		}
	}
	c.report.note("%d points tried, killed at %d", tried, c.report.Rounds)
	return c.checkAll(s)
}

// point does one request with a system call held up, and kills the process when
// the request stalls. It reports whether it did.
func (c *campaign) point(s *server, request pointRequest, p point) (hit bool, err error) {
	all := &pusher{client: s.client(0), c: c, repo: "points/app", common: [][]byte{[]byte("common")}}
	defer all.close()
	do, ok := request.run(all, fmt.Sprintf("%d", time.Now().UnixNano()))
	if !ok {
		return false, fmt.Errorf("what the request needs could not be prepared")
	}
	t, err := s.trace(fmt.Sprintf("%s:delay_%s=%d:when=%d", p.call, p.when, pointDelay.Microseconds(), p.nth))
	if err != nil {
		return false, err
	}
	done := make(chan string, 1)
	go func() { done <- do() }()
	select {
	case result := <-done:
		done <- result
	case <-time.After(pointStall):
		hit = true
		c.report.Rounds++
	}
	// Even without a hit: another thread may be held up, and cannot be let go.
	t.kill(s)
	<-done
	if err := s.start(); err != nil {
		return hit, fmt.Errorf("restart: %w", err)
	}
	before := c.report.Lost + c.report.Broken
	err = c.check(s, c.history.takeTouched())
	if c.report.Lost+c.report.Broken > before {
		c.report.note("at %s", p)
	}
	return hit, err
}

var pointRequests = []pointRequest{
	{"blob at once", func(p *pusher, mark string) (func() string, bool) {
		data := randomBytes(5000)
		return func() string {
			return p.c.history.write(0, func() string {
				r, err := p.do("POST", "/v2/"+p.repo+"/blobs/uploads/?digest="+digestOf(data), data)
				return p.expect("blob", http.StatusCreated, r, err)
			}, "blob "+p.repo+"@"+digestOf(data), digestOf(data))
		}, true
	}},
	{"chunk", func(p *pusher, mark string) (func() string, bool) {
		data := randomBytes(5000)
		location, err := p.startUpload(p.repo)
		return func() string {
			if _, err := p.patch(location, 0, data[:2000]); err != nil {
				return unknown
			}
			return p.finishBlob(location, data, 2000)
		}, err == nil
	}},
	{"finish", func(p *pusher, mark string) (func() string, bool) {
		data := randomBytes(5000)
		location, err := p.startUpload(p.repo)
		if err == nil {
			location, err = p.patch(location, 0, data[:2000])
		}
		return func() string { return p.finishBlob(location, data, 2000) }, err == nil
	}},
	{"new manifest", func(p *pusher, mark string) (func() string, bool) {
		return p.manifestRequest("t"+mark, mark)
	}},
	{"moved tag", func(p *pusher, mark string) (func() string, bool) {
		return p.manifestRequest("latest", mark)
	}},
	{"mount", func(p *pusher, mark string) (func() string, bool) {
		ok := p.pushLoose() == acknowledged
		return p.mount, ok
	}},
	{"delete tag", func(p *pusher, mark string) (func() string, bool) {
		ok := p.push(p.repo, "t"+mark) == acknowledged
		return p.deleteTag, ok
	}},
	{"delete manifest", func(p *pusher, mark string) (func() string, bool) {
		ok := p.push(p.repo, "t"+mark) == acknowledged
		return p.deleteManifest, ok
	}},
	{"delete blob", func(p *pusher, mark string) (func() string, bool) {
		ok := p.pushLoose() == acknowledged
		return p.deleteBlob, ok
	}},
	{"begin upload", func(p *pusher, mark string) (func() string, bool) {
		return func() string {
			if _, err := p.startUpload(p.repo); err != nil {
				return unknown
			}
			return acknowledged
		}, true
	}},
}

func (p *pusher) finishBlob(location string, data []byte, off int) string {
	return p.c.history.write(0, func() string {
		r, err := p.finish(location, digestOf(data), data[off:])
		return p.expect("finish", http.StatusCreated, r, err)
	}, "blob "+p.repo+"@"+digestOf(data), digestOf(data))
}

// manifestRequest pushes the blobs of an image; the request pushes its manifest.
func (p *pusher) manifestRequest(tag, mark string) (func() string, bool) {
	layer := []byte("layer " + mark)
	ok := p.pushBlob(p.repo, layer) == acknowledged && p.pushBlob(p.repo, emptyConfig) == acknowledged
	body := newManifest(mark, layer)
	digest := digestOf(body)
	return func() string {
		return p.c.history.write(0, func() string {
			r, err := p.do("PUT", "/v2/"+p.repo+"/manifests/"+tag, body, "Content-Type", typeManifest)
			return p.expect("push "+tag, http.StatusCreated, r, err)
		}, "tag "+p.repo+":"+tag, digest, "manifest "+p.repo+"@"+digest, digest)
	}, ok
}
