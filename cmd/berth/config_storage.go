package main

import (
	"strings"
)

// storageConfig is the section storage: one driver, and what goes for all.
type storageConfig struct {
	Filesystem *filesystemConfig `yaml:"filesystem,omitempty"`
	Inmemory   *struct{}         `yaml:"inmemory,omitempty"`
	S3         *s3Config         `yaml:"s3,omitempty"`
	S3AWS      *s3Config         `yaml:"s3aws,omitempty"`
	GCS        *gcsConfig        `yaml:"gcs,omitempty"`
	Azure      *azureConfig      `yaml:"azure,omitempty"`
	Swift      *anyConfig        `yaml:"swift,omitempty" config:"never"`
	OSS        *anyConfig        `yaml:"oss,omitempty" config:"never"`

	Delete struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"delete"`
	Redirect struct {
		Disable bool `yaml:"disable,omitempty"`
	} `yaml:"redirect,omitempty"`
	// Cache is accepted and of no use: the database answers.
	Cache struct {
		BlobDescriptor     string `yaml:"blobdescriptor,omitempty"`
		BlobDescriptorSize int    `yaml:"blobdescriptorsize,omitempty"`
		LayerInfo          string `yaml:"layerinfo,omitempty"`
	} `yaml:"cache,omitempty"`
	// Tag is accepted and of no use: tags are not searched one file at a time.
	Tag struct {
		ConcurrencyLimit int `yaml:"concurrencylimit,omitempty"`
	} `yaml:"tag,omitempty"`
	Maintenance struct {
		UploadPurging *purgingConfig `yaml:"uploadpurging,omitempty"`
		ReadOnly      struct {
			Enabled bool `yaml:"enabled"`
		} `yaml:"readonly"`
	} `yaml:"maintenance"`
}

// drivers holds the keys of storageConfig that name a driver.
var drivers = [...]string{"filesystem", "inmemory", "s3", "s3aws", "gcs", "azure", "swift", "oss"}

type filesystemConfig struct {
	RootDirectory string `yaml:"rootdirectory"`
	// MaxThreads is accepted and of no use: the runtime bounds its threads.
	MaxThreads int `yaml:"maxthreads,omitempty"`
}

// anyConfig is a section whose keys are not looked at.
type anyConfig map[string]any

// storageDriver names the driver.
func (c *Config) storageDriver() string {
	switch s := c.Storage; {
	case s.Inmemory != nil:
		return "inmemory"
	case s.S3 != nil, s.S3AWS != nil:
		return "s3"
	case s.GCS != nil:
		return "gcs"
	case s.Azure != nil:
		return "azure"
	}
	return "filesystem"
}

// isRemote reports whether the bytes are in an object store.
func (c *Config) isRemote() bool {
	driver := c.storageDriver()
	return driver != "inmemory" && driver != "filesystem"
}

// dataKey names the key that says where the lock and the local socket are.
func (c *Config) dataKey() string {
	if c.isRemote() {
		return "metadata.sqlite.path"
	}
	return "storage.filesystem.rootdirectory"
}

// checkStorage checks what goes for the drivers.
func (c *Config) checkStorage(add func(path, format string, args ...any)) {
	if given := c.driversGiven(); len(given) > 1 {
		add("storage", "it names more than one driver: %s", strings.Join(given, ", "))
		return
	}
	if c.isRemote() && c.Metadata.SQLite.Path == "" && c.Metadata.Postgres == nil {
		add("storage", "%s keeps no metadata: name a file of this machine's in metadata.sqlite.path, or a database in metadata.postgres", c.storageDriver())
	}
	if s, key := c.s3(); s != nil {
		s.check(key, add)
	}
	if g := c.Storage.GCS; g != nil {
		g.check(add)
	}
	if a := c.Storage.Azure; a != nil {
		a.check(add)
	}
}
