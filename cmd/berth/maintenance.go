package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"berth/job"
)

// reap gives up the uploads that nobody goes on with, or tells of them alone,
// until ctx ends.
func (r *running) reap(ctx context.Context) {
	p := r.cfg.purging()
	if !*p.Enabled {
		return
	}
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	for {
		do, done := r.core.registry.ReapUploads, "reaped idle uploads"
		if p.DryRun {
			do, done = r.core.registry.CountIdleUploads, "idle uploads would be reaped: storage.maintenance.uploadpurging.dryrun is set"
		}
		err := r.core.collector.runner.Once(ctx, "reap", func(ctx context.Context, _ job.Lease) error {
			n, err := do(ctx)
			if n > 0 {
				r.log.Info(done, "count", n)
			}
			return err
		})
		if err != nil && ctx.Err() == nil && !errors.Is(err, job.ErrHeld) {
			r.log.Error("reap idle uploads", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A healthCheck looks at one thing, again and again. When it fails as often as
// threshold in a row, or once where that is 0, the registry is not ready.
type healthCheck struct {
	part      string
	interval  time.Duration
	threshold int
	look      func(context.Context) error
}

// healthChecks returns the checks of the section health. Their names tell who
// asks for /readyz nothing of what they look at.
func (r *running) healthChecks() (checks []healthCheck) {
	h := r.cfg.Health
	if s := h.StorageDriver; s.Enabled {
		checks = append(checks, healthCheck{"health.storagedriver", s.Interval, s.Threshold, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			return r.core.registry.CheckStore(ctx)
		}})
	}
	for i, f := range h.File {
		checks = append(checks, healthCheck{fmt.Sprintf("health.file.%d", i), f.Interval, f.Threshold, func(context.Context) error { return checkNoFile(f.File) }})
	}
	for i, f := range h.HTTP {
		header := make(http.Header)
		for name, values := range f.Headers {
			for _, v := range values {
				header.Add(name, v.Reveal())
			}
		}
		client := &http.Client{Timeout: f.Timeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
		checks = append(checks, healthCheck{fmt.Sprintf("health.http.%d", i), f.Interval, f.Threshold, func(ctx context.Context) error {
			return checkHTTP(ctx, client, f.URI, header, f.StatusCode)
		}})
	}
	for i, f := range h.TCP {
		checks = append(checks, healthCheck{fmt.Sprintf("health.tcp.%d", i), f.Interval, f.Threshold, func(ctx context.Context) error {
			return checkTCP(ctx, f.Addr, f.Timeout)
		}})
	}
	return checks
}

// run looks, and looks again, until ctx ends.
func (c healthCheck) run(ctx context.Context, h *health, log *slog.Logger) {
	tick := time.NewTicker(c.interval)
	defer tick.Stop()
	failures, fails := 0, false
	for {
		err := c.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if failures++; err == nil {
			failures = 0
		}
		switch now := failures >= max(1, c.threshold); {
		case now && !fails:
			log.Error("a health check fails: /readyz is 503 until it succeeds", "check", c.part, "error", err)
		case !now && fails:
			log.Info("a health check succeeds again", "check", c.part)
		}
		fails = failures >= max(1, c.threshold)
		h.check(c.part, fails)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// checkNoFile fails while there is a file: it is how an operator takes a node out.
func checkNoFile(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.New(path + " is there")
	}
	return err
}

// checkHTTP fails unless the address answers a HEAD with the status. The error
// does not hold the address, in which there may be a password.
func checkHTTP(ctx context.Context, client *http.Client, uri string, header http.Header, status int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, uri, nil)
	if err != nil {
		return errors.New("the uri cannot be asked")
	}
	req.Header = header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		if inner := errors.Unwrap(err); inner != nil {
			err = inner // without the address
		}
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != status {
		return fmt.Errorf("it answers %d, and not %d", resp.StatusCode, status)
	}
	return nil
}

// checkTCP fails unless somebody listens there.
func checkTCP(ctx context.Context, addr string, timeout time.Duration) error {
	d := net.Dialer{Timeout: timeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}
