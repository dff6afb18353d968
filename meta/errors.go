package meta

import (
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of this package. Others mean that the database itself has failed.
var (
	// ErrNotExist: there is no such row.
	ErrNotExist = errors.New("no such row")
	// ErrNoSpace: the disk of the database is full. What was there can still be
	// read.
	ErrNoSpace = errors.New("no space left for the database")
	// ErrDamaged: the database file is not whole. Nothing is written any more.
	ErrDamaged = errors.New("the database is damaged: restore or rebuild it")
	// ErrUnknownOutcome: the commit failed, and only a later look at the
	// database tells whether it was one.
	ErrUnknownOutcome = errors.New("the commit failed")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("the database is closed")
)

// translate gives errors of the driver their names.
func translate(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotExist
	}
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
