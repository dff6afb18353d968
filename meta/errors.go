package meta

import "errors"

// Errors of this package. Others mean that the database itself has failed.
var (
	// ErrNotExist: there is no such row.
	ErrNotExist = errors.New("no such row")
	// ErrNoSpace: the disk of the database is full. What was there can still be
	// read.
	ErrNoSpace = errors.New("no space left for the database")
	// ErrDamaged: the database file is not whole. Nothing is written any more.
	ErrDamaged = errors.New("the database is damaged: restore or rebuild it")
	// ErrUnavailable: the database did not answer in time, went away, or does not
	// take writes now. Unless it is ErrUnknownOutcome as well, nothing was written;
	// later it may be.
	ErrUnavailable = errors.New("the database does not answer")
	// ErrUnknownOutcome: the commit failed, and only a later look at the
	// database tells whether it was one.
	ErrUnknownOutcome = errors.New("the commit failed")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("the database is closed")
)
