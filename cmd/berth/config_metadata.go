package main

import (
	"errors"
	"io/fs"
	"os"

	"berth/auth"
	"berth/meta"
)

// postgresConfig is the section metadata.postgres: the database of several nodes.
type postgresConfig struct {
	// URL is as libpq takes it, with several hosts, sslmode, sslrootcert and
	// target_session_attrs.
	URL            auth.Secret `yaml:"url"`
	PasswordFile   string      `yaml:"passwordfile,omitempty"`
	MaxConnections int         `yaml:"maxconnections"`
}

// defaultConnections is how many connections a node makes to PostgreSQL at most.
const defaultConnections = 10

func (p *postgresConfig) options() meta.PostgresOptions {
	return meta.PostgresOptions{URL: string(p.URL), PasswordFile: p.PasswordFile, MaxConnections: p.MaxConnections}
}

func (c *Config) checkMetadata(add func(path, format string, args ...any)) {
	p := c.Metadata.Postgres
	if c.Storage.Inmemory != nil && len(c.driversGiven()) == 1 {
		const why = "with storage.inmemory the metadata goes with the process too: leave it out"
		if c.Metadata.SQLite.Path != "" {
			add("metadata.sqlite", why)
		}
		if p != nil {
			add("metadata.postgres", why)
		}
	}
	switch {
	case p == nil:
	case p.URL == "":
		add("metadata.postgres", "url is missing")
	case p.MaxConnections < meta.MinConnections:
		add("metadata.postgres.maxconnections", "it must be %d or more", meta.MinConnections)
	default:
		file := new(fs.PathError) // which may be missing on this machine
		if err := p.options().Check(); err != nil && !errors.As(err, &file) {
			add("metadata.postgres.url", "%v", err)
		}
	}
}

func (c *Config) metadataWarnings() (warnings []string) {
	p := c.Metadata.Postgres
	if p == nil {
		return nil
	}
	if c.Metadata.SQLite.Path != "" {
		warnings = append(warnings, "metadata.sqlite is not used beside metadata.postgres: only `berth migrate` reads it")
	}
	if p.options().Check() == nil && !p.options().Protected() {
		warnings = append(warnings, "metadata.postgres.url: the server is not verified: whoever is on the way to it reads and changes everything; add sslmode=verify-full, and sslrootcert")
	}
	return warnings
}

// databasePart is what metadata.postgres names: a password, and files in the URL.
func (c *Config) databasePart() []filePart {
	p := c.Metadata.Postgres
	if p == nil {
		return nil
	}
	files := [][2]string{{"metadata.postgres.passwordfile", p.PasswordFile}}
	if file := new(fs.PathError); errors.As(p.options().Check(), &file) {
		files = append(files, [2]string{"metadata.postgres.url", file.Path})
	}
	return []filePart{{files: files, open: func() (string, error) { return "", p.options().Check() }}}
}

// hasData reports whether a registry has kept its metadata here before, as far as
// that can be told without opening them.
func (c *Config) hasData() bool {
	if c.Metadata.Postgres != nil {
		return true
	}
	_, err := os.Stat(c.databasePath())
	return !errors.Is(err, fs.ErrNotExist)
}
