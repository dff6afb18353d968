package main

import "time"

// backupConfig says when the metadata are backed up, and which backups stay.
type backupConfig struct {
	Enabled  *bool         `yaml:"enabled"` // true
	Interval time.Duration `yaml:"interval"`
	// Keep is how many of the newest stay, Days for how many days the newest of
	// each.
	Keep int `yaml:"keep"`
	Days int `yaml:"days"`
}

const (
	defaultBackupInterval = time.Hour
	defaultBackups        = 24
	defaultBackupDays     = 14

	minBackupInterval = time.Second
	maxBackups        = 10_000
)

func (c *backupConfig) setDefaults() {
	if c.Enabled == nil {
		on := true
		c.Enabled = &on
	}
	setDefault(&c.Interval, defaultBackupInterval)
	setDefault(&c.Keep, defaultBackups)
	setDefault(&c.Days, defaultBackupDays)
}

func (c *backupConfig) check(add func(path, format string, args ...any)) {
	if c.Interval < minBackupInterval {
		add("backup.interval", "it must be at least %v", minBackupInterval)
	}
	for _, n := range []struct {
		key   string
		value int
	}{{"keep", c.Keep}, {"days", c.Days}} {
		if n.value < 1 || n.value > maxBackups {
			add("backup."+n.key, "it must be from 1 to %d", maxBackups)
		}
	}
}
