package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"berth/audit"
	"berth/job"
	"berth/local"
	"berth/oci"
	"berth/registry"
)

// gcJob is the name of the lease under which garbage is collected.
const gcJob = "gc"

// pullsInterval is how often it is written when manifests were last read.
const pullsInterval = time.Minute

// A collector collects garbage, by the rules of a configuration. It is a
// registry.Sweeper.
type collector struct {
	registry *local.Registry
	runner   *job.Runner
	config   gcConfig
	linger   time.Duration
	rules    atomic.Pointer[[]local.RetentionRule]
	audit    *audit.Log // nil for none
	log      *slog.Logger

	mu      sync.Mutex
	problem string // why the last sweep failed
	stats   gcStats
}

// gcStats counts what was collected here since the start.
type gcStats struct {
	runs, bytes, objects, tags, manifests uint64
	last                                  time.Time
	took                                  time.Duration
	unknown                               int
}

var _ registry.Sweeper = (*collector)(nil)

// newCollector returns what collects the garbage of c.
func newCollector(c *core, cfg *Config, log *slog.Logger) *collector {
	g := &collector{
		registry: c.registry,
		runner:   newRunner(c, log),
		config:   cfg.GC,
		linger:   cfg.linger(),
		audit:    c.audit,
		log:      log,
	}
	g.setRules(cfg)
	return g
}

// newRunner returns what does the jobs of this node.
func newRunner(c *core, log *slog.Logger) *job.Runner {
	host, err := os.Hostname()
	if err != nil {
		host = "a node without a name"
	}
	return &job.Runner{Leases: c.db.Leases(), Holder: fmt.Sprintf("%s (process %d)", host, os.Getpid()), Log: log}
}

// setRules puts the rules of retention of cfg in force.
func (g *collector) setRules(cfg *Config) {
	rules := cfg.retentionRules()
	g.rules.Store(&rules)
}

// Sweep implements registry.Sweeper. Only a dry run may go on beside another one.
func (g *collector) Sweep(ctx context.Context, q registry.SweepRequest, progress func(registry.SweepProgress)) (report registry.SweepReport, err error) {
	if q.DryRun {
		return g.registry.Sweep(ctx, g.options(q, job.Lease{}, progress))
	}
	err = g.runner.Once(ctx, gcJob, func(ctx context.Context, l job.Lease) error {
		report, err = g.registry.Sweep(ctx, g.options(q, l, progress))
		g.note(report, err)
		return err
	})
	if errors.Is(err, job.ErrHeld) {
		err = fmt.Errorf("garbage is being collected already: %w", err)
	}
	return report, err
}

// run collects garbage in the configured interval, until ctx ends.
func (g *collector) run(ctx context.Context) {
	g.runner.Every(ctx, gcJob, g.config.Interval, func(ctx context.Context, l job.Lease) error {
		o := g.options(registry.SweepRequest{}, l, nil)
		o.Resume, o.Rest = true, true
		report, err := g.registry.Sweep(ctx, o)
		if ctx.Err() != nil && !errors.Is(context.Cause(ctx), job.ErrLost) {
			return err // it is gone on with
		}
		g.note(report, err)
		if err == nil && report.Tags+report.Manifests+report.Links+report.Blobs+report.Expired > 0 {
			g.log.Info("garbage collected", "tags", report.Tags, "manifests", report.Manifests, "blobs", report.Blobs,
				"bytes", report.Bytes, "unknown", report.Expired, "took", report.Ended.Sub(report.Began).Round(time.Millisecond))
		}
		return err
	})
}

func (g *collector) options(q registry.SweepRequest, l job.Lease, progress func(registry.SweepProgress)) local.SweepOptions {
	return local.SweepOptions{
		SweepRequest: q,
		Retention:    *g.rules.Load(),
		Aside:        g.config.Aside,
		Linger:       g.linger,
		Lease:        l,
		Removed:      g.removed,
		Progress:     progress,
	}
}

// removed records what a rule of retention has removed.
func (g *collector) removed(r registry.Removal) {
	if g.audit == nil {
		return
	}
	e := audit.Event{Kind: audit.Retention, Result: audit.OK, Repository: string(r.Repository), Digest: r.Digest, Rule: r.Rule, Reason: r.Reason}
	if r.Tag != "" {
		e.Tags = []oci.Tag{r.Tag}
	}
	g.audit.Record(e)
}

// note notes how a sweep ended.
func (g *collector) note(report registry.SweepReport, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.problem = ""
	if err != nil {
		g.problem = err.Error()
	}
	s := &g.stats
	s.bytes += uint64(report.Bytes + report.ExpiredBytes)
	s.objects += uint64(report.Deleted)
	s.tags += uint64(report.Tags)
	s.manifests += uint64(report.Manifests)
	s.unknown = report.Unknown
	if err == nil {
		s.runs++
		s.last, s.took = report.Ended, report.Ended.Sub(report.Began)
	}
}

// degraded says why the last sweep failed, "" when it has not.
func (g *collector) degraded() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problem
}

func (g *collector) snapshot() gcStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stats
}

// watchGC shows in health and metrics how garbage is collected.
func (r *running) watchGC() {
	g := r.core.collector
	r.health.watch("gc", g.degraded)
	m := r.metrics
	m.count("berth_gc_runs_total", "Sweeps that came to their end here.", func() uint64 { return g.snapshot().runs })
	m.count("berth_gc_freed_bytes_total", "Bytes of blobs and objects that nothing needed.", func() uint64 { return g.snapshot().bytes })
	m.count("berth_gc_deleted_objects_total", "Objects deleted from the blob store.", func() uint64 { return g.snapshot().objects })
	m.count("berth_gc_removed_tags_total", "Tags that rules of retention have removed.", func() uint64 { return g.snapshot().tags })
	m.count("berth_gc_removed_manifests_total", "Manifests that rules of retention have removed.", func() uint64 { return g.snapshot().manifests })
	m.gauge("berth_gc_unknown_objects", "Objects of the blob store that nothing names, in the last sweep here.", func() int { return g.snapshot().unknown })
	m.value("berth_gc_last_run_timestamp_seconds", "When the last sweep here came to its end; 0 for never.", func() float64 {
		last := g.snapshot().last
		if last.IsZero() {
			return 0
		}
		return float64(last.UnixMilli()) / 1000
	})
	m.value("berth_gc_last_run_duration_seconds", "How long the last sweep here took.", func() float64 { return g.snapshot().took.Seconds() })
}

// writePulls writes when manifests were last read, until ctx ends.
func (r *running) writePulls(ctx context.Context) {
	tick := time.NewTicker(pullsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := r.core.registry.WritePulls(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("it cannot be noted when manifests were last read", "error", err)
		}
	}
}
