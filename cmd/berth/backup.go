package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"berth/job"
	"berth/local"
	"berth/registry"
)

// backupJob is the name of the lease under which backups are made.
const backupJob = "backup"

// A backer makes backups of the metadata of a core. It is a registry.Backer.
type backer struct {
	registry *local.Registry
	runner   *job.Runner
	config   backupConfig
	options  local.BackupOptions
	idle     bool // there is nothing that outlives the process
	log      *slog.Logger

	mu      sync.Mutex
	problem string    // why the last backup failed
	last    time.Time // when all was in one last
}

var _ registry.Backer = (*backer)(nil)

func newBacker(c *core, cfg *Config, log *slog.Logger) *backer {
	return &backer{
		registry: c.registry,
		runner:   newRunner(c, log),
		config:   cfg.Backup,
		options:  local.BackupOptions{Dir: c.dir, Keep: cfg.Backup.Keep, Days: cfg.Backup.Days},
		idle:     cfg.storageDriver() == "inmemory",
		log:      log,
	}
}

// Backup implements registry.Backer.
func (b *backer) Backup(ctx context.Context, q registry.BackupRequest) (made registry.Backup, err error) {
	if q.File != "" {
		return b.registry.BackupTo(ctx, q.File)
	}
	err = b.runner.Once(ctx, backupJob, func(ctx context.Context, _ job.Lease) error {
		made, err = b.backUp(ctx)
		return err
	})
	if errors.Is(err, job.ErrHeld) {
		err = fmt.Errorf("a backup is being made already: %w", err)
	}
	return made, err
}

func (b *backer) backUp(ctx context.Context) (registry.Backup, error) {
	began := time.Now()
	made, err := b.registry.Backup(ctx, b.options)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		b.problem, b.last = "", began
	case ctx.Err() == nil:
		b.problem = err.Error()
	}
	return made, err
}

// run makes backups in the configured interval, until ctx ends.
func (b *backer) run(ctx context.Context) {
	if !*b.config.Enabled || b.idle {
		return
	}
	b.runner.Every(ctx, backupJob, b.config.Interval, func(ctx context.Context, _ job.Lease) error {
		made, err := b.backUp(ctx)
		if err == nil && !made.Unchanged {
			b.log.Info("backed up the metadata", "name", made.Name, "bytes", made.Size, "removed", len(made.Removed))
		}
		return err
	})
}

// degraded says why the last backup failed, "" when it has not.
func (b *backer) degraded() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problem
}

// watchBackups shows in health and metrics how backups are made.
func (r *running) watchBackups() {
	b := r.core.backer
	r.health.watch("backup", b.degraded)
	r.metrics.gauge("berth_backup_last_timestamp_seconds", "When a backup of the metadata last came to its end here; 0 for never.", func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.last.IsZero() {
			return 0
		}
		return int(b.last.Unix())
	})
}
