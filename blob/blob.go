// Package blob is where bytes live: immutable streams under keys that the
// caller picks.
//
// A key is picked when its stream begins and is never used again, so nothing
// is ever renamed, copied or overwritten. Which digest a key holds is not
// known here: that is a row in the database. A crash leaves streams that no
// row names, and nothing else.
package blob

import (
	"context"
	"errors"
	"io"
	"os"
	"time"
)

// Errors of a Store. Others mean that the store itself has failed.
var (
	// ErrNotExist: nothing is committed under the key.
	ErrNotExist = errors.New("no such object")
	// ErrNoSpace: the store is full. What was there can still be read.
	ErrNoSpace = errors.New("no space left in the blob store")
	// ErrStale: the writer was committed, aborted, or its state does not fit
	// what the store holds. The upload has to start again.
	ErrStale = errors.New("the upload cannot be continued")
	// ErrTooLarge: the stream is longer than any that the store can keep.
	ErrTooLarge = errors.New("the stream is too long for the blob store")
	// ErrChanged: what is under the key has another stamp than it should.
	ErrChanged = errors.New("the object was replaced")
)

// A Store keeps streams. Keys are slash-separated, made of letters, digits,
// '-', '_' and '.', no component beginning with '.'; at most 640 bytes: what
// CheckKey accepts, and every path of Distribution's. No key goes on where
// another one ends with a slash. Two keys that are made here never differ in
// case alone. A Store is safe for concurrent use.
type Store interface {
	// Create begins a stream under a key that was never used. Whatever is done
	// with another key, what was committed first stays: a Store need not look
	// before it is committed.
	Create(ctx context.Context, key string) (Writer, error)
	// Resume goes on where Suspend returned state, in any process. Bytes
	// written after that Suspend are dropped. A Writer that is still at work
	// on the stream is overtaken: its calls return ErrStale, its Abort does
	// nothing. Errors: ErrStale.
	Resume(ctx context.Context, key string, state []byte) (Writer, error)
	// Open returns the committed stream. Errors: ErrNotExist.
	Open(ctx context.Context, key string) (Object, error)
	// URL returns an address that serves the stream to whoever has it, for
	// at most ttl, or "" when the store has none.
	URL(ctx context.Context, key string, ttl time.Duration) (string, error)
	// Delete removes the stream, committed or not; what a Writer still adds
	// is lost, and its Commit returns ErrStale. A key that holds nothing is no
	// error.
	Delete(ctx context.Context, key string) error
	// List calls yield for each key that is greater than after, in byte order,
	// committed or not, until yield returns false.
	List(ctx context.Context, after string, yield func(Entry) bool) error
}

// A Recaller is a Store for which it takes time to say what is under a key.
type Recaller interface {
	Store
	// Recall returns the committed stream as info describes it, without a look
	// at whether it is there. Range, also one of no bytes, then returns
	// ErrNotExist, or ErrChanged where the stamp is another one.
	Recall(key string, info Info) Object
}

// An Entry is one key of a listing.
type Entry struct {
	Key     string
	Size    int64
	ModTime time.Time
}

// Info describes a committed stream.
type Info struct {
	Size int64
	// Stamp changes whenever the stored bytes may have changed without the
	// store (another inode, size, modification or change time). It is compared,
	// never read.
	Stamp string
}

// A Writer appends to one stream. It is not safe for concurrent use. After
// Suspend, Commit or Abort every call returns ErrStale, but Abort, which then
// does nothing, unless Suspend or Commit returned an error: what they left is
// still Abort's to remove.
type Writer interface {
	// Write appends. A short write leaves what was taken.
	io.Writer
	// Size is the number of bytes taken so far, those of earlier writers of
	// the stream included.
	Size() int64
	// Mark returns what Resume needs to go on from here, as long as nothing
	// crashes: nothing becomes durable. The writer goes on. Where that would take
	// too much memory, it fails and nothing has happened.
	Mark() (state []byte, err error)
	// Suspend makes what was written durable and returns what Resume needs.
	Suspend(ctx context.Context) (state []byte, err error)
	// Commit makes the stream durable and readable: when it returns nil, no
	// crash and no power cut takes it away. After an error the stream must be
	// given up: a failed sync is never tried again.
	Commit(ctx context.Context) (Info, error)
	// Abort gives the stream up and removes what it holds.
	Abort(ctx context.Context) error
}

// An Object is a committed stream, open for reading. Close releases it. Where it
// has a File, it holds what it needs to be read to its end even when the key is
// deleted; elsewhere Range may return ErrNotExist then.
type Object interface {
	io.Closer
	Info() Info
	// Range returns n bytes from off; n < 0 means all from off. A range that
	// the stream does not hold is an error. The reader ends with the Object.
	Range(ctx context.Context, off, n int64) (io.ReadCloser, error)
	// File returns the open file that holds the stream from its first byte,
	// where there is one. It is the caller's alone until Close, position
	// included, and must not be closed by the caller.
	File() (*os.File, bool)
}
