package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// full fills the disk of the blobs and the database, that of each alone, and that
// of the log, and makes room again.
func (c *campaign) full(rounds int) error {
	for _, what := range []string{"both", "blobs", "database"} {
		if err := c.fullDisk(what, rounds); err != nil {
			return fmt.Errorf("full disk of %s: %w", what, err)
		}
	}
	return c.fullLog()
}

// fullLog has the server write its log to a disk that is full: that is no reason
// not to serve.
func (c *campaign) fullLog() error {
	v, err := newMemory(filepath.Join(c.dir, "log"), 1<<10)
	if err != nil {
		return err
	}
	defer v.close()
	s, err := c.newServer(filepath.Join(c.dir, "data-log"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	s.log = filepath.Join(v.dir, "berth.log")
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "log/app", common: [][]byte{randomBytes(1000)}}
	defer p.close()
	if err := fill(v, filepath.Join(v.dir, "ballast"), 0); err != nil {
		return err
	}
	for range 20 {
		img, ok := p.mustPush()
		if !ok {
			c.report.broken("push with a full log: not acknowledged")
			break
		}
		if value, wrong, err := p.lookManifest(p.repo, img.tag); err != nil || value != img.digest {
			c.report.broken("read with a full log: %s %s %v", value, wrong, err)
		}
		if p.deleteTag() != acknowledged {
			c.report.broken("delete with a full log: not acknowledged")
		}
	}
	if !s.alive() {
		return errors.New("berth ended with a full log")
	}
	defer c.history.forget()
	return c.checkAll(s)
}

func (c *campaign) fullDisk(what string, rounds int) error {
	v, err := newMemory(filepath.Join(c.dir, what), 48<<10)
	if err != nil {
		return err
	}
	defer v.close()
	data, db := filepath.Join(v.dir, "data"), filepath.Join(v.dir, "berth.db")
	switch what {
	case "blobs":
		db = filepath.Join(c.dir, "blobs.db")
	case "database":
		data = filepath.Join(c.dir, "data")
	}
	s, err := c.startServer(data, db)
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "full/app", common: [][]byte{randomBytes(1000)}}
	for range rounds {
		if c.ctx.Err() != nil {
			break
		}
		if err := c.fillAndFree(s, v, p); err != nil {
			return err
		}
		if !s.alive() {
			return errors.New("berth ended on a full disk")
		}
		c.report.Rounds++
	}
	defer c.history.forget()
	return c.checkAll(s)
}

// fillAndFree is one round: until the disk is full, a look at what goes on, and
// room again.
func (c *campaign) fillAndFree(s *server, v *volume, p *pusher) error {
	img, ok := p.mustPush()
	if !ok {
		return errors.New("push with room: not acknowledged")
	}
	ballast := filepath.Join(v.dir, "ballast")
	if err := fill(v, ballast, rand.Int64N(200<<10)); err != nil {
		return err
	}
	if !c.pushUntilFull(p) {
		c.report.broken("2,000 pushes onto a full disk were taken")
	}
	if err := fill(v, ballast+".rest", 0); err != nil {
		return err
	}
	if value, wrong, err := p.lookManifest(p.repo, img.tag); err != nil || value != img.digest {
		c.report.broken("read from a full disk: %s %s %v", value, wrong, err)
	}
	p.images = []image{img}
	if p.deleteTag() != acknowledged {
		c.report.broken("a delete on a full disk was not done")
	}
	if parts, err := s.degraded(); err != nil || !slices.Contains(parts, "storage") {
		c.report.broken("a full disk does not show: %v, %v", parts, err)
	}
	if err := errors.Join(os.Remove(ballast), os.Remove(ballast+".rest")); err != nil {
		return err
	}
	began := time.Now()
	if _, ok := p.mustPush(); !ok {
		c.report.broken("push after room was made: not acknowledged")
	}
	if took := time.Since(began); took > 2*time.Second {
		c.report.broken("the first push after room was made took %v", took)
	}
	for len(p.images) > 1 { // the next round needs room
		p.deleteManifest()
	}
	return nil
}

// fill writes a file that leaves so many bytes of the disk.
func fill(v *volume, path string, leave int64) error {
	free, err := v.free()
	if err != nil || free <= leave {
		return errors.Join(err, os.WriteFile(path, nil, 0o600))
	}
	return os.WriteFile(path, make([]byte, free-leave), 0o600)
}

// mustPush pushes an image under a new tag.
func (p *pusher) mustPush() (image, bool) {
	p.count++
	img := image{tag: fmt.Sprintf("t%d", p.count)}
	if p.push(p.repo, img.tag) != acknowledged {
		return img, false
	}
	return p.images[len(p.images)-1], true
}

// pushUntilFull pushes blobs and tags until berth says that it is full, and looks
// at how it says so.
func (c *campaign) pushUntilFull(p *pusher) bool {
	for range 2000 {
		data := randomBytes(1 + rand.IntN(100_000))
		digest := digestOf(data)
		var r reply
		var err error
		c.history.write(p.id, func() string {
			r, err = p.client.pushBlob(p.repo, data)
			var answer *statusError
			if errors.As(err, &answer) {
				r, err = answer.reply, nil
			}
			switch {
			case err != nil || r.status >= 500:
				return unknown
			case r.status == http.StatusCreated:
				return acknowledged
			}
			return refused
		}, "blob "+p.repo+"@"+digest, digest)
		switch {
		case err != nil:
			c.report.broken("push onto a full disk: %v", err)
			return true
		case r.status != http.StatusCreated:
			c.cleanError("push onto a full disk", r, http.StatusInsufficientStorage, http.StatusServiceUnavailable)
			return true
		}
	}
	return false
}

// cleanError checks that an answer is an error in the form of the specification,
// whole, with one of the statuses.
func (c *campaign) cleanError(what string, r reply, statuses ...int) {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	err := json.Unmarshal(r.body, &body)
	ok := false
	for _, status := range statuses {
		ok = ok || r.status == status
	}
	if !ok || err != nil || len(body.Errors) != 1 || body.Errors[0].Code == "" || bytes.Contains(r.body, []byte(c.dir)) {
		c.report.broken("%s: status %d, want %v: %.300s", what, r.status, statuses, r.body)
	}
}

// eio has syncs fail one after the other.
func (c *campaign) eio(rounds int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "eio/app", common: [][]byte{randomBytes(1000)}}
	failed := 0
	for i := range rounds {
		if c.ctx.Err() != nil {
			break
		}
		calls := []string{"fsync", "pwrite64", "fdatasync"}[i%3]
		n, err := c.failing(s, p, fmt.Sprintf("%s:error=EIO:when=%d+%d", calls, 1+i/3%5, 1+i%4))
		if err != nil {
			return err
		}
		failed += n
		if err := c.failingReads(s, p, i); err != nil {
			return err
		}
		c.report.Rounds++
		if i%5 == 4 { // what could be lost with the process?
			s.kill()
			if err := s.start(); err != nil {
				return err
			}
		}
		if err := c.check(s, c.history.takeTouched()); err != nil {
			return err
		}
	}
	c.report.note("%d requests failed by EIO", failed)
	if failed == 0 {
		c.report.broken("no request failed: this shows nothing")
	}
	return c.checkAll(s)
}

// failing pushes while the injected error strikes, and the same again without.
func (c *campaign) failing(s *server, p *pusher, inject string) (failed int, err error) {
	data := randomBytes(3000)
	t, err := s.trace(inject)
	if err != nil {
		return 0, err
	}
	results := []string{p.pushBlob(p.repo, data), p.push(p.repo, "latest"), p.pushLoose(), p.deleteBlob()}
	t.detach()
	for _, r := range results {
		if r == unknown {
			failed++
		}
	}
	if !s.alive() {
		return failed, errors.New("berth ended")
	}
	if p.pushBlob(p.repo, data) != acknowledged || p.push(p.repo, "latest") != acknowledged {
		c.report.broken("after %s the same cannot be pushed again", inject)
	}
	return failed, nil
}

// failingReads pulls while reads of files and of the database fail. A pull that
// is whole must be right, and all can be pulled afterwards. A database that could
// not be read says so, and is only read until the next start.
func (c *campaign) failingReads(s *server, p *pusher, round int) error {
	img, ok := p.mustPush()
	if !ok {
		return errors.New("push of an image to read: not acknowledged")
	}
	call := []string{"sendfile", "pread64"}[round%2]
	t, err := s.trace(fmt.Sprintf("%s:error=EIO:when=%d+2", call, 1+round%3))
	if err != nil {
		return err
	}
	for range 3 {
		for _, reference := range []string{img.tag, img.digest} {
			value, wrong, err := p.lookManifest(p.repo, reference)
			if err == nil && value != "" && value != img.digest || strings.Contains(wrong, "other digest") || strings.Contains(wrong, "are called") {
				c.report.broken("a read that fails: %s %s", value, wrong)
			}
		}
	}
	t.detach()
	if !s.alive() {
		return errors.New("berth ended when a read failed")
	}
	parts, err := s.degraded()
	if err != nil {
		return err
	}
	if slices.Contains(parts, "metadata") { // which is not written to any more
		s.kill()
		p.close()
		if err := s.start(); err != nil {
			return err
		}
	}
	if value, wrong, err := p.lookManifest(p.repo, img.tag); err != nil || value != img.digest {
		c.report.broken("after %s failed: %q %s %v", call, value, wrong, err)
	}
	return nil
}

// readonly has the file system turn read-only, as ext4 does after an error.
func (c *campaign) readonly(rounds int) error {
	v, err := newVolume(c.dir, 256)
	if err != nil {
		return err
	}
	defer v.close()
	s, err := c.startServer(filepath.Join(v.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	p := &pusher{client: s.client(0), c: c, repo: "ro/app", common: [][]byte{randomBytes(1000)}}
	for range rounds {
		img, ok := p.mustPush()
		if !ok {
			return errors.New("push with everything well: not acknowledged")
		}
		if err := v.turnReadOnly(); err != nil {
			return err
		}
		for _, result := range []string{p.pushLoose(), p.push(p.repo, "latest"), p.deleteTag()} {
			if result != unknown {
				c.report.broken("a write to a read-only file system: %s", result)
			}
		}
		r, err := p.do("POST", "/v2/"+p.repo+"/blobs/uploads/?digest="+digestOf([]byte("x")), []byte("x"))
		if err != nil {
			return err
		}
		c.cleanError("push to a read-only file system", r, http.StatusInsufficientStorage, http.StatusServiceUnavailable)
		if value, wrong, err := p.lookManifest(p.repo, img.tag); err != nil || value != img.digest {
			c.report.broken("read from a read-only file system: %q %s %v", value, wrong, err)
		}
		if !s.alive() {
			return errors.New("berth ended on a read-only file system")
		}
		s.kill()
		if err := errors.Join(v.remount(), s.start()); err != nil {
			return err
		}
		if err := c.check(s, c.history.takeTouched()); err != nil {
			return err
		}
		c.report.Rounds++
	}
	return c.checkAll(s)
}

// turnReadOnly makes the file system find an error, upon which it stops to be
// written to.
func (v *volume) turnReadOnly() error {
	device, err := v.device()
	if err != nil {
		return err
	}
	return os.WriteFile("/sys/fs/ext4/"+device+"/trigger_fs_error", []byte("campaign"), 0)
}
