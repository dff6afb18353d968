package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Percentiles of how long requests took.
type latency struct {
	count    int
	p50, p99 time.Duration
}

func (l latency) String() string {
	return fmt.Sprintf("p50 %v, p99 %v", l.p50.Round(10*time.Microsecond), l.p99.Round(10*time.Microsecond))
}

func summarize(times []time.Duration) latency {
	if len(times) == 0 {
		return latency{}
	}
	slices.Sort(times)
	return latency{len(times), times[len(times)/2], times[len(times)*99/100]}
}

// A probe is a client that pulls as usual while others misbehave.
type probe struct {
	*client
	repo, tag, layer string
}

// newProbe pushes an image to pull.
func (c *campaign) newProbe(s *server) (*probe, error) {
	p := &pusher{client: s.client(1), c: c, repo: "probe/app", common: [][]byte{randomBytes(1000)}}
	layer := randomBytes(64 << 10)
	if p.pushBlob(p.repo, layer) != acknowledged {
		return nil, errors.New("push of the probe's layer: not acknowledged")
	}
	img, ok := p.mustPush()
	if !ok {
		return nil, errors.New("push of the probe's image: not acknowledged")
	}
	return &probe{p.client, p.repo, img.tag, digestOf(layer)}, nil
}

// pushLarge pushes a blob that takes long to read slowly, and returns its digest.
func (p *probe) pushLarge() (string, error) {
	data := randomBytes(8 << 20)
	r, err := p.pushBlob(p.repo, data)
	if err == nil && r.status != http.StatusCreated {
		err = &statusError{r}
	}
	if err != nil {
		return "", fmt.Errorf("push a large blob: %w", err)
	}
	return digestOf(data), nil
}

// pull is what is measured.
func (p *probe) pull() error {
	for _, path := range []string{"/manifests/" + p.tag, "/blobs/" + p.layer} {
		r, err := p.do("GET", "/v2/"+p.repo+path, nil, "Accept", typeManifest)
		if err != nil {
			return err
		}
		if r.status != http.StatusOK {
			return &statusError{r}
		}
	}
	return nil
}

// measure pulls for a while.
func (p *probe) measure(d time.Duration) (latency, error) {
	end := time.Now().Add(d)
	return p.measureUntil(func() bool { return time.Now().After(end) })
}

// measureBeside pulls while others are at work, and for as long as when all is
// quiet: of fewer pulls the 99th percentile would be the moment when they begin.
func (p *probe) measureBeside(others func()) (latency, error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		others()
	}()
	end := time.Now().Add(windowTime)
	l, err := p.measureUntil(func() bool {
		select {
		case <-done:
			return time.Now().After(end)
		default:
			return false
		}
	})
	<-done
	return l, err
}

// measureUntil pulls until over says so.
func (p *probe) measureUntil(over func() bool) (latency, error) {
	var times []time.Duration
	for !over() {
		began := time.Now()
		if err := p.pull(); err != nil {
			return latency{}, err
		}
		times = append(times, time.Since(began))
		time.Sleep(2 * time.Millisecond)
	}
	return summarize(times), nil
}

const (
	mostSlower = 2                    // times as long as usual may a pull take beside others,
	noise      = 3 * time.Millisecond // and so much longer in any case
)

// A comparison is how long pulls took when all was quiet and beside others, in
// windows that take turns: the median of the windows counts, so that one hiccup
// of the machine decides nothing.
type comparison struct {
	quiet, beside []latency
}

func (c *comparison) add(quiet, beside latency) {
	c.quiet, c.beside = append(c.quiet, quiet), append(c.beside, beside)
}

// middle returns the medians of each percentile.
func middle(windows []latency) latency {
	var p50, p99 []time.Duration
	count := 0
	for _, l := range windows {
		p50, p99, count = append(p50, l.p50), append(p99, l.p99), count+l.count
	}
	return latency{count, summarize(p50).p50, summarize(p99).p50}
}

// heldUp notes how long pulls took beside what, and counts it as broken when they
// were held up.
func (c *campaign) heldUp(what string, times comparison) {
	quiet, beside := middle(times.quiet), middle(times.beside)
	c.report.note("%s: p99 %v, usual %v (%.1fx)", what, beside.p99.Round(10*time.Microsecond), quiet.p99.Round(10*time.Microsecond),
		float64(beside.p99)/float64(quiet.p99))
	if beside.p99 > mostSlower*quiet.p99 && beside.p99-quiet.p99 > noise {
		c.report.broken("%s holds up others: %v, usual %v", what, times.beside, times.quiet)
	}
}

// parallel calls do n times at once and counts what it returns.
func parallel(n int, do func(i int) string) map[string]int {
	counts := make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			what := do(i)
			mu.Lock()
			counts[what]++
			mu.Unlock()
		})
	}
	wg.Wait()
	return counts
}
