package main

import "time"

// scrubConfig says when all that is stored is read and verified.
type scrubConfig struct {
	Enabled  *bool         `yaml:"enabled"` // true
	Interval time.Duration `yaml:"interval"`
	Rate     byteSize      `yaml:"rate"` // bytes a second
	// From is another store, with a copy of the bytes.
	From *scrubSource `yaml:"from,omitempty"`
}

// A scrubSource is one of the drivers.
type scrubSource struct {
	Filesystem *filesystemConfig `yaml:"filesystem,omitempty"`
	S3         *s3Config         `yaml:"s3,omitempty"`
}

const (
	defaultScrubInterval = 30 * 24 * time.Hour
	defaultScrubRate     = 32 << 20

	minScrubInterval = time.Second
	minScrubRate     = 1 << 10
)

func (c *scrubConfig) setDefaults() {
	if c.Enabled == nil {
		on := true
		c.Enabled = &on
	}
	setDefault(&c.Interval, defaultScrubInterval)
	setDefault(&c.Rate, defaultScrubRate)
}

func (c *Config) checkScrub(add func(path, format string, args ...any)) {
	if c.Scrub.Interval < minScrubInterval {
		add("scrub.interval", "it must be at least %v", minScrubInterval)
	}
	if c.Scrub.Rate < minScrubRate {
		add("scrub.rate", "it must be at least %d bytes a second", minScrubRate)
	}
	from := c.Scrub.From
	switch {
	case from == nil:
	case (from.Filesystem == nil) == (from.S3 == nil):
		add("scrub.from", "it must name one driver, filesystem or s3")
	case from.S3 != nil:
		from.S3.check("scrub.from.s3", add)
	case from.Filesystem.RootDirectory == "":
		add("scrub.from.filesystem", "rootdirectory is missing")
	case c.Storage.Filesystem != nil && from.Filesystem.RootDirectory == c.Storage.Filesystem.RootDirectory:
		add("scrub.from.filesystem.rootdirectory", "it is that of storage.filesystem: name a copy of it")
	}
}
