package meta

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*/*.sql
var migrations embed.FS

// minimumSetting names the setting that says which tables a program must know
// in order to work with these. Without it any program does: tables that are
// added, and columns with a default, are nothing to one that knows less.
const minimumSetting = "minimum"

// migrate brings the tables up to date. Those of a newer program are left as they
// are, unless this one cannot work with them.
func migrate(ctx context.Context, pool *sql.DB, d goose.Dialect) error {
	p, err := migrator(pool, d)
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return checkNewer(ctx, pool, current, target)
	}
	_, err = p.Up(ctx)
	return err
}

// migrateTo makes the tables of a version, in a database that has none.
func migrateTo(ctx context.Context, pool *sql.DB, d goose.Dialect, version int64) error {
	p, err := migrator(pool, d)
	if err != nil {
		return err
	}
	_, target, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if version > target {
		return fmt.Errorf("%w: its tables are of version %d, and this program knows none after %d: take a newer one", ErrDump, version, target)
	}
	_, err = p.UpTo(ctx, version)
	return err
}

func migrator(pool *sql.DB, d goose.Dialect) (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations/"+map[goose.Dialect]string{goose.DialectSQLite3: "sqlite", goose.DialectPostgres: "postgres"}[d])
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(d, pool, dir, goose.WithDisableGlobalRegistry(true))
}

// checkNewer returns an error if a program that knows the tables up to version
// known cannot work with those of the version current.
func checkNewer(ctx context.Context, pool *sql.DB, current, known int64) error {
	var minimum string
	err := pool.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, minimumSetting).Scan(&minimum)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(minimum, 10, 64); err == nil && n <= known {
		return nil
	}
	return fmt.Errorf("its tables are of version %d, and want a program that knows version %s; this one knows none after %d", current, minimum, known)
}
