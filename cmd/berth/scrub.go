package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"berth/audit"
	"berth/blob"
	"berth/job"
	"berth/local"
	"berth/registry"
)

// scrubJob is the name of the lease under which a scrub is made.
const scrubJob = "scrub"

// maxDamages is how many damages are remembered.
const maxDamages = 1000

// damageInterval is how often it is looked whether damages have been healed.
const damageInterval = time.Minute

// A scrubber verifies what is stored in a core. It is a registry.Scrubber.
type scrubber struct {
	registry *local.Registry
	runner   *job.Runner
	config   scrubConfig
	idle     bool       // there is nothing that outlives the process
	audit    *audit.Log // nil for none
	log      *slog.Logger

	mu      sync.Mutex
	damages []registry.Damage // that were found here and not healed
	last    time.Time         // when a scrub came to its end here
}

var _ registry.Scrubber = (*scrubber)(nil)

func newScrubber(c *core, cfg *Config, log *slog.Logger) *scrubber {
	return &scrubber{
		registry: c.registry,
		runner:   newRunner(c, log),
		config:   cfg.Scrub,
		idle:     cfg.storageDriver() == "inmemory",
		audit:    c.audit,
		log:      log,
	}
}

// Scrub implements registry.Scrubber.
func (s *scrubber) Scrub(ctx context.Context, q registry.ScrubRequest, progress func(registry.ScrubProgress)) (report registry.ScrubReport, err error) {
	err = s.runner.Once(ctx, scrubJob, func(ctx context.Context, l job.Lease) error {
		report, err = s.scrub(ctx, local.ScrubOptions{ScrubRequest: q, Lease: l, Progress: progress})
		return err
	})
	if errors.Is(err, job.ErrHeld) {
		err = fmt.Errorf("a scrub is at work already: %w", err)
	}
	return report, err
}

// scrub opens the other store, if there is one, for as long as it takes.
func (s *scrubber) scrub(ctx context.Context, o local.ScrubOptions) (report registry.ScrubReport, err error) {
	if from := s.config.From; from != nil {
		var store blob.Store
		var closeStore func() error
		store, closeStore, err = openStore(ctx, &Config{Storage: storageConfig{Filesystem: from.Filesystem, S3: from.S3}}, s.log)
		if err != nil {
			return report, fmt.Errorf("scrub.from: %w", err)
		}
		defer func() { err = errors.Join(err, closeStore()) }()
		o.Sources = append(o.Sources, local.StoreSource{Store: store})
	}
	o.Found = s.found
	report, err = s.registry.Scrub(ctx, o)
	if err == nil {
		s.mu.Lock()
		s.last = report.Ended
		s.mu.Unlock()
	}
	return report, err
}

// found tells of a damage.
func (s *scrubber) found(d registry.Damage) {
	s.mu.Lock()
	isKnown := slices.ContainsFunc(s.damages, func(k registry.Damage) bool { return k.Key == d.Key })
	if !d.Healed && !isKnown && len(s.damages) < maxDamages {
		s.damages = append(s.damages, d)
	}
	s.mu.Unlock()
	if s.audit == nil {
		return
	}
	e := audit.Event{Kind: audit.Damage, Result: audit.Error, Digest: d.Digest, Reason: d.Problem}
	if d.Healed {
		e.Result, e.Reason = audit.OK, d.Problem+"; healed"
	}
	if len(d.Places) == 0 {
		s.audit.Record(e)
	}
	for _, p := range d.Places {
		e.Repository, e.Tags = string(p.Repository), p.Tags
		s.audit.Record(e)
	}
}

// run scrubs in the configured interval, and looks whether damages have been
// healed, until ctx ends.
func (s *scrubber) run(ctx context.Context) {
	if s.idle {
		return
	}
	var both sync.WaitGroup
	defer both.Wait()
	both.Go(func() { s.recheck(ctx) })
	if !*s.config.Enabled {
		return
	}
	s.runner.Every(ctx, scrubJob, s.config.Interval, func(ctx context.Context, l job.Lease) error {
		o := local.ScrubOptions{ScrubRequest: registry.ScrubRequest{Rate: int64(s.config.Rate)}, Lease: l}
		report, err := s.scrub(ctx, o)
		if err == nil {
			s.log.Info("all that is stored was verified", "blobs", report.Blobs, "bytes", report.Bytes,
				"damaged", report.Damaged, "healed", report.Healed, "took", report.Ended.Sub(report.Began).Round(time.Second))
		}
		return err
	})
}

// recheck forgets the damages that are none any more.
func (s *scrubber) recheck(ctx context.Context) {
	tick := time.NewTicker(min(damageInterval, s.config.Interval))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		known := s.damages
		s.mu.Unlock()
		if len(known) == 0 {
			continue
		}
		still, err := s.registry.StillDamaged(ctx, known)
		if err != nil {
			continue // metadata is degraded then
		}
		s.mu.Lock()
		s.damages = append(still, s.damages[len(known):]...)
		s.mu.Unlock()
	}
}

// degraded tells of the damages that are known, "" when there are none.
func (s *scrubber) degraded() string {
	if n := s.damaged(); n > 0 {
		return fmt.Sprintf("%d blobs are damaged and count as missing: push them again; `berth audit --event damage` names them", n)
	}
	return ""
}

func (s *scrubber) damaged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.damages)
}

// watchScrubs shows in health and metrics what scrubs have found.
func (r *running) watchScrubs() {
	s := r.core.scrubber
	r.health.watch("scrub", s.degraded)
	r.metrics.gauge("berth_scrub_damaged_blobs", "Blobs that a scrub here has found to be damaged, and that nobody has healed.", s.damaged)
	r.metrics.gauge("berth_scrub_last_timestamp_seconds", "When a scrub last came to its end here; 0 for never.", func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.last.IsZero() {
			return 0
		}
		return int(s.last.Unix())
	})
}
