package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pressly/goose/v3"
)

// A Loading says how a dump becomes a database.
type Loading struct {
	// Finish is called with all rows in place, and may change them. When it fails,
	// so does the load.
	Finish func(*Tx, DumpHeader) error
	// Force puts a database aside that a registry was opened on, for good. Without
	// it, that is ErrNotEmpty.
	Force bool
	Now   time.Time // names what is put aside
}

// A Loaded says what has become of a dump.
type Loaded struct {
	DumpHeader
	// Aside is where the database is that was there before: a file, or a schema of
	// PostgreSQL; "" if there was none.
	Aside string
}

// LoadSQLite makes the database in the file at path from a dump. Nobody may have
// it open. Until all is there and durable, what was there is as it was; a load
// that was interrupted can be done again. Errors: ErrDump, ErrNotEmpty.
func LoadSQLite(ctx context.Context, path string, r io.Reader, o Loading) (loaded Loaded, err error) {
	in, err := newDumpReader(r)
	if err != nil {
		return loaded, err
	}
	loaded.DumpHeader = in.header
	used, err := isUsed(ctx, path)
	if err != nil {
		return loaded, err
	}
	if used && !o.Force {
		return loaded, fmt.Errorf("%w: %s holds metadata", ErrNotEmpty, path)
	}
	next := path + "-restore"
	if err := removeSQLite(next); err != nil {
		return loaded, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeSQLite(next))
		}
	}()
	if err := fillSQLite(ctx, next, in, o); err != nil {
		return loaded, err
	}
	if used {
		loaded.Aside = path + ".replaced-" + asideName(o.Now)
		if err := moveSQLite(path, loaded.Aside); err != nil {
			return loaded, fmt.Errorf("put the old database aside: %w", err)
		}
	}
	if err := errors.Join(removeSQLite(path), os.Rename(next, path), syncFolder(path)); err != nil {
		return loaded, fmt.Errorf("put the database in its place: %w", err)
	}
	return loaded, nil
}

func asideName(t time.Time) string { return t.UTC().Format("20060102t150405z") }

// fillSQLite makes a new file from a dump, durably.
func fillSQLite(ctx context.Context, path string, in *dumpReader, o Loading) error {
	if err := createFile(path); err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	pool, err := openPool(path, 1, false)
	if err != nil {
		return fmt.Errorf("create the database: %w", err)
	}
	err = fillTables(ctx, pool, goose.DialectSQLite3, sqliteDialect(), in, o)
	return errors.Join(err, pool.Close())
}

// fillTables makes the tables of a dump, and its rows in one transaction.
func fillTables(ctx context.Context, pool *sql.DB, migrations goose.Dialect, d *dialect, in *dumpReader, o Loading) error {
	if err := migrateTo(ctx, pool, migrations, in.header.Tables); err != nil {
		return fmt.Errorf("make the tables: %w", d.translate(err))
	}
	c, err := newConn(ctx, pool, d)
	if err != nil {
		return err
	}
	if _, err := c.c.ExecContext(ctx, "BEGIN"); err != nil {
		return errors.Join(err, c.c.Close())
	}
	err = load(ctx, c.c, d, in)
	if err == nil && o.Finish != nil {
		err = look(c, func(tx *Tx) error { return o.Finish(tx, in.header) })
	}
	end := "COMMIT"
	if err != nil {
		end = "ROLLBACK"
	}
	_, endErr := c.c.ExecContext(context.WithoutCancel(ctx), end)
	for _, s := range c.stmts {
		_ = s.Close()
	}
	if err := errors.Join(err, endErr, c.c.Close()); err != nil {
		return fmt.Errorf("read the backup: %w", d.translate(err))
	}
	return nil
}

// isUsed reports whether a registry was opened on the database in the file.
func isUsed(ctx context.Context, path string) (used bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || info.Size() == 0 {
		return false, err
	}
	pool, err := openPool(path, 1, false)
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", path, err)
	}
	var mark string
	err = pool.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = 'instance'`).Scan(&mark)
	if errors.Is(err, sql.ErrNoRows) {
		return false, pool.Close()
	}
	// One that cannot be read is not taken for an empty one.
	_ = pool.Close()
	return true, ctx.Err()
}

// removeSQLite removes the files of a database, if they are there.
func removeSQLite(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm", "-reserve"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove an old database: %w", err)
		}
	}
	return nil
}

// moveSQLite moves the files of a database, the log first where there is one.
func moveSQLite(from, to string) error {
	if err := os.Rename(from+"-wal", to+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// syncFolder makes what was renamed to path durable.
func syncFolder(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// LoadPostgres makes the tables of a PostgreSQL database from a dump. All nodes
// must be stopped. Tables that are there are put into a schema of their own first.
// The rows are there all at once; a load that was interrupted can be done again.
// Errors: ErrDump, ErrNotEmpty, ErrUnavailable.
func LoadPostgres(ctx context.Context, p PostgresOptions, r io.Reader, o Loading) (loaded Loaded, err error) {
	in, err := newDumpReader(r)
	if err != nil {
		return loaded, err
	}
	loaded.DumpHeader = in.header
	pool, err := p.lasting("SET synchronous_commit = on")
	if err != nil {
		return loaded, err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	lock, err := pool.Conn(ctx)
	if err != nil {
		return loaded, fmt.Errorf("connect to the PostgreSQL database: %w", namePostgres(err))
	}
	defer lock.Close()
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(tables)); err != nil {
		return loaded, fmt.Errorf("lock the tables: %w", namePostgres(err))
	}
	if loaded.Aside, err = putTablesAside(ctx, lock, o); err != nil {
		return loaded, namePostgres(err)
	}
	return loaded, fillTables(ctx, pool, goose.DialectPostgres, postgresDialect(), in, o)
}

// putTablesAside leaves no table where it looks, and returns the schema that they
// are in. Errors: ErrNotEmpty.
func putTablesAside(ctx context.Context, c *sql.Conn, o Loading) (schema string, err error) {
	if err := checkAlone(ctx, c); err != nil {
		return "", err
	}
	names, used, err := tablesThere(ctx, c)
	if err != nil || len(names) == 0 {
		return "", err
	}
	if used && !o.Force {
		return "", fmt.Errorf("%w: it holds the metadata of a registry", ErrNotEmpty)
	}
	schema = "replaced_" + asideName(o.Now)
	tx, err := c.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }()
	id := pgx.Identifier{schema}.Sanitize()
	if _, err := tx.ExecContext(ctx, "CREATE SCHEMA "+id); err != nil {
		return "", fmt.Errorf("make a schema for the tables that are there: %w; or name an empty database", err)
	}
	// The next tables come with such functions of their own.
	if _, err := tx.ExecContext(ctx, strings.ReplaceAll(moveFunctions, "$1", "'"+schema+"'")); err != nil {
		return "", fmt.Errorf("put the functions of the tables aside: %w", err)
	}
	for _, name := range names {
		if _, err := tx.ExecContext(ctx, "ALTER TABLE "+pgx.Identifier{name}.Sanitize()+" SET SCHEMA "+id); err != nil {
			return "", fmt.Errorf("put table %s aside: %w", name, err)
		}
	}
	return schema, tx.Commit()
}

// moveFunctions puts the functions of triggers into the schema $1.
const moveFunctions = `
	DO $$ DECLARE f regprocedure; BEGIN
		FOR f IN SELECT DISTINCT t.tgfoid::regprocedure FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
			WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace
		LOOP
			EXECUTE format('ALTER FUNCTION %s SET SCHEMA %I', f, $1);
		END LOOP;
	END $$`

// checkAlone returns an error while a node has the database open.
func checkAlone(ctx context.Context, c *sql.Conn) error {
	var nodes int
	err := c.QueryRowContext(ctx, `
		SELECT COUNT(DISTINCT client_port) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND application_name || $1 = current_setting('application_name')`, lastingName).Scan(&nodes)
	if err == nil && nodes > 0 {
		err = fmt.Errorf("%d connections of nodes are open: stop all of them first", nodes)
	}
	return err
}

// tablesThere returns the tables that are there, and whether a registry was opened
// on them.
func tablesThere(ctx context.Context, c *sql.Conn) (names []string, used bool, err error) {
	rows, err := c.QueryContext(ctx, `SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename`)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, false, err
		}
		names = append(names, name)
		used = used || name == "settings"
	}
	if err := rows.Err(); err != nil || !used {
		return names, false, err
	}
	err = c.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM settings WHERE name = 'instance')`).Scan(&used)
	return names, used, err
}
