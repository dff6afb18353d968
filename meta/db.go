package meta

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

// Options are the choices of OpenSQLite. The zero value is a good one.
type Options struct {
	Readers int // connections that read at the same time; 8 when 0
}

const defaultReaders = 8

// A DB is an open database. It is safe for concurrent use.
type DB struct {
	write *sql.DB // one connection
	read  *sql.DB
	// reserve is the path of a file that only takes up room. It is removed when
	// there is no other, so that the log can be emptied and what is deleted can
	// be written.
	reserve string

	readers chan *conn // nil stands for a connection not made yet
	queue   chan *update
	closing chan struct{}
	stopped chan struct{} // closed when the writer has ended
	once    sync.Once

	writer           *conn // of the writer alone; nil until it is needed
	isReserved       bool  // the writer's: all that should be is set aside
	damaged          atomic.Bool
	updates, commits atomic.Int64
}

// Stats counts since the database was opened.
type Stats struct {
	Updates int64 // calls of Update that were committed
	Commits int64 // commits that they shared
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
	db := &DB{
		reserve: path + "-reserve",
		readers: make(chan *conn, o.Readers),
		queue:   make(chan *update),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	db.release()
	if db.write, err = openPool(path, 1, false); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := migrate(ctx, db.write); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate database: %w", translate(err)), db.write.Close())
	}
	if db.read, err = openPool(path, o.Readers, true); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), db.write.Close())
	}
	for range o.Readers {
		db.readers <- nil
	}
	go db.writeLoop()
	return db, nil
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

func migrate(ctx context.Context, pool *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, pool, dir, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	current, target, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return fmt.Errorf("its tables are of version %d, and this program knows none after %d", current, target)
	}
	_, err = p.Up(ctx)
	return err
}

// Close waits for what is running, and closes the database. Calls that come later
// return ErrClosed.
func (db *DB) Close() error {
	var err error
	db.once.Do(func() {
		close(db.closing)
		<-db.stopped
		if db.writer != nil {
			err = db.writer.close()
		}
		for range cap(db.readers) {
			if c := <-db.readers; c != nil {
				err = errors.Join(err, c.close())
			}
		}
		// The writer's is the last connection: it empties the log.
		err = errors.Join(err, db.read.Close(), db.write.Close())
	})
	if err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// release gives up what was set aside. Where that fails there is nothing better
// to be done.
func (db *DB) release() {
	_ = os.Remove(db.reserve)
	db.isReserved = false
}

// Room returns ErrNoSpace when the disk is nearly full: what is left is for
// deletes, and for logins, without which nobody deletes.
func (db *DB) Room() error {
	if spare(filepath.Dir(db.reserve)) {
		return fmt.Errorf("%w: what is left is kept for deletes", ErrNoSpace)
	}
	return nil
}

// Degraded says what is wrong, "" when nothing is. SQLite takes a disk that cannot
// be read for a database that is not whole: whoever starts again looks anew.
func (db *DB) Degraded() string {
	if db.damaged.Load() {
		return ErrDamaged.Error()
	}
	return ""
}

// Stats returns the counters.
func (db *DB) Stats() Stats {
	return Stats{Updates: db.updates.Load(), Commits: db.commits.Load()}
}
