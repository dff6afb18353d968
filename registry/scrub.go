package registry

import (
	"context"
	"time"

	"berth/oci"
)

// A Scrubber reads all that is stored, and finds what is not as it was.
type Scrubber interface {
	// Scrub goes on where an earlier one was interrupted. progress may be nil, and
	// must be quick. What is damaged is in the report, and no error.
	Scrub(ctx context.Context, q ScrubRequest, progress func(ScrubProgress)) (ScrubReport, error)
}

// A ScrubRequest asks for a scrub, now.
type ScrubRequest struct {
	// Rate is how many bytes a second are read at most; 0 is no bound.
	Rate int64 `json:"rate,omitempty"`
	// Restart begins anew, whatever was interrupted.
	Restart bool `json:"restart,omitempty"`
}

// A ScrubProgress says how far a scrub is.
type ScrubProgress struct {
	Blobs   int64 `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	Damaged int64 `json:"damaged"`
}

// A ScrubReport says what a scrub has found.
type ScrubReport struct {
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Resumed bool      `json:"resumed,omitempty"` // it went on with one that was interrupted
	Blobs   int64     `json:"blobs"`             // that were looked at, those of manifests among them
	Bytes   int64     `json:"bytes"`             // that were read
	Damaged int64     `json:"damaged"`
	Healed  int64     `json:"healed"` // of those that were damaged
	// Damages are what was found, but no more than 1,000.
	Damages []Damage `json:"damages"`
}

// A Damage is a blob whose bytes are not those of its digest.
type Damage struct {
	Digest  oci.Digest `json:"digest"`
	Size    int64      `json:"size"`
	Key     string     `json:"key"` // in the blob store
	Problem string     `json:"problem"`
	// Healed: other bytes were found, which are right. Otherwise it counts as
	// missing, until it is pushed again.
	Healed bool `json:"healed"`
	// Places are the repositories that hold it, but no more than 100.
	Places []DamagedPlace `json:"places"`
}

// A DamagedPlace says what a damage costs a repository. Each list has no more than
// 100 entries.
type DamagedPlace struct {
	Repository oci.Name     `json:"repository"`
	Manifests  []oci.Digest `json:"manifests"` // that are damaged, or name what is
	Tags       []oci.Tag    `json:"tags"`      // that need it
}
