package registry

import "context"

// A Mover takes over a registry that CNCF Distribution has kept, and writes one
// out as Distribution keeps it. Both can be done again, after a crash or for what
// is new, while everybody else goes on.
type Mover interface {
	// Adopt names what Distribution's layout in the blob store holds, where it
	// is. It takes nothing away, and brings nothing back that was deleted here
	// since it was adopted.
	Adopt(ctx context.Context, o AdoptOptions) (Transfer, error)
	// Export writes Distribution's layout into a folder, and leaves alone what
	// is there already.
	Export(ctx context.Context, o ExportOptions) (Transfer, error)
}

// AdoptOptions say how Adopt works.
type AdoptOptions struct {
	// Verify hashes every blob now. Else a blob is hashed when it is first read.
	Verify bool
	Watch
}

// ExportOptions say where Export writes.
type ExportOptions struct {
	Dir string // absolute; made where it is not there
	// Prune removes the names in Dir that the registry does not have. Without it
	// each of them is a Finding.
	Prune bool
	Watch
}

// A Watch is told how a transfer goes on. Its functions may be nil; they are
// called one at a time, and the transfer waits for them.
type Watch struct {
	Found    func(Finding)
	Progress func(Transfer)
}

// A Transfer counts what was looked at.
type Transfer struct {
	Blobs        int64 `json:"blobs"`
	Bytes        int64 `json:"bytes"` // of the blobs
	Repositories int64 `json:"repositories"`
	Links        int64 `json:"links"` // of blobs in repositories
	Manifests    int64 `json:"manifests"`
	Tags         int64 `json:"tags"`
	Uploads      int64 `json:"uploads"`  // in flight, which are left alone
	New          int64 `json:"new"`      // manifests and tags among them that were not there
	Verified     int64 `json:"verified"` // blobs that were hashed now
	Copied       int64 `json:"copied"`   // blobs of which a copy was made
	Findings     int64 `json:"findings"`
	Lost         int64 `json:"lost"`
}

// A Finding is something that was left out, and why. It is Lost when the one
// registry serves it and the other one will not.
type Finding struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Lost   bool   `json:"lost"`
}
