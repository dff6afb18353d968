package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Options are the choices of OpenSQLite. The zero value is a good one.
type Options struct {
	Readers int // connections that read at the same time; 8 when 0
}

const defaultReaders = 8

// sqliteEngine is one file, which this process alone has open.
type sqliteEngine struct {
	dialect *dialect
	path    string
	write   *sql.DB // one connection
	read    *sql.DB
	// reserve is the path of a file that only takes up room. It is removed when
	// there is no other, so that the log can be emptied and what is deleted can
	// be written.
	reserve    string
	isReserved bool // the writer's: all that should be is set aside
}

func sqliteDialect() *dialect {
	return &dialect{
		beginWrite: "BEGIN IMMEDIATE",
		beginRead:  "BEGIN",
		catalog: `SELECT t.name, c.name, upper(c.type) = 'BOOLEAN', FALSE FROM sqlite_schema t JOIN pragma_table_info(t.name) c
			WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite\_%' ESCAPE '\' AND t.name <> 'goose_db_version' ORDER BY t.name, c.cid`,
		references: `SELECT DISTINCT t.name, f."table" FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f
			WHERE t.type = 'table' AND f."table" <> t.name`,
		triggers: `SELECT 'DROP TRIGGER "' || name || '"', sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name`,
		batch:    128,
		name:     nameSQLite,
	}
}

// OpenSQLite opens the database in the file at path, makes it (for this user
// alone) when it is not there, and brings its tables up to date. One process at
// a time may have it open.
//
// A goroutine writes until Close.
func OpenSQLite(ctx context.Context, path string, o Options) (*DB, error) {
	if o.Readers == 0 {
		o.Readers = defaultReaders
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := createFile(path); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	e := &sqliteEngine{dialect: sqliteDialect(), path: path, reserve: path + "-reserve"}
	e.release()
	if e.write, err = openPool(path, 1, false); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := migrate(ctx, e.write, goose.DialectSQLite3); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database: %w", nameSQLite(err)), e.write.Close())
	}
	endLeases(ctx, e.write)
	if e.read, err = openPool(path, o.Readers, true); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), e.write.Close())
	}
	return start(e, e.dialect, o.Readers), nil
}

// endLeases ends the leases of jobs that a process has left behind which is gone,
// as this one has the file. Where it cannot, they run out.
func endLeases(ctx context.Context, pool *sql.DB) {
	_, _ = pool.ExecContext(ctx, `UPDATE jobs SET expires = 0 WHERE expires > 0`)
}

// createFile makes an empty file that only its owner can read, durably: the
// database holds password hashes and keys. SQLite gives its other files the
// mode of this one.
func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// openPool opens connections to the file. This process alone has it open, and
// keeps it locked (unix-excl): it is then not locked and unlocked for every
// query.
func openPool(path string, conns int, readOnly bool) (*sql.DB, error) {
	q := url.Values{
		"_journal_mode": {"WAL"},
		"_synchronous":  {"FULL"},
		"_foreign_keys": {"on"},
		"_busy_timeout": {"10000"},
		"_txlock":       {"immediate"},
		"_dqs":          {"false"},
		"vfs":           {"unix-excl"},
		"_defensive":    {"true"},
		"_pragma":       {"journal_size_limit(67108864)", "temp_store(memory)"},
	}
	if readOnly {
		q.Set("_query_only", "on")
		q.Set("_txlock", "deferred")
	}
	address := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	connector, err := sqlite.NewConnector(address.String())
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

func (e *sqliteEngine) connect(write bool) (*conn, error) {
	pool := e.read
	if write {
		pool = e.write
	}
	c, err := newConn(context.Background(), pool, e.dialect)
	if err != nil {
		return nil, err
	}
	c.run = c.execute
	if write {
		// The log may be full, and the disk too. Where it cannot be emptied, that
		// is only harder to mend.
		e.release()
		_ = c.run("PRAGMA wal_checkpoint(PASSIVE)")
	}
	return c, nil
}

func (e *sqliteEngine) lasting() (*sql.DB, error) { return openPool(e.path, 1, true) }

func (e *sqliteEngine) alive(*conn) bool { return true }

// commit sets aside, afterwards, what is missing of the reserve: what was given
// up has then served.
func (e *sqliteEngine) commit(c *conn) error {
	if err := c.run("COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, nameSQLite(err))
	}
	if !e.isReserved {
		e.isReserved = setAside(e.reserve)
	}
	return nil
}

// release gives up what was set aside. Where that fails there is nothing better
// to be done.
func (e *sqliteEngine) release() {
	_ = os.Remove(e.reserve)
	e.isReserved = false
}

func (e *sqliteEngine) room() error {
	if spare(filepath.Dir(e.reserve)) {
		return fmt.Errorf("%w: what is left is kept for deletes", ErrNoSpace)
	}
	return nil
}

// listen hears nothing: nobody else has the file open.
func (e *sqliteEngine) listen(ctx context.Context, _ func(topic, payload string), _ func()) {
	<-ctx.Done()
}

// close closes the connection of the writer last: it empties the log.
func (e *sqliteEngine) close() error { return errors.Join(e.read.Close(), e.write.Close()) }

// nameSQLite gives errors of SQLite their names.
func nameSQLite(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
