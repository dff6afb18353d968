package main

import (
	"context"
	"time"

	"berth/job"
)

// usageJob is the name of the lease under which it is counted anew what
// repositories hold, and usageInterval how often that is done.
const (
	usageJob      = "usage"
	usageInterval = 24 * time.Hour
)

// checkUsage counts anew what repositories hold, until ctx ends.
func (r *running) checkUsage(ctx context.Context) {
	r.core.collector.runner.Every(ctx, usageJob, usageInterval, func(ctx context.Context, _ job.Lease) error {
		c, err := r.core.registry.CheckUsage(ctx)
		for _, e := range c.Wrong {
			r.log.Error("the total of a repository was wrong, and is mended", "repository", e.Name, "was", e.Was, "counted", e.Counted)
		}
		return err
	})
}
