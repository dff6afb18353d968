package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/admin"
	"berth/registry"
)

// withAPI calls do with the management of the data that the configuration
// names: through the server that holds it, or directly when none does.
func withAPI(cmd *cobra.Command, do func(admin.API) error) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	if cfg.storageDriver() == "inmemory" {
		return errors.New("with storage.inmemory there is no data that a command could open")
	}
	path := filepath.Join(cfg.dataDir(), socketName)
	if answered(path) {
		client := newClient(path)
		defer client.Close()
		return do(client)
	}
	if !cfg.hasData() {
		warn(cmd, []string{"no registry has kept its data in " + cfg.dataDir() + " before; --config names another configuration"})
	}
	log := newLogger(cmd.ErrOrStderr(), quietLevel(), logConfig{})
	core, err := openCore(cmd.Context(), cfg, log, nil)
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%w, but does not answer on %s", err, path)
	}
	if err != nil {
		return err
	}
	defer core.close()
	return do(core.management(nil))
}

// newClient returns a client of the server that listens on the socket.
func newClient(path string) *admin.Client {
	return admin.NewClient(func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	})
}

// stored is the part of the management that is about what is stored.
type stored interface {
	registry.Mover
	registry.Sweeper
	registry.Accountant
	admin.Repositories
	registry.Backer
	registry.Scrubber
}

// withStored calls do with the management of what is stored in the data of cfg:
// through the server that holds them, or directly when none does.
func withStored(cmd *cobra.Command, cfg *Config, adopting bool, do func(stored) error) (err error) {
	if cfg.storageDriver() == "inmemory" {
		return errors.New("with storage.inmemory there is no data that a command could open")
	}
	path := filepath.Join(cfg.dataDir(), socketName)
	if answered(path) {
		client := newClient(path)
		defer client.Close()
		return do(client)
	}
	log := newLogger(cmd.ErrOrStderr(), quietLevel(), logConfig{})
	c := &core{dir: cfg.dataDir(), adopting: adopting}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.openData(cmd.Context(), cfg, log); errors.Is(err, errLocked) {
		return fmt.Errorf("%w, but does not answer on %s", err, path)
	} else if err != nil {
		return err
	}
	if err := c.openAudit(cfg, log); err != nil {
		return err
	}
	s := &admin.Service{
		Mover: c.registry, Sweeper: newCollector(c, cfg, log), Deleter: c.registry, Usage: c.registry,
		Backer: newBacker(c, cfg, log), Scrubber: newScrubber(c, cfg, log),
	}
	if c.audit != nil {
		s.Audit = c.audit.Record
	}
	return do(s)
}

// quietLevel is the level of a command that works on the data itself: only what
// goes wrong.
func quietLevel() *slog.LevelVar {
	level := new(slog.LevelVar)
	level.Set(slog.LevelError)
	return level
}
