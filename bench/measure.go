package main

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// An op is one unit of work over a connection. Several clients run the same op
// at once, each over its own connection.
type op func(*conn) error

// A sample is what one measurement found.
type sample struct {
	Rate float64       `json:"rate"` // ops a second
	P50  time.Duration `json:"p50_ns"`
	P99  time.Duration `json:"p99_ns"`
	CPU  time.Duration `json:"cpu_ns"`     // of the server, for one op
	Peak int64         `json:"peak_bytes"` // resident memory of the server
	Ops  int           `json:"ops"`
}

// patience is how long an op may go on once the time is over.
const patience = 5 * time.Minute

// measure lets clients do work against p for d. An op that has begun is brought
// to its end, and counts.
func measure(p *process, clients int, d time.Duration, work op) (sample, error) {
	conns := make([]*conn, clients)
	for i := range conns {
		c, err := dial(p.addr, d+patience)
		if err != nil {
			return sample{}, err
		}
		defer c.close()
		conns[i] = c
	}
	syscall.Sync()                          // what went before is written before, and not while this is measured
	if _, err := p.readPeak(); err != nil { // what was between measurements counts for the whole run
		return sample{}, err
	}
	if err := p.resetPeak(); err != nil {
		return sample{}, err
	}
	before, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	begin := time.Now()
	times, err := runAll(conns, begin.Add(d), work)
	elapsed := time.Since(begin)
	if err != nil {
		return sample{}, err
	}
	after, err := p.cpu()
	if err != nil {
		return sample{}, err
	}
	peak, err := p.readPeak()
	if err != nil {
		return sample{}, err
	}
	slices.Sort(times)
	return sample{
		Rate: float64(len(times)) / elapsed.Seconds(),
		P50:  percentile(times, 50),
		P99:  percentile(times, 99),
		CPU:  (after - before) / time.Duration(len(times)),
		Peak: peak,
		Ops:  len(times),
	}, nil
}

// runAll repeats work over every connection until end, at least once, and
// returns how long each op took.
func runAll(conns []*conn, end time.Time, work op) ([]time.Duration, error) {
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		all   []time.Duration
		errs  []error
	)
	for _, c := range conns {
		group.Go(func() {
			times := make([]time.Duration, 0, 1<<12)
			var err error
			for at := time.Now(); err == nil && (len(times) == 0 || at.Before(end)); {
				err = work(c)
				now := time.Now()
				times = append(times, now.Sub(at))
				at = now
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, times...)
			errs = append(errs, err)
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%d clients: %w", len(conns), err)
	}
	return all, nil
}

// percentile returns the smallest of sorted that p percent do not exceed.
func percentile(sorted []time.Duration, p int) time.Duration {
	i := (len(sorted)*p + 99) / 100
	return sorted[max(i, 1)-1]
}

// median returns, of each figure for itself, the middle one of all rounds; of
// the memory, the most.
func median(rounds []sample) sample {
	return sample{
		Rate: middle(rounds, func(s sample) float64 { return s.Rate }),
		P50:  middle(rounds, func(s sample) time.Duration { return s.P50 }),
		P99:  middle(rounds, func(s sample) time.Duration { return s.P99 }),
		CPU:  middle(rounds, func(s sample) time.Duration { return s.CPU }),
		Ops:  middle(rounds, func(s sample) int { return s.Ops }),
		Peak: slices.MaxFunc(rounds, func(a, b sample) int { return int(a.Peak - b.Peak) }).Peak,
	}
}

func middle[S any, T int | float64 | time.Duration](rounds []S, of func(S) T) T {
	var all []T
	for _, s := range rounds {
		all = append(all, of(s))
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func medianDrive(rounds []drive) drive {
	return drive{
		Rate:  middle(rounds, func(d drive) float64 { return d.Rate }),
		Bytes: middle(rounds, func(d drive) float64 { return d.Bytes }),
		P50:   middle(rounds, func(d drive) time.Duration { return d.P50 }),
		P99:   middle(rounds, func(d drive) time.Duration { return d.P99 }),
	}
}
