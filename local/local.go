// Package local is the registry on this machine: bytes in a blob store, names in
// a database, and the rules that hold between the two.
//
// Bytes are durable before a row names them, and a row is gone before its bytes
// are. A crash therefore leaves bytes that nothing names, and nothing else.
// Bytes that no longer are what they were when they were named are never served
// as if they were: they count as missing, and whoever pushes them again heals
// them for every repository.
//
// No lock and no transaction is held while a client's bytes are on their way.
package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/blob"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// Options are the choices of Open. The zero value is a good one.
type Options struct {
	Now            func() time.Time // time.Now
	Rand           io.Reader        // crypto/rand.Reader; names uploads, so it must not be guessed
	MaxOpenUploads int              // of one owner; 1,000
	UploadIdle     time.Duration    // after which an upload is given up; 24 hours
	// KeptUploads is how many uploads are kept in memory between two requests
	// instead of being made durable at once. A crash loses them, and nothing
	// that was committed; another process cannot go on with them. None when 0.
	KeptUploads int
	// URLLifetime is how long an address of the store is good that a client is
	// sent to for a blob; none is given out when 0.
	URLLifetime time.Duration
	// Shared says that other nodes change db and store too. Names are then read
	// from db each time, so that each node sees at once what another has done, and
	// no upload is kept in memory: any node goes on with it. The bytes of manifests
	// do not change, and are remembered all the same.
	Shared bool
	// Adopting lets Open take a store that holds data of Distribution's, for
	// Adopt.
	Adopting bool
	// Grace is how long the sweep leaves alone what nothing needs; 24 hours. All
	// nodes must have the same.
	Grace time.Duration
	Log   *slog.Logger // slog.Default()
}

const (
	defaultMaxOpenUploads = 1000
	defaultUploadIdle     = 24 * time.Hour
	defaultGrace          = 24 * time.Hour

	cachedNames         = 10_000  // blobs and manifests of repositories, each
	cachedManifestBytes = 8 << 20 // bytes of manifests
	rememberedAbsent    = 10_000  // digests
	rememberedOwners    = 10_000
	rememberedDamage    = 10_000 // keys
)

// A Registry is a registry.Registry. It starts no goroutines and needs no Close.
type Registry struct {
	store blob.Store
	far   blob.Recaller // the store, where a look at it takes time; else nil
	db    *meta.DB
	o     Options

	blobs     *cache[blobName, foundBlob]
	manifests *cache[manifestName, meta.Manifest]
	bytes     *cache[oci.Digest, []byte]
	absent    *cache[oci.Digest, struct{}] // digests that no row has
	saved     *cache[string, int]          // by owner: uploads that have a row
	damaged   *cache[string, string]       // key -> the stamp under which its bytes were found to be wrong
	pulls     pulls
	rules     atomic.Pointer[Rules] // nil: there are none

	mu       sync.Mutex
	writers  map[string]*upload // by ID: who writes now
	starting map[string]int     // by owner: uploads that have no row yet
	kept     map[string]*upload // by ID: who wrote last, and will again

	transferring sync.Mutex // held by Adopt
}

var (
	_ registry.Registry   = (*Registry)(nil)
	_ registry.Mover      = (*Registry)(nil)
	_ registry.Accountant = (*Registry)(nil)
)

type blobName struct {
	repo   oci.Name
	digest oci.Digest
}

type manifestName struct {
	repo oci.Name
	ref  oci.Reference
}

// Open returns the registry on store and db, which belong together for good:
// the first Open marks them, and a later one refuses others with ErrInstance.
// A store of Distribution's is refused with ErrNotAdopted.
// Nobody else may change db, unless o.Shared is set.
func Open(ctx context.Context, store blob.Store, db *meta.DB, o Options) (*Registry, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.MaxOpenUploads == 0 {
		o.MaxOpenUploads = defaultMaxOpenUploads
	}
	if o.UploadIdle == 0 {
		o.UploadIdle = defaultUploadIdle
	}
	if o.Grace == 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	names, absent, owners := int64(cachedNames), int64(rememberedAbsent), int64(rememberedOwners)
	if o.Shared {
		o.KeptUploads, names, absent, owners = 0, 0, 0, 0
	}
	r := &Registry{
		store:     store,
		db:        db,
		o:         o,
		blobs:     newCache[blobName, foundBlob](names, nil),
		manifests: newCache[manifestName, meta.Manifest](names, nil),
		bytes:     newCache[oci.Digest](cachedManifestBytes, func(b []byte) int64 { return int64(len(b)) }),
		absent:    newCache[oci.Digest, struct{}](absent, nil),
		saved:     newCache[string, int](owners, nil),
		damaged:   newCache[string, string](rememberedDamage, nil),
		writers:   make(map[string]*upload),
		starting:  make(map[string]int),
		kept:      make(map[string]*upload),
	}
	r.far, _ = store.(blob.Recaller)
	if err := r.checkInstance(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// random returns 40 hexadecimal digits that nobody can guess.
func (r *Registry) random() (string, error) {
	var b [20]byte
	if _, err := io.ReadFull(r.o.Rand, b[:]); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// blobs is where the keys of this registry begin: the database, and what others
// keep in the same place, stand beside it.
const blobs = "blobs/"

// newKey returns a key for bytes. Two digits are a folder, so that no folder
// becomes large.
func (r *Registry) newKey() (string, error) {
	s, err := r.random()
	if err != nil {
		return "", err
	}
	return blobs + s[:2] + "/" + s[2:], nil
}

// storage adds the code that a client is told to an error of a store that is
// full, that does not take so large a blob, or that an upload is lost in.
func storage(err error) error {
	switch {
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, meta.ErrNoSpace):
		return fmt.Errorf("%w: %w", oci.Errorf(oci.InsufficientStorage, "the registry is full"), err)
	case errors.Is(err, blob.ErrTooLarge):
		return fmt.Errorf("%w: %w", oci.Errorf(oci.SizeInvalid, "the blob is larger than the registry can store"), err)
	case errors.Is(err, blob.ErrStale):
		return fmt.Errorf("%w: %w", unknownUpload(), err)
	}
	return err
}

// repository returns the repository. Errors: oci.NameUnknown.
func repository(tx *meta.Tx, repo oci.Name) (meta.RepositoryID, error) {
	id, err := tx.Repository(repo)
	if errors.Is(err, meta.ErrNotExist) {
		err = noRepository()
	}
	return id, err
}

func noRepository() error { return oci.Errorf(oci.NameUnknown, "there is no such repository") }
