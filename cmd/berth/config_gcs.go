package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"berth/auth"
	"berth/blob/bucket"
	"berth/blob/gcs"
)

// gcsConfig has the parameters of Distribution's driver gcs.
type gcsConfig struct {
	Bucket  string `yaml:"bucket,omitempty"`
	KeyFile string `yaml:"keyfile,omitempty"`
	// Credentials are those of a service account, as its key file has them.
	Credentials    map[string]auth.Secret `yaml:"credentials,omitempty"`
	RootDirectory  string                 `yaml:"rootdirectory,omitempty"`
	ChunkSize      int64                  `yaml:"chunksize,omitempty"`
	UserAgent      string                 `yaml:"useragent,omitempty"`
	MaxConcurrency int                    `yaml:"maxconcurrency,omitempty"`
}

// options returns the options, but for the credentials of a file.
func (g *gcsConfig) options(log *slog.Logger) gcs.Options {
	o := gcs.Options{
		Bucket: g.Bucket, RootDirectory: g.RootDirectory, ChunkSize: int(min(g.ChunkSize, bucket.MaxPart)),
		MaxConcurrency: g.MaxConcurrency, UserAgent: g.UserAgent, Log: log,
	}
	if len(g.Credentials) > 0 {
		file := make(map[string]string)
		for key, value := range g.Credentials {
			file[key] = value.Reveal()
		}
		text, _ := json.Marshal(file) // it is all text
		o.Credentials = auth.Secret(text)
	}
	return o
}

// open reads the credentials.
func (g *gcsConfig) open(log *slog.Logger) (gcs.Options, error) {
	o := g.options(log)
	if g.KeyFile == "" || o.Credentials != "" {
		return o, nil
	}
	file, err := os.ReadFile(g.KeyFile)
	if err != nil {
		return o, fmt.Errorf("storage.gcs.keyfile: %w", err)
	}
	o.Credentials = auth.Secret(file)
	if err := o.Check(); err != nil {
		return o, fmt.Errorf("storage.gcs.keyfile: %w", err)
	}
	return o, nil
}

func (g *gcsConfig) check(add func(path, format string, args ...any)) {
	o := g.options(nil)
	if err := o.Check(); err != nil {
		add("storage.gcs", "%v", err)
	}
	if g.KeyFile != "" && len(g.Credentials) > 0 {
		add("storage.gcs", "keyfile and credentials exclude each other")
	}
}

func (g *gcsConfig) warnings() []string {
	if g.ChunkSize > bucket.MaxPart {
		return []string{fmt.Sprintf("storage.gcs.chunksize: %d is used, to bound the memory of an upload", bucket.MaxPart)}
	}
	return nil
}
