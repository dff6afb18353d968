package main

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"berth/audit"
)

type auditConfig struct {
	Disabled bool   `yaml:"disabled"`
	Path     string `yaml:"path,omitempty"`
	// Pulls adds the manifests that are read.
	Pulls    bool          `yaml:"pulls"`
	MaxSize  byteSize      `yaml:"maxsize"`
	MaxFiles int           `yaml:"maxfiles"`
	MaxAge   time.Duration `yaml:"maxage"`
	// Required refuses what writes to the registry while events cannot be written.
	Required bool `yaml:"required"`
}

// Bounds of the audit log. A file holds some of the longest lines, and a folder
// can still be read with all of them.
const (
	minAuditSize  = 256 << 10
	maxAuditFiles = 10_000
	minAuditAge   = time.Hour
)

// auditPath returns the path of the audit log, or "" where none is kept.
func (c *Config) auditPath() string {
	if c.Audit.Disabled {
		return ""
	}
	return c.Audit.Path
}

func (c *Config) setAuditDefaults() {
	if c.Storage.Inmemory == nil {
		setDefault(&c.Audit.Path, filepath.Join(c.dataDir(), "audit", "audit.log"))
	}
	setDefault(&c.Audit.MaxSize, audit.DefaultMaxSize)
	setDefault(&c.Audit.MaxFiles, audit.DefaultMaxFiles)
	setDefault(&c.Audit.MaxAge, audit.DefaultMaxAge)
}

func (c *Config) checkAudit(add func(path, format string, args ...any)) {
	a := c.Audit
	switch ext := filepath.Ext(a.Path); {
	case a.Required && a.Disabled:
		add("audit.required", "it cannot be both required and disabled")
	case a.Required && a.Path == "":
		add("audit.required", "with storage.inmemory the audit log needs a path")
	case ext == ".gz" || ext == ".tmp":
		add("audit.path", "old files get such an ending: name it audit.log")
	}
	if a.MaxSize < minAuditSize {
		add("audit.maxsize", "it must be at least %d KiB", minAuditSize>>10)
	}
	if a.MaxFiles < 1 || a.MaxFiles > maxAuditFiles {
		add("audit.maxfiles", "it must be from 1 to %d", maxAuditFiles)
	}
	if a.MaxAge < minAuditAge {
		add("audit.maxage", "it must be at least an hour")
	}
}

// A byteSize is a number of bytes, which may be written as 64MB or 64MiB.
type byteSize int64

// units are what a byteSize may end in, the longer before what they end in.
var units = [...]struct {
	name  string
	bytes int64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12}, {"b", 1}, {"", 1},
}

// size returns a number of bytes in decimal.
func size(s string) (string, bool) {
	for _, u := range units {
		text, ok := strings.CutSuffix(strings.ToLower(s), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.bytes {
			return s, false
		}
		return strconv.FormatInt(n*u.bytes, 10), true
	}
	return s, false
}
