package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	littleMemory = 256 << 20 // bytes that the process may have; with one more it ends
	hugeBlob     = 256 << 20
)

// memory runs the server where it can have little memory, has GiB pushed and
// pulled by four clients while others hold it up, and looks whether it lives and
// whether what it holds grows.
func (c *campaign) memory(gigabytes int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	s.memory = littleMemory
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	samples, err := c.pushHuge(s, gigabytes)
	if !s.alive() {
		return errors.Join(errors.New("berth ended for want of memory"), err)
	}
	if err != nil {
		return err
	}
	u, err := s.usage()
	if err != nil {
		return err
	}
	c.report.note("%d GiB pushed and pulled with at most %d MiB resident, of %d that it can have", gigabytes, u.peak>>10, littleMemory>>20)
	c.report.Rounds = gigabytes
	c.compareQuarters(samples)
	if err := c.checkAll(s); err != nil {
		return err
	}
	return os.RemoveAll(s.data) // what was deleted still takes up the disk
}

// pushHuge pushes and pulls blobs until there are so many GiB, beside clients that
// stall, and returns what the process held meanwhile.
func (c *campaign) pushHuge(s *server, gigabytes int) ([]usage, error) {
	p, err := c.newProbe(s)
	if err != nil {
		return nil, err
	}
	large, err := p.pushLarge()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(c.ctx)
	defer stop()
	at := &attackers{attack: attack{large: large}, s: s, ctx: ctx}
	defer at.close()
	defer stop()
	if err := errors.Join(at.stalledManifests(), at.slowReaders()); err != nil {
		return nil, err
	}
	var samples []usage
	var sampled error
	var sampling sync.WaitGroup
	sampling.Go(func() { samples, sampled = s.sample(ctx) })
	var left atomic.Int64
	left.Store(int64(gigabytes) << 30 / hugeBlob)
	base := randomBytes(hugeBlob - 32)
	failures := parallel(pushers, func(i int) string {
		client := s.client(i)
		client.http.Timeout = 5 * time.Minute
		defer client.close()
		for ctx.Err() == nil && left.Add(-1) >= 0 {
			if err := c.pushAndPull(client, base); err != nil {
				stop()
				return err.Error()
			}
		}
		return ""
	})
	stop()
	sampling.Wait()
	delete(failures, "")
	for failure := range failures {
		err = errors.Join(err, errors.New(failure))
	}
	return samples, errors.Join(err, sampled)
}

// pushAndPull pushes a blob that ends like base, pulls it, and deletes it.
func (c *campaign) pushAndPull(client *client, base []byte) error {
	head := randomBytes(32)
	content := func() io.Reader { return io.MultiReader(bytes.NewReader(head), bytes.NewReader(base)) }
	digest, err := digestOfAll(content())
	if err != nil {
		return err
	}
	path := fmt.Sprintf("%s/v2/huge%d/app/blobs/", client.base, client.id)
	send := func(method, path string, body io.Reader, status int) (*http.Response, error) {
		req, err := http.NewRequestWithContext(c.ctx, method, path, body)
		if err != nil {
			return nil, err
		}
		if body != nil {
			req.ContentLength = int64(len(head) + len(base))
		}
		req.SetBasicAuth(client.user, password(client.user))
		resp, err := client.http.Do(req)
		if err == nil && resp.StatusCode != status {
			resp.Body.Close()
			err = fmt.Errorf("%s a blob of %d MiB: status %d", method, hugeBlob>>20, resp.StatusCode)
		}
		return resp, err
	}
	resp, err := send("POST", path+"uploads/?digest="+digest, content(), http.StatusCreated)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp, err = send("GET", path+digest, nil, http.StatusOK); err != nil {
		return err
	}
	pulled, err := digestOfAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	if pulled != digest {
		return fmt.Errorf("a blob of %d MiB is served with the digest %s instead of %s", hugeBlob>>20, pulled, digest)
	}
	if resp, err = send("DELETE", path+digest, nil, http.StatusAccepted); err != nil {
		return err
	}
	return resp.Body.Close()
}
