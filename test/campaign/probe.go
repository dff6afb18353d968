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
	var times []time.Duration
	for end := time.Now().Add(d); time.Now().Before(end); {
		began := time.Now()
		if err := p.pull(); err != nil {
			return latency{}, err
		}
		times = append(times, time.Since(began))
		time.Sleep(2 * time.Millisecond)
	}
	return summarize(times), nil
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
