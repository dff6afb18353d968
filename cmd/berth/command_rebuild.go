package main

import (
	"context"
	"errors"
	"fmt"
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
	"berth/oci"
)

// lostAndFound is the repository of what a rebuild finds.
const lostAndFound = "lost-and-found"

// fromNothing is in the place of a backup.
const fromNothing = "none"

func newRebuildCommand() *cobra.Command {
	var from, into string
	var force bool
	cmd := &cobra.Command{
		Use:   "rebuild [CONFIG]",
		Short: "Rebuild the metadata from the blobs",
		Long: "Restores the newest backup where the database was lost, and then reads every object of the blob store\n" +
			"that nothing names: what was pushed after the backup or, without any, all. It becomes blobs of the\n" +
			"repository lost-and-found, and manifests of it where nothing of them is missing, without tags: who\n" +
			"pushes the same again finds it there, and may mount it. What a manifest does not name goes by itself\n" +
			"after the grace (gc.grace). The registry must be stopped, on all nodes. The exit code is 1 when parts\n" +
			"of manifests are missing. What was interrupted can be done again. Data that Distribution keeps are\n" +
			"taken over with `berth import`, which knows their names.",
		Example: "  berth rebuild\n  berth rebuild --from none --into restored/unknown -o json /etc/berth/config.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			repo, err := oci.ParseName(into)
			if err != nil {
				return fmt.Errorf("--into: %w", err)
			}
			cfg, _, err := loadAndWarn(cmd, args)
			if err != nil {
				return err
			}
			if cfg.storageDriver() == "inmemory" {
				return errors.New("with storage.inmemory there is no data that a command could open")
			}
			return rebuildData(cmd, cfg, from, force, repo)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", latestBackup, "`BACKUP` that a lost database is restored from, as `berth restore` has it, or none")
	f.StringVar(&into, "into", lostAndFound, "`REPOSITORY` of what is found")
	f.BoolVar(&force, "force", false, "restore over a database that is in use, which is put aside")
	addOutputFlag(cmd, "table")
	return cmd
}

// A rebuiltReport says what a rebuild has done.
type rebuiltReport struct {
	// Restored is the backup that was restored first, if one was.
	Restored *restoredReport `json:"restored,omitempty"`
	local.RebuildReport
}

func rebuildData(cmd *cobra.Command, cfg *Config, from string, force bool, into oci.Name) (err error) {
	log := newLogger(cmd.ErrOrStderr(), quietLevel(), logConfig{})
	var report rebuiltReport
	if report.Restored, err = restoreLost(cmd.Context(), cfg, log, from, force); err != nil {
		return err
	}
	c := &core{dir: cfg.dataDir()}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.openData(cmd.Context(), cfg, log); err != nil {
		return err
	}
	if err := c.openAudit(cfg, log); err != nil {
		return err
	}
	show := newProgress(cmd)
	report.RebuildReport, err = c.registry.Rebuild(cmd.Context(), local.RebuildOptions{Into: into, Progress: func(r local.RebuildReport) {
		show.line(fmt.Sprintf("looked at: %d objects; found: %d blobs (%s), %d manifests", r.Objects, r.Blobs, byteCount(r.Bytes), r.Manifests))
	}})
	show.end()
	auditRebuild(c, report, err)
	if err != nil {
		return fmt.Errorf("%w: run it again, which goes on", err)
	}
	if err := printRebuilt(cmd, report); err != nil {
		return err
	}
	if n := len(report.Incomplete); n > 0 {
		return fmt.Errorf("incomplete: %d manifests, of which blobs are missing", n)
	}
	return nil
}

// restoreLost puts a backup in the place of a database that was lost, or begins an
// empty one where there is none. A database that is in use stays, without force.
func restoreLost(ctx context.Context, cfg *Config, log *slog.Logger, from string, force bool) (restored *restoredReport, err error) {
	lock, err := lockData(cfg.dataDir())
	if errors.Is(err, errLocked) {
		return nil, fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	store, closeStore, err := openStore(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	if from == fromNothing {
		return nil, beginEmpty(ctx, cfg, store)
	}
	report, err := restoreFrom(ctx, cfg, store, from, force)
	switch {
	case errors.Is(err, meta.ErrNotEmpty):
		return nil, nil
	case errors.Is(err, errNoBackup):
		return nil, beginEmpty(ctx, cfg, store)
	case err != nil:
		return nil, err
	}
	return &report, nil
}

// beginEmpty marks a database as that of the store, unless it is marked.
func beginEmpty(ctx context.Context, cfg *Config, store blob.Store) (err error) {
	var db *meta.DB
	if cfg.Metadata.Postgres != nil {
		db, err = meta.OpenPostgres(ctx, cfg.Metadata.Postgres.options())
	} else {
		path := cfg.databasePath()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("make the folder of the database: %w", err)
		}
		db, err = meta.OpenSQLite(ctx, path, meta.Options{})
	}
	if err != nil {
		return err
	}
	err = db.Update(ctx, func(tx *meta.Tx) error { return local.MarkNew(ctx, store, tx, time.Now()) })
	return errors.Join(err, db.Close())
}

func auditRebuild(c *core, r rebuiltReport, failure error) {
	if c.audit == nil {
		return
	}
	e := audit.Event{Kind: audit.Rebuild, Result: audit.OK, User: audit.LocalUser, Method: audit.Local, Repository: string(r.Into)}
	if r.Restored != nil {
		e.Target = r.Restored.Backup
	}
	e.Reason = fmt.Sprintf("%d blobs, %d manifests", r.Blobs, r.Manifests)
	if failure != nil {
		e.Result, e.Reason = audit.Error, failure.Error()
	}
	c.audit.Record(e)
}

func printRebuilt(cmd *cobra.Command, r rebuiltReport) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	if format == "json" {
		return printResult(cmd, r, nil)
	}
	out := cmd.OutOrStdout()
	if r.Restored != nil {
		tellRestored(cmd.ErrOrStderr(), *r.Restored)
	}
	if len(r.Incomplete) > 0 {
		rows := [][]string{{"INCOMPLETE MANIFEST", "MISSING"}}
		for _, m := range r.Incomplete {
			missing := make([]string, 0, len(m.Missing))
			for _, d := range m.Missing {
				missing = append(missing, string(d))
			}
			rows = append(rows, []string{string(m.Digest), strings.Join(missing, " ")})
		}
		if err := printTable(out, rows); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%d objects, of which nothing named %d (%s); in %s now: %d blobs and %d manifests; healed: %d, there twice: %d\n",
		r.Objects, r.Unnamed, byteCount(r.Bytes), r.Into, r.Blobs-r.Healed, r.Manifests, r.Healed, r.Duplicates)
	return err
}
