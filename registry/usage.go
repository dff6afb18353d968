package registry

import (
	"context"
	"time"

	"berth/oci"
)

// An Accountant tells what repositories hold, and how much of it they may.
type Accountant interface {
	// Usages returns up to limit repositories whose names are greater than
	// after, those without a manifest too.
	Usages(ctx context.Context, after oci.Name, limit int) ([]RepositoryUsage, error)
	// UsageOf returns one repository. Errors: oci.NameUnknown.
	UsageOf(ctx context.Context, repo oci.Name) (RepositoryUsage, error)
	// CheckUsage counts anew what every repository holds, mends the totals that
	// are wrong, and returns them as they were.
	CheckUsage(ctx context.Context) (UsageCheck, error)
}

// Usage is what one or more repositories hold. Bytes are those of the blobs and
// manifests of each: what several share counts in each of them.
type Usage struct {
	Repositories int64 `json:"repositories"`
	Bytes        int64 `json:"bytes"`
	Tags         int64 `json:"tags"`
}

// A RepositoryUsage is one repository, what it holds, and the quotas that it is
// under.
type RepositoryUsage struct {
	Name      oci.Name     `json:"name"`
	Created   time.Time    `json:"created"`
	Bytes     int64        `json:"bytes"`
	Manifests int64        `json:"manifests"`
	Tags      int64        `json:"tags"`
	Quotas    []QuotaUsage `json:"quotas,omitempty"`
}

// A QuotaUsage says how much of a quota is used, by all repositories that share
// it. Limits that are 0 are none.
type QuotaUsage struct {
	Rule  string `json:"rule"` // the quota, as refusals name it
	Used  Usage  `json:"used"`
	Limit Usage  `json:"limit"`
}

// A UsageCheck says what CheckUsage has found.
type UsageCheck struct {
	Repositories int          `json:"repositories"` // that were counted
	Wrong        []UsageError `json:"wrong"`
}

// A UsageError is a total that was wrong.
type UsageError struct {
	Name    oci.Name `json:"name"`
	Was     Usage    `json:"was"`
	Counted Usage    `json:"counted"`
}

// The kinds of rules that refuse what their caller may do otherwise.
const (
	RuleImmutable = "immutable" // a tag that is there stays as it is
	RuleQuota     = "quota"     // there is no room for more
)

// A RuleError says which rule about content does not let a change be made,
// whoever wants to make it. Its code is oci.Denied.
type RuleError struct {
	Kind    string // RuleImmutable or RuleQuota
	Rule    string // which one
	Message string // for the client: what is in the way, and what to do
}

func (e *RuleError) Error() string { return string(oci.Denied) + ": " + e.Message }

// Is reports whether target is oci.Denied.
func (e *RuleError) Is(target error) bool { return target == oci.Denied }
