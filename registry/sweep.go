package registry

import (
	"context"
	"time"

	"berth/oci"
)

// A SweepRequest asks for garbage to be collected, now.
type SweepRequest struct {
	// DryRun changes nothing, and tells what would be removed.
	DryRun bool `json:"dryRun,omitempty"`
	// Untagged removes manifests that no tag names, that no other manifest keeps,
	// and that were of no use within the grace, whatever the rules of retention.
	Untagged bool `json:"untagged,omitempty"`
	// Grace, when it is set, takes the place of the configured one. A shorter one
	// can take from a push in flight what it has been told is there.
	Grace *time.Duration `json:"grace,omitempty"`
	// AcceptUnknown goes on where more objects of the blob store are unknown than
	// can be right.
	AcceptUnknown bool `json:"acceptUnknown,omitempty"`
}

// A SweepProgress says how far a sweep is.
type SweepProgress struct {
	Phase string `json:"phase"`
	Seen  int    `json:"seen"` // in this phase: objects, repositories, links, blobs
}

// A SweepReport says what a sweep has removed or, of a dry run, would remove.
type SweepReport struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	DryRun  bool      `json:"dryRun"`
	Resumed bool      `json:"resumed,omitempty"` // it went on with one that was interrupted

	// Repositories are those that something was removed from, by name.
	Repositories []SweptRepository `json:"repositories"`
	// Removals are the tags and manifests that a rule would remove; of a dry run.
	Removals []Removal `json:"removals,omitempty"`

	Tags      int   `json:"tags"`
	Manifests int   `json:"manifests"`
	Links     int   `json:"links"` // of blobs to repositories
	Blobs     int   `json:"blobs"` // that no repository holds any more
	Bytes     int64 `json:"bytes"` // of the blobs
	// Later are bytes that go when the grace of what was removed is over; of a dry
	// run.
	Later int64 `json:"later,omitempty"`
	// Emptied counts repositories that held nothing and are gone.
	Emptied int `json:"emptied"`
	Deleted int `json:"deleted"`          // objects of the blob store
	Failed  int `json:"failed,omitempty"` // objects that could not be deleted

	Objects int `json:"objects"` // of the blob store
	// Unknown are objects that nothing names; Expired are those of them that were
	// unknown for long enough to go; Spared were written between a backup and its
	// restore, and are not touched.
	Unknown      int   `json:"unknown"`
	UnknownBytes int64 `json:"unknownBytes"`
	Expired      int   `json:"expired"`
	ExpiredBytes int64 `json:"expiredBytes"`
	Spared       int   `json:"spared,omitempty"`
}

// A SweptRepository says what a sweep has removed from a repository. Bytes that
// another repository holds as well stay.
type SweptRepository struct {
	Name      oci.Name `json:"name"`
	Tags      int      `json:"tags"`
	Manifests int      `json:"manifests"`
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Later     int64    `json:"later,omitempty"` // see SweepReport
}

// A Removal is a tag or, without one, a manifest that a rule of retention has
// removed.
type Removal struct {
	Repository oci.Name   `json:"repository"`
	Tag        oci.Tag    `json:"tag,omitempty"`
	Digest     oci.Digest `json:"digest"`
	Rule       int        `json:"rule,omitempty"` // from 1; 0 for a SweepRequest's Untagged
	Reason     string     `json:"reason"`
}

// A Sweeper collects garbage.
type Sweeper interface {
	// Sweep removes what nothing needs, and tells progress, unless that is nil,
	// how far it is; the sweep waits for it. What was done before an error is in
	// the report.
	Sweep(ctx context.Context, q SweepRequest, progress func(SweepProgress)) (SweepReport, error)
}
