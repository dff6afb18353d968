package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const (
	settleTime = 15 * time.Second // until what a burst took is given back
	warmUp     = 50               // rounds until caches are warm
)

// races has uploads overtaken by a retry, and PATCH race PUT, and looks whether
// what the process holds grows.
func (c *campaign) races(rounds int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	if err := c.raceFor(s, min(rounds, warmUp)); err != nil {
		return err
	}
	c.report.Rounds = 0
	before, err := s.settled(usage{})
	if err != nil {
		return err
	}
	if err := c.raceFor(s, rounds); err != nil {
		return err
	}
	after, err := s.settled(before)
	if err != nil {
		return err
	}
	c.report.note("before: %v; after %d: %v", before, rounds, after)
	if after.goroutines > before.goroutines+5 || after.files > before.files+5 || after.memory > before.memory+32<<10 {
		c.report.broken("the process holds more than before: %v, then %v", before, after)
	}
	return c.checkAll(s)
}

// settled returns what the process holds, once that is as little as want or some
// time has passed.
func (s *server) settled(want usage) (usage, error) {
	for end := time.Now().Add(settleTime); ; {
		u, err := s.usage()
		if err != nil || time.Now().After(end) || u.goroutines <= want.goroutines && u.files <= want.files {
			return u, err
		}
		if want == (usage{}) && time.Until(end) < settleTime-3*time.Second {
			return u, nil
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (c *campaign) raceFor(s *server, rounds int) error {
	p := &pusher{client: s.client(0), c: c, repo: "races/app"}
	defer p.close()
	won := make(map[string]int)
	for i := range rounds {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		if i%10 == 0 {
			if err := c.overtaken(p); err != nil {
				return err
			}
		}
		what, err := c.patchAgainstPut(p)
		if err != nil {
			return err
		}
		won[what]++
		if i%100 == 99 || i == rounds-1 {
			if err := c.check(s, c.history.takeTouched()); err != nil {
				return err
			}
		}
		c.report.Rounds++
	}
	if rounds > warmUp {
		c.report.note("PATCH against PUT: %s", strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(won), "map["), "]"))
	}
	return nil
}

// overtaken sends half an upload and stalls, has a retry end it, and then cuts
// the first connection. The blob must stay what it is.
func (c *campaign) overtaken(p *pusher) error {
	data := randomBytes(200_000)
	location, err := p.startUpload(p.repo)
	if err != nil {
		return err
	}
	ctx, cut := context.WithCancel(c.ctx)
	defer cut()
	body, sending := io.Pipe()
	stalled := make(chan struct{})
	go func() {
		defer close(stalled)
		req, err := http.NewRequestWithContext(ctx, "PATCH", location, body)
		if err != nil {
			return
		}
		req.SetBasicAuth(p.user, password(p.user))
		if resp, err := p.http.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	go sending.Write(data[:100_000])
	time.Sleep(20 * time.Millisecond)
	n, ok, err := p.uploaded(location)
	if err != nil || !ok {
		return fmt.Errorf("the upload that stalls is not there: %w", err)
	}
	digest := digestOf(data)
	result := c.history.write(p.id, func() string {
		next, err := p.patch(location, n, data[n:])
		if err != nil {
			return p.expect("retry", http.StatusAccepted, reply{}, err)
		}
		r, err := p.finish(next, digest, nil)
		return p.expect("finish the retry", http.StatusCreated, r, err)
	}, "blob "+p.repo+"@"+digest, digest)
	go sending.Write([]byte("what comes too late"))
	time.Sleep(5 * time.Millisecond)
	cut()
	sending.Close()
	<-stalled
	if value, wrong, err := p.lookBlob(p.repo, digest); result == acknowledged && (err != nil || value == "") {
		c.report.broken("a blob whose first sender was overtaken: %s %v", wrong, err)
	}
	return nil
}

// patchAgainstPut sends all of an upload in a PATCH and, at the same time, in the
// PUT that ends it. At most one of them can have its way, and a 201 must be true.
func (c *campaign) patchAgainstPut(p *pusher) (string, error) {
	data := randomBytes(20_000)
	digest := digestOf(data)
	location, err := p.startUpload(p.repo)
	if err != nil {
		return "", err
	}
	var put, patched reply
	var putErr, patchErr error
	c.history.write(p.id, func() string {
		var wg sync.WaitGroup
		wg.Go(func() {
			patched, patchErr = p.do("PATCH", location, data, "Content-Type", "application/octet-stream")
		})
		wg.Go(func() { put, putErr = p.finish(location, digest, data) })
		wg.Wait()
		switch {
		case putErr != nil || put.status >= 500:
			return unknown
		case put.status == http.StatusCreated:
			return acknowledged
		}
		return refused
	}, "blob "+p.repo+"@"+digest, digest)
	for _, r := range []reply{put, patched} {
		if r.status >= 500 {
			c.report.broken("PATCH against PUT: status %d: %.200s", r.status, r.body)
		}
	}
	if _, err := p.do("DELETE", location, nil); err != nil { // what nobody ended
		return "", err
	}
	return fmt.Sprintf("patch %s put %s", outcome(patched, patchErr), outcome(put, putErr)), nil
}

func outcome(r reply, err error) string {
	if err != nil {
		return "cut"
	}
	return fmt.Sprint(r.status)
}
