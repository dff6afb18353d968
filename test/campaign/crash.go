package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// kill ends the process at random moments.
func (c *campaign) kill(rounds int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	return c.crash(s, rounds, func() error {
		s.kill()
		return nil
	})
}

// power cuts the power of the disk at random moments: what was not synced is
// lost.
func (c *campaign) power(rounds int) error {
	v, err := newVolume(c.dir, 512)
	if err != nil {
		return err
	}
	defer v.close()
	s, err := c.newServer(filepath.Join(v.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	return c.crash(s, rounds, func() error {
		if err := v.cut(); err != nil {
			return err
		}
		s.kill()
		return v.remount()
	})
}

// crash has the pushers work, ends the server by end in the midst of it, and
// looks at all that they touched, round after round, and at everything once more.
func (c *campaign) crash(s *server, rounds int, end func() error) error {
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	all := c.newPushers(s)
	for range rounds {
		if c.ctx.Err() != nil {
			break
		}
		ctx, stop := context.WithCancel(c.ctx)
		pushed := make(chan struct{})
		go func() {
			pushAll(ctx, all)
			close(pushed)
		}()
		time.Sleep(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		err := end()
		stop()
		<-pushed
		if err != nil {
			return err
		}
		if err := s.start(); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
		if err := c.check(s, c.history.takeTouched()); err != nil {
			return err
		}
		c.report.Rounds++
	}
	return c.checkAll(s)
}

// checkAll starts the server again and looks at everything.
func (c *campaign) checkAll(s *server) error {
	s.stop()
	if err := s.start(); err != nil {
		return err
	}
	names := c.history.all()
	if len(names) == 0 {
		return errors.New("nothing was done: this shows nothing")
	}
	c.report.note("%d tags, manifests and blobs pulled at the end", len(names))
	return c.check(s, names)
}
