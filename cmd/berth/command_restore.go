package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"berth/audit"
	"berth/blob"
	"berth/local"
	"berth/meta"
	"berth/registry"
)

// latestBackup names the newest backup in the blob store.
const latestBackup = "latest"

// errNoBackup: there is no newest one.
var errNoBackup = errors.New("there is no backup in the blob store: name a file with --from, or make names of the bytes with `berth rebuild`")

func newRestoreCommand() *cobra.Command {
	var from string
	var force, list bool
	cmd := &cobra.Command{
		Use:   "restore [CONFIG]",
		Short: "Put a backup in the place of the metadata",
		Long: "Makes the database that the configuration names, SQLite or PostgreSQL, from a backup of either. The\n" +
			"registry must be stopped, on all nodes. What was pushed after the backup has bytes without names\n" +
			"then, which are not collected as garbage: push it again. What was removed or revoked after the\n" +
			"backup is there again. A database that is in use is only replaced with --force, and is put aside.\n" +
			"Until all of the backup is in place, nothing is changed; when it is interrupted, run it again.",
		Example: "  berth restore --list\n  berth restore\n  berth restore --from /mnt/elsewhere/berth.backup --force /etc/berth/config.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			cfg, _, err := loadAndWarn(cmd, args)
			if err != nil {
				return err
			}
			if cfg.storageDriver() == "inmemory" {
				return errors.New("with storage.inmemory there is no data that a command could open")
			}
			if list {
				return listBackups(cmd, cfg)
			}
			return restoreBackup(cmd, cfg, from, force)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", latestBackup, "`BACKUP` by its name in the blob store, or by the path of its file")
	f.BoolVar(&force, "force", false, "put a database aside that is in use")
	f.BoolVar(&list, "list", false, "only list the backups in the blob store")
	addOutputFlag(cmd, "table")
	return cmd
}

func listBackups(cmd *cobra.Command, cfg *Config) (err error) {
	store, closeStore, err := openStore(cmd.Context(), cfg, newLogger(cmd.ErrOrStderr(), quietLevel(), logConfig{}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	list, err := local.Backups(cmd.Context(), store)
	if err != nil {
		return err
	}
	if list == nil {
		list = []registry.Backup{}
	}
	return printResult(cmd, list, backupRows(list))
}

// A restoredReport says what a restore has done.
type restoredReport struct {
	Backup  string    `json:"backup"`
	Created time.Time `json:"created"`
	// Aside is where the database is that was there before.
	Aside string `json:"aside,omitempty"`
}

func restoreBackup(cmd *cobra.Command, cfg *Config, from string, force bool) (err error) {
	lock, err := lockData(cfg.dataDir())
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	log := newLogger(cmd.ErrOrStderr(), quietLevel(), logConfig{})
	store, closeStore, err := openStore(cmd.Context(), cfg, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	report, err := restoreFrom(cmd.Context(), cfg, store, from, force)
	if auditErr := auditRestore(cfg, log, report, err); auditErr != nil {
		warn(cmd, []string{auditErr.Error()})
	}
	if errors.Is(err, meta.ErrNotEmpty) {
		return fmt.Errorf("%w: with --force it is put aside", err)
	}
	if err != nil {
		return err
	}
	tellRestored(cmd.ErrOrStderr(), report)
	return printResult(cmd, report, [][]string{{"RESTORED", "OF"}, {report.Backup, ago(report.Created)}})
}

func tellRestored(w io.Writer, r restoredReport) {
	fmt.Fprintf(w, "the metadata are as they were at %s; what was there before ", r.Created.UTC().Format(time.RFC3339))
	if r.Aside == "" {
		fmt.Fprintln(w, "held no registry")
	} else {
		fmt.Fprintf(w, "is in %s\n", r.Aside)
	}
	fmt.Fprintln(w, "next: `berth serve`; push again what was pushed since; and remove again whom and what was removed since:\n"+
		"`berth user list`, `berth robot list`, `berth token list`, and `berth audit` for what was done")
}

// restoreFrom finds the backup, and puts it in the place of the database.
func restoreFrom(ctx context.Context, cfg *Config, store blob.Store, from string, force bool) (report restoredReport, err error) {
	name, in, err := findBackup(ctx, store, from)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	now := time.Now()
	o := meta.Loading{
		Force: force,
		Now:   now,
		Finish: func(tx *meta.Tx, h meta.DumpHeader) error {
			return local.BeginEpoch(ctx, store, tx, h.Created, now)
		},
	}
	var loaded meta.Loaded
	if cfg.Metadata.Postgres != nil {
		loaded, err = meta.LoadPostgres(ctx, cfg.Metadata.Postgres.options(), in, o)
	} else {
		path := cfg.databasePath()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return report, fmt.Errorf("make the folder of the database: %w", err)
		}
		loaded, err = meta.LoadSQLite(ctx, path, in, o)
	}
	return restoredReport{Backup: name, Created: loaded.Created, Aside: loaded.Aside}, err
}

// findBackup opens the backup that is called from. What could be a path is one.
func findBackup(ctx context.Context, store blob.Store, from string) (name string, in io.ReadCloser, err error) {
	if strings.ContainsRune(from, filepath.Separator) || strings.Contains(filepath.Base(from), ".") {
		f, err := os.Open(from)
		return from, f, err
	}
	if from == latestBackup {
		list, err := local.Backups(ctx, store)
		if err != nil {
			return "", nil, err
		}
		if len(list) == 0 {
			return "", nil, errNoBackup
		}
		from = list[len(list)-1].Name
	}
	in, err = local.OpenBackup(ctx, store, from)
	if errors.Is(err, blob.ErrNotExist) {
		if f, fileErr := os.Open(from); fileErr == nil {
			return from, f, nil
		} else if !errors.Is(fileErr, fs.ErrNotExist) {
			return "", nil, fileErr
		}
		return "", nil, fmt.Errorf("there is no backup %q: `berth restore --list` lists those in the blob store", from)
	}
	return from, in, err
}

// auditRestore records how a restore has ended.
func auditRestore(cfg *Config, log *slog.Logger, r restoredReport, failure error) (err error) {
	c := new(core)
	if err := c.openAudit(cfg, log); err != nil || c.audit == nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	e := audit.Event{Kind: audit.Restore, Result: audit.OK, User: audit.LocalUser, Method: audit.Local, Target: r.Backup}
	if failure != nil {
		e.Result, e.Reason = audit.Error, failure.Error()
	}
	c.audit.Record(e)
	return nil
}
