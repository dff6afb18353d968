package main

import (
	"fmt"
	"net"
	"net/url"
	"time"
)

const (
	// uploadsIdle is how long an upload waits for its client, and reapInterval how
	// often they are looked through, where the configuration does not say.
	uploadsIdle   = 24 * time.Hour
	reapInterval  = time.Hour
	checkInterval = 10 * time.Second // of health checks
	checkTimeout  = 10 * time.Second
)

// purgingConfig is what becomes of uploads that nobody goes on with.
type purgingConfig struct {
	Enabled  *bool         `yaml:"enabled,omitempty"` // on, when it is not said
	Age      time.Duration `yaml:"age,omitempty"`
	Interval time.Duration `yaml:"interval,omitempty"`
	DryRun   bool          `yaml:"dryrun,omitempty"`
}

// setDefaults fills in Distribution's.
func (p *purgingConfig) setDefaults() {
	if p.Enabled == nil {
		on := true
		p.Enabled = &on
	}
	setDefault(&p.Age, 168*time.Hour)
	setDefault(&p.Interval, uploadsIdle)
}

// purging returns what holds for uploads.
func (c *Config) purging() purgingConfig {
	if p := c.Storage.Maintenance.UploadPurging; p != nil {
		return *p
	}
	on := true
	return purgingConfig{Enabled: &on, Age: uploadsIdle, Interval: reapInterval}
}

func (h *healthConfig) setDefaults() {
	if h.StorageDriver.Enabled {
		setDefault(&h.StorageDriver.Interval, checkInterval)
	}
	for i := range h.File {
		setDefault(&h.File[i].Interval, checkInterval)
	}
	for i := range h.HTTP {
		setDefault(&h.HTTP[i].Interval, checkInterval)
		setDefault(&h.HTTP[i].Timeout, checkTimeout)
		setDefault(&h.HTTP[i].StatusCode, 200)
	}
	for i := range h.TCP {
		setDefault(&h.TCP[i].Interval, checkInterval)
		setDefault(&h.TCP[i].Timeout, checkTimeout)
	}
}

func (c *Config) checkMaintenance(add func(path, format string, args ...any)) {
	times := func(path string, values ...time.Duration) {
		for _, v := range values {
			if v < 0 {
				add(path, "a time must not be negative")
				return
			}
		}
	}
	if p := c.Storage.Maintenance.UploadPurging; p != nil {
		times("storage.maintenance.uploadpurging", p.Age, p.Interval)
	}
	h := c.Health
	times("health.storagedriver", h.StorageDriver.Interval)
	for i, f := range h.File {
		path := fmt.Sprintf("health.file.%d", i)
		times(path, f.Interval)
		if f.File == "" {
			add(path, "file is missing: the path that must not be there")
		}
	}
	for i, f := range h.HTTP {
		path := fmt.Sprintf("health.http.%d", i)
		times(path, f.Interval, f.Timeout)
		if u, err := url.Parse(f.URI); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			add(path, "uri must be a URL such as https://auth.example.org/health")
		}
	}
	for i, f := range h.TCP {
		path := fmt.Sprintf("health.tcp.%d", i)
		times(path, f.Interval, f.Timeout)
		if _, _, err := net.SplitHostPort(f.Addr); err != nil {
			add(path, "addr must be a host and a port, such as db.example.org:5432")
		}
	}
}
