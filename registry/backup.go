package registry

import (
	"context"
	"time"
)

// A Backer makes backups of the names and all else that is not blobs, while
// everybody goes on.
type Backer interface {
	// Backup makes one now.
	Backup(ctx context.Context, q BackupRequest) (Backup, error)
}

// A BackupRequest asks for a backup.
type BackupRequest struct {
	// File is an absolute path, where nothing is yet. Without it the backup goes
	// to the blob store, unless nothing has changed since the last one there.
	File string `json:"file,omitempty"`
}

// A Backup is a backup that there is.
type Backup struct {
	Name    string    `json:"name"` // in the blob store, or a file
	Created time.Time `json:"created"`
	Size    int64     `json:"size"` // bytes
	// Unchanged: it was there already, and holds what a new one would.
	Unchanged bool `json:"unchanged,omitempty"`
	// Removed are the older ones that were too many.
	Removed []string `json:"removed,omitempty"`
}
