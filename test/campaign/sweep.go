package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	sweepGrace = 3 * time.Second
	sweepRound = 4 * time.Second
	tidyTime   = 40 * time.Second // in which a sweep must have removed everything that it may
	keptOld    = 5                // tags that the rule of retention keeps
	poolSize   = 6                // contents that all push again and again
)

// sweepConfig has the sweep go on all the time. In shared repositories what lost
// its tag goes; elsewhere the rule is about tags that begin with old-.
var sweepConfig = fmt.Sprintf(`gc: {interval: 100ms, grace: %[1]v, aside: %[1]v}
retention:
  - {repositories: ["shared/**"], untagged: 0s}
  - {repositories: ["team*/**"], tags: ["old-*"], keep: %[2]d}
`, sweepGrace, keptOld)

// sweep has a sweep every 100 ms beside clients that push what the sweep is about
// to remove, and kills berth under it, round after round. Nothing that is named may
// be missing, nobody may be refused who names within the grace what he was told
// of, and in the end nothing may be left that nothing names.
func (c *campaign) sweep(rounds int) error {
	s, err := c.newServer(filepath.Join(c.dir, "data"), "", bcrypt.MinCost)
	if err != nil {
		return err
	}
	if err := appendFile(s.config, sweepConfig); err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	defer func() { s.kill() }()
	all := c.newGardeners(s)
	for range rounds {
		if c.ctx.Err() != nil {
			break
		}
		if err := c.sweepRound(s, all); err != nil {
			return err
		}
		c.report.Rounds++
	}
	var counts [3]int
	for _, g := range all {
		for i, n := range g.counts {
			counts[i] += n
		}
		g.checkOld()
	}
	c.report.note("%d images were named within the grace, %d of their blobs known from a HEAD or a mount; %d came too late to count",
		counts[named], counts[told], counts[late])
	if err := c.checkAll(s); err != nil {
		return err
	}
	return c.wantTidy(s)
}

func appendFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// sweepRound has the gardeners work, kills berth, and looks at all they touched.
func (c *campaign) sweepRound(s *server, all []*gardener) error {
	ctx, stop := context.WithCancel(c.ctx)
	var work sync.WaitGroup
	for _, g := range all {
		work.Go(func() {
			for ctx.Err() == nil && g.step(ctx) != unknown {
			}
			g.close()
		})
	}
	time.Sleep(sweepRound/2 + rand.N(sweepRound))
	parts, err := s.degraded()
	if err == nil && slices.Contains(parts, "gc") {
		c.report.broken("the sweep fails, see %s", s.log)
	}
	s.kill()
	stop()
	work.Wait()
	if err := s.start(); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return c.check(s, c.history.takeTouched())
}

// What a gardener counts.
const (
	named = iota
	told
	late
)

// A gardener is a pusher who asks what is there before he pushes, takes his time,
// and then names what he was told of.
type gardener struct {
	*pusher
	pool   [][]byte
	old    []string // tags, the newest last
	counts [3]int
}

func (c *campaign) newGardeners(s *server) []*gardener {
	pool := make([][]byte, poolSize)
	for i := range pool {
		pool[i] = randomBytes(1 + rand.IntN(20_000))
	}
	var all []*gardener
	for _, p := range c.newPushers(s) {
		all = append(all, &gardener{pusher: p, pool: pool})
	}
	return all
}

// step does one operation, and returns how it ended.
func (g *gardener) step(ctx context.Context) string {
	g.count++
	switch n := rand.IntN(100); {
	case n < 30:
		return g.plant(ctx, g.repo, fmt.Sprintf("t%d", g.count))
	case n < 55:
		return g.plant(ctx, sharedRepo, fmt.Sprintf("latest%d", rand.IntN(sharedTags)))
	case n < 65:
		return g.plantOld(ctx)
	case n < 70:
		_, result := g.have(g.repo, randomBytes(100)) // and never names it
		return result
	case n < 80:
		return g.deleteTag()
	case n < 95:
		return g.deleteManifest()
	}
	return g.pullOne()
}

// have makes sure that the repository has the blob, in the cheapest way, as clients
// do. It returns whether it was told that it is there already.
func (g *gardener) have(repo string, data []byte) (known bool, result string) {
	digest := digestOf(data)
	r, err := g.do("HEAD", "/v2/"+repo+"/blobs/"+digest, nil)
	if err == nil && r.status == http.StatusOK {
		return true, acknowledged
	}
	if err == nil && r.status == http.StatusNotFound && rand.IntN(2) == 0 {
		from := fmt.Sprintf("team%d/app", rand.IntN(pushers))
		r, err = g.do("POST", "/v2/"+repo+"/blobs/uploads/?mount="+digest+"&from="+from, nil)
		if err == nil && r.status == http.StatusCreated {
			return true, acknowledged
		}
	}
	if err != nil {
		return false, unknown
	}
	r, err = g.client.pushBlob(repo, data)
	return false, g.expect("push blob to "+repo, http.StatusCreated, r, err)
}

// plant pushes an image, and waits before it is named: mostly not for long, at
// times for nearly all of the grace.
func (g *gardener) plant(ctx context.Context, repo, tag string) string {
	layers := [][]byte{g.pool[rand.IntN(len(g.pool))]}
	if rand.IntN(3) > 0 {
		layers = append(layers, g.pool[rand.IntN(len(g.pool))])
	} else {
		layers = append(layers, randomBytes(1+rand.IntN(20_000)))
	}
	first := time.Now()
	for _, data := range append(layers, emptyConfig) {
		known, result := g.have(repo, data)
		if result != acknowledged {
			return result
		}
		if known {
			g.counts[told]++
		}
	}
	if wait := rand.N(50 * time.Millisecond); rand.IntN(4) > 0 {
		pause(ctx, wait)
	} else {
		pause(ctx, rand.N(sweepGrace*8/10)-time.Since(first))
	}
	body := newManifest(fmt.Sprintf("%s %d %d", g.user, g.count, rand.Int64()), layers...)
	return g.name(repo, tag, body, first)
}

// name pushes a manifest of blobs that somebody was told of since first.
func (g *gardener) name(repo, tag string, body []byte, first time.Time) string {
	digest := digestOf(body)
	registers := []string{"tag " + repo + ":" + tag, digest}
	if strings.HasPrefix(tag, "old-") {
		registers = nil // the rule removes it
	}
	if repo == g.repo {
		registers = append(registers, "manifest "+repo+"@"+digest, digest)
	}
	result := g.c.history.write(g.id, func() string {
		r, err := g.do("PUT", "/v2/"+repo+"/manifests/"+tag, body, "Content-Type", typeManifest)
		if err == nil && r.status == http.StatusNotFound && time.Since(first) > sweepGrace {
			g.counts[late]++ // this machine was slower than the grace
			return refused
		}
		return g.expect(fmt.Sprintf("push %s:%s %v after its first blob", repo, tag, time.Since(first)), http.StatusCreated, r, err)
	}, registers...)
	if result != acknowledged {
		return result
	}
	g.counts[named]++
	if repo == g.repo && !strings.HasPrefix(tag, "old-") {
		g.images = append(g.images, image{tag, digest})
	}
	return result
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(max(d, 0)):
	}
}

// plantOld pushes a tag of which the rule keeps the newest.
func (g *gardener) plantOld(ctx context.Context) string {
	tag := fmt.Sprintf("old-%d", g.count)
	result := g.plant(ctx, g.repo, tag)
	if result == acknowledged {
		g.old = append(g.old, tag)
	}
	return result
}

// checkOld looks whether the newest tags are there that the rule keeps. One that
// was pushed when berth was killed may be there as well, in the place of the
// oldest.
func (g *gardener) checkOld() {
	r, err := g.do("GET", "/v2/"+g.repo+"/tags/list", nil)
	var list struct{ Tags []string }
	if err == nil {
		err = json.Unmarshal(r.body, &list)
	}
	if err != nil {
		g.c.report.broken("tags of %s: %v", g.repo, err)
		return
	}
	there := slices.DeleteFunc(list.Tags, func(t string) bool { return !strings.HasPrefix(t, "old-") })
	if len(there) < min(keptOld, len(g.old)) {
		g.c.report.lost("of %d tags of %s %d are left", len(g.old), g.repo, len(there))
	}
	if n := len(g.old); n > 0 && !slices.Contains(there, g.old[n-1]) && len(there) < keptOld+1 {
		g.c.report.note("%s has %q, and %s was pushed last", g.repo, there, g.old[n-1])
	}
}

// pullOne pulls an image whole.
func (g *gardener) pullOne() string {
	if len(g.images) == 0 {
		return acknowledged
	}
	img := g.images[rand.IntN(len(g.images))]
	value, wrong, err := g.lookManifest(g.repo, img.digest)
	switch {
	case err != nil || strings.HasPrefix(wrong, "status 5"):
		return unknown
	case value != img.digest:
		g.c.history.mu.Lock()
		defer g.c.history.mu.Unlock()
		g.c.report.broken("pull of %s@%s: %q %s", g.repo, img.digest, value, wrong)
	}
	return acknowledged
}

// wantTidy waits until the store holds what the manifests name, and no more.
func (c *campaign) wantTidy(s *server) error {
	want, err := c.namedDigests(s)
	if err != nil {
		return err
	}
	for end := time.Now().Add(tidyTime); ; time.Sleep(200 * time.Millisecond) {
		got, err := countFiles(filepath.Join(s.data, "blobs"))
		if err != nil {
			return err
		}
		if got == want {
			c.report.note("%d objects at the end, each of them named", got)
			return nil
		}
		if time.Now().After(end) {
			c.report.broken("%d objects are left, of which %d are named", got, want)
			return nil
		}
	}
}

// namedDigests returns how many digests there are of manifests and what they name.
func (c *campaign) namedDigests(s *server) (int, error) {
	digests := make(map[string]bool)
	client := s.client(0)
	defer client.close()
	for _, register := range c.history.all() {
		kind, rest, _ := strings.Cut(register, " ")
		repo, reference, _ := strings.Cut(rest, "@")
		if kind == "tag" {
			repo, reference, _ = strings.Cut(rest, ":")
		}
		if err := client.addDigests(digests, repo, reference); err != nil {
			return 0, err
		}
	}
	return len(digests), nil
}

// addDigests adds a manifest, if it is there, and what it names.
func (c *client) addDigests(digests map[string]bool, repo, reference string) error {
	r, err := c.do("GET", "/v2/"+repo+"/manifests/"+reference, nil, "Accept", typeManifest)
	if err != nil || r.status == http.StatusNotFound {
		return err
	}
	var m manifest
	if err := json.Unmarshal(r.body, &m); err != nil {
		return fmt.Errorf("%s of %s: status %d: %w", reference, repo, r.status, err)
	}
	digests[digestOf(r.body)] = true
	for _, d := range append(m.Layers, m.Config) {
		digests[d.Digest] = true
	}
	return nil
}

func countFiles(dir string) (n int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	return n, err
}
