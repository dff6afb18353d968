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
		client := admin.NewClient(func(ctx context.Context) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		})
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

// quietLevel is the level of a command that works on the data itself: only what
// goes wrong.
func quietLevel() *slog.LevelVar {
	level := new(slog.LevelVar)
	level.Set(slog.LevelError)
	return level
}
