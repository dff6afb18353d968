package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// drainTime is how long berth lets requests end (http.draintimeout), and a bit.
const drainTime = 35 * time.Second

// abandoned is about how many uploads each client leaves behind. Too many would
// keep the pushers, who are the same users, from pushing.
const abandoned = 200

// term asks the process to end at random moments: it does so in time, and says
// that all went well.
func (c *campaign) term(rounds int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	var longest time.Duration
	err = c.crash(s, rounds, func() error {
		began := time.Now()
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-s.exited:
		case <-time.After(drainTime):
			s.kill()
			return fmt.Errorf("berth goes on %v after SIGTERM", drainTime)
		}
		longest = max(longest, time.Since(began))
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			c.report.broken("exit code %d after SIGTERM", code)
		}
		return nil
	})
	c.report.note("ended at most %v after SIGTERM", longest.Round(time.Millisecond))
	return err
}

// mixed has clients of every kind at work for some minutes, and looks whether
// what the process holds grows.
func (c *campaign) mixed(minutes int) error {
	s, err := c.startServer(filepath.Join(c.dir, "data"), "")
	if err != nil {
		return err
	}
	defer func() { s.kill() }()
	ctx, stop := context.WithTimeout(c.ctx, time.Duration(minutes)*time.Minute)
	defer stop()
	var work sync.WaitGroup
	work.Go(func() {
		if pushAll(ctx, c.newPushers(s)); ctx.Err() == nil {
			c.history.mu.Lock()
			defer c.history.mu.Unlock()
			c.report.broken("a push failed though nothing was broken")
		}
	})
	for i := range pushers {
		p, err := c.newProbe(s)
		if err != nil {
			return err
		}
		work.Go(func() { p.browse(ctx, s.client(i)) })
	}
	samples, err := s.sample(ctx)
	stop()
	work.Wait()
	if err := errors.Join(err, c.ctx.Err()); err != nil {
		return err
	}
	c.report.Rounds = minutes
	c.compareQuarters(samples)
	return c.checkAll(s)
}

// browse does all that is not a push, with cancelled requests and abandoned
// uploads in between, until ctx ends.
func (p *probe) browse(ctx context.Context, other *client) {
	defer p.close()
	defer other.close()
	paths := []string{
		"/v2/", "/v2/" + p.repo + "/manifests/" + p.tag, "/v2/" + p.repo + "/tags/list?n=10", "/v2/_catalog?n=10",
		"/v2/" + p.repo + "/blobs/" + p.layer, "/v2/" + p.repo + "/blobs/" + digestOf(nil),
		"/auth/token?service=berth&scope=repository:" + p.repo + ":pull",
	}
	for i := 0; ctx.Err() == nil; i++ {
		switch n := rand.IntN(20); {
		case n == 0 && i < 20*abandoned:
			_, _ = other.startUpload(p.repo) // and never goes on
		case n < 3:
			short, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
			_, _ = p.doContext(short, http.MethodGet, paths[rand.IntN(len(paths))], nil)
			cancel()
		case n < 10:
			_, _ = p.doContext(ctx, http.MethodHead, paths[rand.IntN(len(paths))], nil)
		default:
			_, _ = p.doContext(ctx, http.MethodGet, paths[rand.IntN(len(paths))], nil)
		}
		time.Sleep(time.Millisecond)
	}
}

// sample returns what the process holds, second by second, until ctx ends.
func (s *server) sample(ctx context.Context) ([]usage, error) {
	var all []usage
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return all, nil
		case <-s.exited:
			return all, errors.New("berth ended by itself")
		case <-tick.C:
		}
		u, err := s.usage()
		if err != nil {
			return all, err
		}
		all = append(all, u)
	}
}

// compareQuarters compares the last quarter of the samples with the second.
func (c *campaign) compareQuarters(all []usage) {
	quarter := len(all) / 4
	middle := func(of func(usage) int, from int) int {
		values := make([]int, 0, quarter)
		for _, u := range all[from : from+quarter] {
			values = append(values, of(u))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for _, held := range []struct {
		name  string
		of    func(usage) int
		slack int
	}{
		{"MiB", func(u usage) int { return u.memory >> 10 }, 16},
		{"descriptors", func(u usage) int { return u.files }, 10},
		{"goroutines", func(u usage) int { return u.goroutines }, 10},
	} {
		if quarter == 0 {
			c.report.broken("too short to compare")
			return
		}
		before, after := middle(held.of, quarter), middle(held.of, len(all)-quarter)
		c.report.note("%s: %d in the second quarter, %d in the last", held.name, before, after)
		if after > before+before/10+held.slack {
			c.report.broken("%d %s, and %d before", after, held.name, before)
		}
	}
}
