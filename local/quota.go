package local

import (
	"context"
	"fmt"
	"math"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// A Quota bounds what repositories hold together.
type Quota struct {
	Name string // as who is refused knows it
	// Span returns the repositories that share the quota with one, which is
	// among them. It is not ok for one that the quota is not about.
	Span func(oci.Name) (s registry.Span, ok bool)
	// Limit bounds each of its numbers that is not 0.
	Limit registry.Usage
}

// A shared is a quota as it counts for one repository.
type shared struct {
	*Quota
	span registry.Span
}

// quotasOf returns the quotas that a repository is under.
func (r *Registry) quotasOf(repo oci.Name) []shared {
	rules := r.rules.Load()
	if rules == nil {
		return nil
	}
	var list []shared
	for i := range rules.Quotas {
		q := &rules.Quotas[i]
		if span, ok := q.Span(repo); ok {
			list = append(list, shared{q, span})
		}
	}
	return list
}

// bounded calls do, which writes to the repository, and returns a RuleError where
// it has made more of something than a quota has. What adds nothing is let
// through, however much there is.
func (r *Registry) bounded(tx *meta.Tx, repo oci.Name, do func() error) error {
	quotas := r.quotasOf(repo)
	if len(quotas) == 0 {
		return do()
	}
	before, err := tx.RepositoryUsage(repo)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	after, err := tx.RepositoryUsage(repo)
	if err != nil {
		return err
	}
	added := registry.Usage{
		Repositories: after.Repositories - before.Repositories,
		Bytes:        after.Bytes - before.Bytes,
		Tags:         after.Tags - before.Tags,
	}
	if added == (registry.Usage{}) {
		return nil
	}
	for _, q := range quotas {
		now, err := tx.Usage(q.span)
		if err != nil {
			return err
		}
		now.Repositories -= added.Repositories
		now.Bytes -= added.Bytes
		now.Tags -= added.Tags
		if err := q.check(now, added); err != nil {
			return err
		}
	}
	return nil
}

// check returns a RuleError where what is used leaves no room for what is added.
func (q *Quota) check(used, added registry.Usage) error {
	const clear = "delete what is not needed, whose bytes are free when the sweep has run, or ask for more"
	switch {
	case q.Limit.Bytes > 0 && added.Bytes > 0 && used.Bytes >= q.Limit.Bytes:
		return q.refuse("%s of %s are used: %s", bytesText(used.Bytes), bytesText(q.Limit.Bytes), clear)
	case q.Limit.Bytes > 0 && added.Bytes > 0 && added.Bytes > q.Limit.Bytes-used.Bytes:
		return q.refuse("%s of %s are used, and this takes %s: %s", bytesText(used.Bytes), bytesText(q.Limit.Bytes), bytesText(added.Bytes), clear)
	case q.Limit.Repositories > 0 && added.Repositories > 0 && used.Repositories >= q.Limit.Repositories:
		return q.refuse("%d of %d repositories are there: remove one, or ask for more", used.Repositories, q.Limit.Repositories)
	case q.Limit.Tags > 0 && added.Tags > 0 && added.Tags > q.Limit.Tags-used.Tags:
		return q.refuse("%d of %d tags are there: delete some, or ask for more", used.Tags, q.Limit.Tags)
	}
	return nil
}

func (q *Quota) refuse(format string, args ...any) error {
	return &registry.RuleError{Kind: registry.RuleQuota, Rule: q.Name, Message: q.Name + " has no room: " + fmt.Sprintf(format, args...)}
}

// bytesText tells a number of bytes with a unit, rounded down.
func bytesText(n int64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	i, size := -1, float64(n)
	for size >= 1<<10 {
		i, size = i+1, size/(1<<10)
	}
	return fmt.Sprintf("%.1f %ciB", math.Floor(size*10)/10, units[i])
}

// A room is what a quota leaves for one upload. It is looked at before bytes are
// taken in vain; the commit decides.
type room struct {
	quota *Quota
	used  int64
}

// room returns the least room that a quota of the repository has; nil, where
// none bounds bytes. Errors: a RuleError where there is none for so many bytes,
// unless they are 0, or for one more repository.
func (r *Registry) room(ctx context.Context, repo oci.Name, bytes int64) (*room, error) {
	quotas := r.quotasOf(repo)
	if len(quotas) == 0 {
		return nil, nil
	}
	added := registry.Usage{Bytes: bytes}
	var least *room
	err := r.db.View(ctx, func(tx *meta.Tx) error {
		here, err := tx.RepositoryUsage(repo)
		if err != nil {
			return err
		}
		if bytes > 0 {
			added.Repositories = 1 - here.Repositories
		}
		for _, q := range quotas {
			used, err := tx.Usage(q.span)
			if err != nil {
				return err
			}
			if err := q.check(used, added); err != nil {
				return err
			}
			if q.Limit.Bytes > 0 && (least == nil || q.Limit.Bytes-used.Bytes < least.quota.Limit.Bytes-least.used) {
				least = &room{q.Quota, used.Bytes}
			}
		}
		return nil
	})
	return least, err
}

// take returns a RuleError where an upload of that size has no room.
func (m *room) take(size int64) error {
	if m == nil || size <= m.quota.Limit.Bytes-m.used {
		return nil
	}
	return m.quota.check(registry.Usage{Bytes: m.used}, registry.Usage{Bytes: size})
}
