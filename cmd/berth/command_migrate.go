package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"berth/meta"
)

func newMigrateCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "migrate [CONFIG]",
		Short: "Move the metadata from SQLite to PostgreSQL",
		Long: "Moves all metadata from the file that metadata.sqlite.path names, by itself berth.db in the data\n" +
			"directory, into the empty database that metadata.postgres names: names, accounts, tokens, keys and\n" +
			"uploads, so that nobody has to log in again. The blobs stay where they are. It is done in one\n" +
			"transaction and every row is compared: either all is there afterwards, or nothing. Then the file\n" +
			"gets the ending .moved, so that nothing is served from it by mistake. The registry must be stopped.",
		Example: "  berth migrate /etc/berth/config.yml\n  berth migrate --from /var/lib/registry/berth.db",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			cfg, _, err := loadAndWarn(cmd, args)
			if err != nil {
				return err
			}
			return migrate(cmd, cfg, from)
		}),
	}
	cmd.Flags().StringVar(&from, "from", "", "`FILE` of SQLite that is moved")
	addOutputFlag(cmd, "table")
	return cmd
}

func migrate(cmd *cobra.Command, cfg *Config, file string) error {
	if cfg.Metadata.Postgres == nil {
		return errors.New("metadata.postgres is missing in the configuration: name the database to move to")
	}
	if file == "" {
		file = cfg.databasePath()
	}
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("there are no metadata to move: %w; name another file with --from", err)
	}
	lock, err := lockData(cfg.dataDir())
	if errors.Is(err, errLocked) {
		return fmt.Errorf("%w: stop it first", err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	moved, err := move(cmd.Context(), cfg, file, cmd.ErrOrStderr())
	if errors.Is(err, meta.ErrUnknownOutcome) {
		return fmt.Errorf("%w: run it again, which tells whether all is there", err)
	}
	if err != nil {
		return err
	}
	if err := putAside(file); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "all is in PostgreSQL now; %s.moved can go when you no longer want to go back\n", file)
	rows := [][]string{{"TABLE", "ROWS"}}
	for _, t := range moved {
		rows = append(rows, []string{t.Table, fmt.Sprint(t.Rows)})
	}
	return printResult(cmd, moved, rows)
}

// move moves what is in the file.
func move(ctx context.Context, cfg *Config, file string, stderr io.Writer) (moved []meta.Moved, err error) {
	from, err := meta.OpenSQLite(ctx, file, meta.Options{Readers: 1})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", file, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	progress := func(string, int64, int64) {}
	if isTerminal(stderr) {
		progress = func(table string, done, all int64) {
			if all > 0 {
				fmt.Fprintf(stderr, "\r\033[K%s: %d %%", table, 100*done/all)
			}
		}
		defer fmt.Fprint(stderr, "\r\033[K")
	}
	return meta.Move(ctx, from, cfg.Metadata.Postgres.options(), progress)
}

// putAside gives the files of a database that was closed another name.
func putAside(file string) error {
	if err := os.Rename(file, file+".moved"); err != nil {
		return fmt.Errorf("all is in PostgreSQL, but the old file is still in its place: %w", err)
	}
	if err := os.Remove(file + "-reserve"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what was set aside for the old file: %w", err)
	}
	return nil
}
