package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	pointTime  = 20 * time.Second // for a request that is followed
	countRuns  = 2                // of which the highest count is taken
	pointTries = 3                // until a point comes that was counted
	missedPart = 20               // one in so many points may not come
)

// A point is a moment of one request: before or after the nth call of a system
// call, counted in all threads from the arrival of the request.
type point struct {
	request int    // of pointRequests
	call    string // as a follower names it
	nth     int
	when    string // "enter" or "exit"
}

func (p point) String() string {
	return fmt.Sprintf("%s: %s of %s %d", pointRequests[p.request].name, p.when, p.call, p.nth)
}

// A pointRequest is a request that changes something. Its run prepares what the
// request needs and returns it.
type pointRequest struct {
	name string
	run  func(p *pusher, mark string) (prepared func() string, ok bool)
}

// points kills the process at every point of every kind of request: first the
// calls of each are counted, then it is sent once for each point.
func (c *campaign) points(limit int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	all, err := c.countPoints(s)
	if err != nil {
		return err
	}
	tried := min(limit, len(all))
	missed := 0
	for i := range tried {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		p := all[i*len(all)/tried] // fewer are spread over all of them
		hit := false
		for try := 0; !hit && try < pointTries; try++ {
			if hit, _, err = c.point(s, p); err != nil {
				return fmt.Errorf("%s: %w", p, err)
			}
		}
		c.report.Rounds++
		if !hit {
			missed++
			fmt.Printf("   never came again: %s\n", p)
		}
	}
	c.report.note("killed at %d of %d points; %d others did not come again", tried-missed, len(all), missed)
	if missed > tried/missedPart {
		c.report.broken("%d of %d points did not come again: this shows too little", missed, tried)
	}
	return c.checkAll(s)
}

// countPoints returns the points of all kinds of requests.
func (c *campaign) countPoints(s *server) ([]point, error) {
	var all []point
	total := make(map[string]int)
	for i, request := range pointRequests {
		counts := make(map[string]int)
		for run := range countRuns + 1 {
			_, seen, err := c.point(s, point{request: i, call: "none", when: "enter"})
			if err != nil {
				return nil, fmt.Errorf("count %s: %w", request.name, err)
			}
			if run == 0 {
				continue // the first of its kind has more to do
			}
			for call, n := range seen {
				counts[call] = max(counts[call], n)
			}
		}
		if counts["answer"] == 0 {
			return nil, fmt.Errorf("%s: no answer was seen", request.name)
		}
		fmt.Printf("   %-26s %s\n", request.name, inOrder(counts))
		for call, n := range counts {
			total[call] += n
			for nth := range n {
				all = append(all, point{i, call, nth + 1, "enter"}, point{i, call, nth + 1, "exit"})
			}
		}
	}
	slices.SortFunc(all, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.request, b.request), cmp.Compare(a.call, b.call), cmp.Compare(a.nth, b.nth), cmp.Compare(a.when, b.when))
	})
	c.report.note("%d points, before and after %s in %d kinds of requests", len(all), inOrder(total), len(pointRequests))
	return all, nil
}

// inOrder returns the counts as text, sorted by name.
func inOrder(counts map[string]int) string {
	return strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(counts), "map["), "]")
}

// point sends one request to a server that was just started, and kills it at the
// point, or after the answer when the point did not come. It returns whether it
// came, and how many calls were seen otherwise. Then the server runs again, and
// what the request touched is looked at.
func (c *campaign) point(s *server, at point) (hit bool, counts map[string]int, err error) {
	p := &pusher{client: s.client(0), c: c, repo: "points/app", common: [][]byte{[]byte("common")}}
	defer p.close()
	do, ok := pointRequests[at.request].run(p, strconv.FormatInt(time.Now().UnixNano(), 10))
	if !ok {
		return false, nil, errors.New("what the request needs could not be prepared")
	}
	hit, counts, err = s.follow(at, do)
	s.kill()
	if err != nil {
		return hit, counts, err
	}
	if err := s.start(); err != nil {
		return hit, counts, fmt.Errorf("restart: %w", err)
	}
	before := c.report.Lost + c.report.Broken
	p.close() // its connections were to the server that is gone
	p.goOn()
	err = c.check(s, c.history.takeTouched())
	if c.report.Lost+c.report.Broken > before {
		c.report.note("at %s", at)
	}
	return hit, counts, err
}

// follow calls do while a follower counts, and returns what that says.
func (s *server) follow(at point, do func() string) (hit bool, counts map[string]int, err error) {
	self, err := os.Executable()
	if err != nil {
		return false, nil, err
	}
	cmd := exec.Command(self, followArg, strconv.Itoa(s.cmd.Process.Pid), at.call, strconv.Itoa(at.nth), at.when)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return false, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, nil, err
	}
	if err := cmd.Start(); err != nil {
		return false, nil, err
	}
	defer func() { err = errors.Join(err, cmd.Wait()) }()
	stuck := time.AfterFunc(pointTime, func() { cmd.Process.Kill() })
	defer stuck.Stop()
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); err != nil || line != "ready\n" {
		return false, nil, fmt.Errorf("the follower says %q: %w", line, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
		in.Close()
	}()
	said, err := io.ReadAll(lines)
	if err != nil {
		return false, nil, err
	}
	if strings.HasPrefix(string(said), "hit\n") {
		s.kill()
		<-done
		return true, nil, nil
	}
	<-done
	if err := json.Unmarshal(said, &counts); err != nil {
		return false, nil, fmt.Errorf("the follower says %q: %w", said, err)
	}
	return false, counts, nil
}

var pointRequests = []pointRequest{
	{"blob at once", func(p *pusher, mark string) (func() string, bool) { return p.blobAtOnce, true }},
	{"first blob of a repository", func(p *pusher, mark string) (func() string, bool) {
		p.repo = "points/new" + mark
		return p.blobAtOnce, true
	}},
	{"chunk", func(p *pusher, mark string) (func() string, bool) {
		data := randomBytes(5000)
		location, err := p.startUpload(p.repo)
		p.begun = &upload{p.repo, location, data}
		return func() string {
			if _, err := p.patch(location, 0, data[:2000]); err != nil {
				return unknown
			}
			return acknowledged
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
	{"cancel upload", func(p *pusher, mark string) (func() string, bool) {
		location, err := p.startUpload(p.repo)
		if err == nil {
			location, err = p.patch(location, 0, randomBytes(2000))
		}
		return func() string {
			r, err := p.do("DELETE", location, nil)
			return p.expect("cancel an upload", http.StatusNoContent, r, err)
		}, err == nil
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

// blobAtOnce pushes a new blob in one request.
func (p *pusher) blobAtOnce() string {
	data := randomBytes(5000)
	return p.c.history.write(0, func() string {
		r, err := p.do("POST", "/v2/"+p.repo+"/blobs/uploads/?digest="+digestOf(data), data)
		return p.expect("blob", http.StatusCreated, r, err)
	}, "blob "+p.repo+"@"+digestOf(data), digestOf(data))
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
