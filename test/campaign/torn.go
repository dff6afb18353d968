package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const tornBlob = 256 << 20

// torn cuts the power in the midst of one large PATCH, with small pushes beside
// it, on a file system of its own each time.
func (c *campaign) torn(rounds int) error {
	data := randomBytes(tornBlob)
	whole := 0
	for range rounds {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		copy(data, randomBytes(32)) // another blob
		there, err := c.tear(data)
		if err != nil {
			return err
		}
		if there {
			whole++
		}
		c.report.Rounds++
	}
	c.report.note("power cut in the midst of a blob of %d MiB: %d of %d uploads could be gone on with", tornBlob>>20, whole, rounds)
	return nil
}

// tear is one round. It returns whether the upload was still known afterwards.
func (c *campaign) tear(data []byte) (known bool, err error) {
	dir := filepath.Join(c.dir, "torn")
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
		return false, err
	}
	v, err := newVolume(dir, 3*tornBlob>>20)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, v.close()) }()
	s, err := c.startServer(filepath.Join(v.dir, "data"), "")
	if err != nil {
		return false, err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "torn/app"}
	if err := c.cutMidway(s, v, p, data); err != nil {
		return false, err
	}
	if _, known, err = p.uploaded(p.begun.location); err != nil {
		return false, err
	}
	p.goOn()
	defer c.history.forget()
	return known, c.check(s, c.history.all())
}

// cutMidway begins to send data, cuts the power at a random moment, and starts the
// server again.
func (c *campaign) cutMidway(s *server, v *volume, p *pusher, data []byte) error {
	location, err := p.startUpload(p.repo)
	if err != nil {
		return err
	}
	p.begun = &upload{p.repo, location, data}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	var sending sync.WaitGroup
	sending.Go(func() { pushAll(ctx, c.newPushers(s)[1:]) })
	sending.Go(func() {
		digest := digestOf(data)
		c.history.write(p.id, func() string {
			next, err := p.patch(location, 0, data)
			if err != nil {
				return unknown
			}
			r, err := p.finish(next, digest, nil)
			return p.expect("finish a large upload", http.StatusCreated, r, err)
		}, "blob "+p.repo+"@"+digest, digest)
	})
	time.Sleep(time.Duration(300+rand.IntN(900)) * time.Millisecond)
	err = v.cut()
	s.kill()
	stop()
	sending.Wait()
	p.close() // its connections were to the server that is gone
	if err := errors.Join(err, v.remount(), s.start()); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

const (
	manyWriters = 50
	contested   = 10       // tags that all of them move
	mostLog     = 64 << 20 // bytes of the log, as meta bounds it
)

// writers has many clients move the same tags at once while others read long
// listings slowly. Each tag must end with a value that was acknowledged last, none
// is refused for want of a lock, and the log of the database stays bounded.
func (c *campaign) writers(rounds int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	layer := randomBytes(1000)
	first := &pusher{client: s.client(0), c: c, repo: "writers/app"}
	if first.pushBlob(first.repo, layer) != acknowledged || first.pushBlob(first.repo, emptyConfig) != acknowledged {
		return errors.New("push of a layer: not acknowledged")
	}
	for i := range 1000 {
		p := *first
		p.moveTag(fmt.Sprintf("many%04d", i), layer, "the same")
	}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	var beside sync.WaitGroup
	for range 2 {
		beside.Go(func() { s.listSlowly(ctx, first.repo) })
	}
	var largest int64
	beside.Go(func() { largest = s.watchLog(ctx) })
	began := time.Now()
	results := parallel(manyWriters, func(i int) string {
		p := &pusher{client: s.client(i % pushers), c: c, repo: first.repo}
		defer p.close()
		for n := range rounds {
			if result := p.moveTag(fmt.Sprintf("contested%d", rand.IntN(contested)), layer, fmt.Sprint(i, n)); result != acknowledged {
				return result
			}
		}
		return acknowledged
	})
	took := time.Since(began)
	stop()
	beside.Wait()
	c.report.Rounds = rounds
	c.report.note("%d writers move %d tags, %.0f a second; the log has at most %d MiB", manyWriters, contested,
		float64(manyWriters*rounds)/took.Seconds(), largest>>20)
	if results[acknowledged] != manyWriters {
		c.report.broken("writers ended with %v", results)
	}
	if largest > mostLog {
		c.report.broken("the log of the database has %d MiB", largest>>20)
	}
	return c.checkAll(s)
}

// moveTag pushes a manifest over the layer, which is there.
func (p *pusher) moveTag(tag string, layer []byte, mark string) string {
	body := newManifest(mark, layer)
	digest := digestOf(body)
	return p.c.history.write(p.id, func() string {
		r, err := p.do("PUT", "/v2/"+p.repo+"/manifests/"+tag, body, "Content-Type", typeManifest)
		return p.expect("move "+tag, http.StatusCreated, r, err)
	}, "tag "+p.repo+":"+tag, digest, "manifest "+p.repo+"@"+digest, digest)
}

// listSlowly reads all tags, a few bytes at a time, until ctx ends.
func (s *server) listSlowly(ctx context.Context, repo string) {
	c := s.client(0)
	defer c.close()
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/v2/"+repo+"/tags/list", nil)
		if err != nil {
			return
		}
		req.SetBasicAuth(c.user, password(c.user))
		resp, err := c.http.Do(req)
		if err != nil {
			continue
		}
		for buf := make([]byte, 100); err == nil; _, err = resp.Body.Read(buf) {
			time.Sleep(10 * time.Millisecond)
		}
		resp.Body.Close()
	}
}

// watchLog returns the most bytes that the log of the database had until ctx ends.
func (s *server) watchLog(ctx context.Context) (largest int64) {
	for ctx.Err() == nil {
		if info, err := os.Stat(s.db + "-wal"); err == nil {
			largest = max(largest, info.Size())
		}
		time.Sleep(50 * time.Millisecond)
	}
	return largest
}
