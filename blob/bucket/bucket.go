// Package bucket makes a blob.Store of an object store: a place that keeps whole
// objects under names, puts one together out of parts, and lists names in byte
// order. A driver says how, as a Bucket; what is the same for all of them is
// here.
//
// A stream is one object under the name of its key, made once, by whoever
// commits first, and never copied or replaced. Short streams are one request at
// Commit. Longer ones go up as parts while they come: one part is on its way
// while the next is filled, and that is all the memory that a stream takes: 16
// MiB at most.
//
// A stream that is suspended has one more object: its tail, which holds what
// came after the last part. Its name is that of the key with '!', how many bytes
// are in parts, and a word that only the state knows. '!' sorts before every
// byte of a key, so a listing shows the tails of a key right behind it. A tail
// shows that there is such a stream, and a state whose tail is gone is stale.
//
// A Writer at work in this process is overtaken like any other. One in another
// process cannot be stopped, but what it does later changes nothing that was
// committed: an object is only made where there is none. Delete of a key that
// another process is writing removes what is there, and not what it makes later.
package bucket

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"berth/blob"
)

// ErrExists is returned by Put and Finish: there is an object of that name, with
// other bytes.
var ErrExists = errors.New("there is such an object already")

// A Bucket is an object store as a driver speaks to it. Names are those of keys
// and tails, behind Options.Prefix. Its calls try again what may pass, for a
// bounded time, and are safe for concurrent use. Their errors hold no secrets.
// Besides those named here they return blob.ErrNoSpace.
type Bucket interface {
	// Put makes an object, unless there is one: ErrExists.
	Put(ctx context.Context, name string, data []byte) (blob.Info, error)
	// Stat describes an object. Errors: blob.ErrNotExist.
	Stat(ctx context.Context, name string) (blob.Info, error)
	// Get returns n > 0 bytes from off of the object that stamp is of, or of
	// any when it is "". Errors: blob.ErrNotExist, ErrChanged.
	Get(ctx context.Context, name, stamp string, off, n int64) (io.ReadCloser, error)
	// Delete removes an object, if there is one.
	Delete(ctx context.Context, name string) error
	// List calls yield for the objects whose names begin with prefix, in byte
	// order, until it returns false. It may leave out those before from, and
	// takes pages of about limit names; 0 means as large as possible.
	List(ctx context.Context, prefix, from string, limit int, yield func(blob.Entry) bool) error
	// URL returns an address of the object that is good for ttl, or "".
	URL(ctx context.Context, name string, ttl time.Duration) (string, error)
	// Assemble begins an object in parts, or goes on with one where State said.
	// Errors: blob.ErrStale.
	Assemble(ctx context.Context, name string, state []byte) (Assembly, error)
}

// ErrChanged is returned by Get: the object is another one than it was.
var ErrChanged = blob.ErrChanged

// An Attic is a Bucket that keeps the parts of objects that nobody finishes, until
// they are given up.
type Attic interface {
	Bucket
	// Unfinished calls yield for names that parts are kept of, in byte order,
	// until it returns false. It may leave out those before from.
	Unfinished(ctx context.Context, prefix, from string, yield func(blob.Entry) bool) error
	// DropAll gives up all parts of that name.
	DropAll(ctx context.Context, name string) error
}

// An Assembly is an object that is put together. It is not safe for concurrent
// use. Errors of all: blob.ErrStale, when it cannot be finished any more.
type Assembly interface {
	// Add appends a part as Options has them.
	Add(ctx context.Context, part []byte) error
	// State is what Assemble needs to go on from here in another process.
	State() ([]byte, error)
	// Finish appends what is left, be it nothing, and makes the object, unless
	// there is one: ErrExists.
	Finish(ctx context.Context, last []byte) (blob.Info, error)
	// Drop gives the parts up.
	Drop(ctx context.Context) error
}

const (
	// MaxPart is how large a part may be: a stream has two of them in memory.
	MaxPart = 8 << 20
	// wholeMemory is how large a part is that has all the memory of a stream,
	// and growAfter how many others come before.
	wholeMemory = 2 * MaxPart
	growAfter   = 5_000
	// shortTail is the most bytes that are kept as a tail and not as a part, but
	// where a part must be larger.
	shortTail = 1 << 20
	// maxMarked is how many bytes Mark keeps.
	maxMarked = 4 << 20
	// cleanUp is how long it may take to remove what is not needed any more.
	cleanUp = time.Minute
)

// Options says how a Store uses its Bucket.
type Options struct {
	Prefix string // of all names, "" or ending in '/'
	// Part is the size of parts, at most MaxPart, which is what 0 means. Those
	// before a Suspend are smaller, but a multiple of Align, 1 when it is 0, and
	// not below Least.
	Part, Align, Least int
	// Grow makes the parts behind the first 5,000 as large as the memory of a
	// stream, for stores that take only so many: 117 GiB in 10,000.
	Grow bool
	Log  *slog.Logger // slog.Default() when nil
}

// A Store is a blob.Store over a Bucket.
type Store struct {
	bucket  Bucket
	o       Options
	buffers sync.Pool // of *[]byte, as long as a part

	mu      sync.Mutex
	writers map[string]*writer // the one at work on each key
}

// New returns the Store over b.
func New(b Bucket, o Options) *Store {
	if o.Part == 0 {
		o.Part = MaxPart
	}
	if o.Align == 0 {
		o.Align = 1
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Store{bucket: b, o: o, writers: make(map[string]*writer)}
}

// Prefix returns the prefix of names that Distribution's parameter rootdirectory
// stands for.
func Prefix(rootDirectory string) string {
	if p := strings.Trim(rootDirectory, "/"); p != "" {
		return p + "/"
	}
	return ""
}
