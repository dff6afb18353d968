package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// A RetentionRule says what goes from repositories by itself.
type RetentionRule struct {
	Repository func(oci.Name) bool
	// Tag picks the tags that the rule is about. Of these it keeps the newest Keep,
	// those that were pushed Within that time, and those whose manifest was read
	// within Pulled; with none of the three it is about no tags. A tag that any rule
	// keeps stays, as one does that no rule is about.
	Tag            func(oci.Tag) bool
	Keep           int
	Within, Pulled time.Duration
	// Untagged, unless nil, has manifests go that for that long no tag has named,
	// nobody has pushed or read, and no other manifest keeps; never within a lease,
	// as somebody may have been told of them. Of several rules, the longest time
	// counts.
	Untagged *time.Duration
}

func (r *RetentionRule) removesTags() bool { return r.Keep > 0 || r.Within > 0 || r.Pulled > 0 }

const (
	// pullsSetting says since when it is known when manifests are read.
	pullsSetting = "pulls"
	// replans is how often a repository is looked at anew, when others change what
	// its newest tags are meanwhile.
	replans = 3
	// maxHolders bounds what is removed together with what it keeps.
	maxHolders = 1000
)

// retain removes what rules of retention give up.
func (s *sweep) retain(ctx context.Context) error {
	if len(s.o.Retention) == 0 && !s.o.Untagged {
		return nil
	}
	if err := s.r.WritePulls(ctx); err != nil {
		return err
	}
	pullsSince, err := s.pullsSince(ctx)
	if err != nil {
		return err
	}
	return s.eachRepository(ctx, func(row meta.RepositoryRow) error {
		if row.Manifests == 0 {
			return nil
		}
		p := s.planFor(row, pullsSince)
		if err := p.tags(ctx); err != nil {
			return err
		}
		return p.untagged(ctx)
	})
}

// pullsSince returns since when it is known when manifests are read. Whatever was
// not read since then, and was not read before, nobody knows.
func (s *sweep) pullsSince(ctx context.Context) (since time.Time, err error) {
	var text string
	err = s.r.db.Lookup(ctx, func(tx *meta.Tx) (err error) {
		text, err = tx.Setting(pullsSetting)
		return err
	})
	switch {
	case err == nil:
		return time.Parse(time.RFC3339Nano, text)
	case !errors.Is(err, meta.ErrNotExist):
		return time.Time{}, err
	case s.o.DryRun:
		return s.began, nil
	}
	return s.began, s.update(ctx, func(tx *meta.Tx) error {
		return tx.PutSetting(pullsSetting, s.began.UTC().Format(time.RFC3339Nano))
	})
}

// A retentionPlan is what the rules say about one repository.
type retentionPlan struct {
	s          *sweep
	row        meta.RepositoryRow
	pullsSince time.Time
	rules      []plannedRule // that are about tags
	age        time.Duration // of untagged manifests that go; negative for none
	ageRule    int
	gone       []meta.ManifestUse // of a dry run
}

// A plannedRule is a rule with the newest tags that it keeps, the oldest last.
type plannedRule struct {
	*RetentionRule
	number int // from 1
	newest []meta.TagUse
}

func (s *sweep) planFor(row meta.RepositoryRow, pullsSince time.Time) *retentionPlan {
	p := &retentionPlan{s: s, row: row, pullsSince: pullsSince, age: -1}
	for i := range s.o.Retention {
		r := &s.o.Retention[i]
		if !r.Repository(row.Name) {
			continue
		}
		if r.removesTags() {
			p.rules = append(p.rules, plannedRule{RetentionRule: r, number: i + 1})
		}
		if r.Untagged != nil && *r.Untagged > p.age {
			p.age, p.ageRule = *r.Untagged, i+1
		}
	}
	if s.o.Untagged {
		p.age, p.ageRule = 0, 0
	}
	if p.age >= 0 {
		p.age = max(p.age, s.grace+s.grace/leasePart)
	}
	return p
}

// newer orders tags, the newest first.
func newer(a, b meta.TagUse) int {
	return cmp.Or(b.Updated.Compare(a.Updated), cmp.Compare(b.Tag, a.Tag))
}

// consider lets t take its place among the newest.
func (r *plannedRule) consider(t meta.TagUse) {
	if r.Keep == 0 || !r.Tag(t.Tag) {
		return
	}
	i, _ := slices.BinarySearchFunc(r.newest, t, newer)
	if i < r.Keep {
		r.newest = slices.Insert(r.newest, i, t)
		r.newest = r.newest[:min(len(r.newest), r.Keep)]
	}
}

// keeps reports whether the rule keeps a tag that it is about.
func (p *retentionPlan) keeps(r *plannedRule, t meta.TagUse) bool {
	now := p.s.began
	switch {
	case r.Keep > 0 && (len(r.newest) < r.Keep || newer(t, r.newest[len(r.newest)-1]) <= 0):
		return true
	case r.Within > 0 && t.Updated.After(now.Add(-r.Within)):
		return true
	}
	return r.Pulled > 0 && p.lastPulled(t).After(now.Add(-r.Pulled))
}

// lastPulled is when the tag was last read, as far as that is known. What was
// pushed later counts as read.
func (p *retentionPlan) lastPulled(t meta.TagUse) time.Time {
	last := p.pullsSince
	for _, at := range []time.Time{t.Updated, t.Pulled} {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// gives returns the first rule that gives up a tag which none keeps, nil where it
// stays, as one does that is immutable.
func (p *retentionPlan) gives(t meta.TagUse) *plannedRule {
	if p.s.r.immutable(p.row.Name, t.Tag) != nil {
		return nil
	}
	var first *plannedRule
	for i := range p.rules {
		r := &p.rules[i]
		if !r.Tag(t.Tag) {
			continue
		}
		if p.keeps(r, t) {
			return nil
		}
		if first == nil {
			first = r
		}
	}
	return first
}

// why says why the rule does not keep a tag.
func (r *plannedRule) why(t meta.TagUse, now time.Time) string {
	reasons := []string{"pushed " + days(now.Sub(t.Updated)) + " ago"}
	if r.Keep > 0 {
		reasons = append(reasons, "not among the newest "+strconv.Itoa(r.Keep))
	}
	if r.Pulled > 0 {
		reasons = append(reasons, "not pulled for "+days(r.Pulled))
	}
	return strings.Join(reasons, ", ")
}

// days tells a duration in days, or in hours when it is short.
func days(d time.Duration) string {
	const day = 24 * time.Hour
	if d < 2*day {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", d/day)
}

// errReplan says that others have changed what the newest tags are.
var errReplan = errors.New("the newest tags have changed")

// tags removes the tags that no rule keeps.
func (p *retentionPlan) tags(ctx context.Context) error {
	if len(p.rules) == 0 {
		return nil
	}
	for range replans {
		for i := range p.rules {
			p.rules[i].newest = nil
		}
		err := p.eachTags(ctx, func(page []meta.TagUse) error {
			for _, t := range page {
				for i := range p.rules {
					p.rules[i].consider(t)
				}
			}
			return nil
		})
		if err == nil {
			err = p.eachTags(ctx, func(page []meta.TagUse) error { return p.removeTags(ctx, page) })
		}
		if !errors.Is(err, errReplan) {
			return err
		}
	}
	return nil // next time
}

func (p *retentionPlan) eachTags(ctx context.Context, do func([]meta.TagUse) error) error {
	var after oci.Tag
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		var page []meta.TagUse
		err := p.s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.TagUses(p.row.ID, after, sweepPage)
			return err
		})
		if err == nil {
			err = do(page)
		}
		if err != nil || len(page) < sweepPage {
			return err
		}
		after = page[len(page)-1].Tag
	}
}

func (p *retentionPlan) removeTags(ctx context.Context, page []meta.TagUse) error {
	var given []meta.TagUse
	for _, t := range page {
		if p.gives(t) != nil {
			given = append(given, t)
		}
	}
	for batch := range slices.Chunk(given, sweepBatch) {
		var removed []registry.Removal
		var err error
		if p.s.o.DryRun {
			for _, t := range batch {
				removed = append(removed, p.removal(t))
			}
		} else if removed, err = p.removeTagBatch(ctx, batch); err != nil {
			return err
		}
		if len(removed) > 0 {
			p.s.report.Tags += len(removed)
			p.s.repo(p.row.Name).Tags += len(removed)
			p.s.removed(removed)
		}
	}
	return nil
}

func (p *retentionPlan) removal(t meta.TagUse) registry.Removal {
	r := p.gives(t)
	return registry.Removal{Repository: p.row.Name, Tag: t.Tag, Digest: t.Digest, Rule: r.number, Reason: r.why(t, p.s.began)}
}

// removed tells of removals: those who listen or, of a dry run, the report.
func (s *sweep) removed(list []registry.Removal) {
	switch {
	case s.o.DryRun:
		s.report.Removals = append(s.report.Removals, list...)
	case s.o.Removed != nil:
		for _, r := range list {
			s.o.Removed(r)
		}
	}
}

// removeTagBatch decides once more, in the transaction that removes. Errors:
// errReplan.
func (p *retentionPlan) removeTagBatch(ctx context.Context, batch []meta.TagUse) (removed []registry.Removal, err error) {
	names := make([]manifestName, 0, len(batch))
	for _, t := range batch {
		names = append(names, manifestName{p.row.Name, oci.Reference{Tag: t.Tag}})
	}
	defer p.s.r.manifests.hold(names...)()
	err = p.s.update(ctx, func(tx *meta.Tx) error {
		removed = nil
		if err := p.checkNewest(tx); err != nil {
			return err
		}
		for _, t := range batch {
			now, err := tx.TagUse(p.row.ID, t.Tag)
			if errors.Is(err, meta.ErrNotExist) || err == nil && p.gives(now) == nil {
				continue
			}
			if err == nil {
				err = tx.LoseTag(p.row.ID, t.Tag, "", p.s.began)
			}
			if err == nil {
				err = tx.DeleteTag(p.row.ID, t.Tag)
			}
			if err != nil {
				return err
			}
			removed = append(removed, p.removal(now))
		}
		return nil
	})
	return removed, err
}

// checkNewest checks that the newest tags that each rule keeps are still there,
// and as new.
func (p *retentionPlan) checkNewest(tx *meta.Tx) error {
	for _, r := range p.rules {
		for _, t := range r.newest {
			now, err := tx.TagUse(p.row.ID, t.Tag)
			if errors.Is(err, meta.ErrNotExist) || err == nil && now.Updated.Before(t.Updated) {
				return errReplan
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// untagged removes the manifests that no tag names, and that nothing keeps.
func (p *retentionPlan) untagged(ctx context.Context) error {
	if p.age < 0 {
		return nil
	}
	used := p.s.began.Add(-p.age)
	var after oci.Digest
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var end oci.Digest
		var given []oci.Digest
		err := p.s.r.db.View(ctx, func(tx *meta.Tx) (err error) {
			if end, more, err = tx.ManifestPage(p.row.ID, after, sweepPage); err != nil {
				return err
			}
			list, err := tx.UntaggedManifests(p.row.ID, after, end, more, used)
			for _, d := range list {
				held, err := p.held(tx, d, used)
				if err != nil {
					return err
				}
				if held != nil {
					given = append(given, d)
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		for batch := range slices.Chunk(given, sweepBatch) {
			if err := p.removeManifests(ctx, batch, used); err != nil {
				return err
			}
		}
		after = end
	}
	return p.foretell(ctx)
}

// held returns the manifest and all that keeps it, when all of it is to go, else
// nil: what has a tag, or was of use since then, keeps what it names, and is kept
// by what refers to it as its subject.
func (p *retentionPlan) held(tx *meta.Tx, d oci.Digest, used time.Time) ([]meta.ManifestUse, error) {
	list, err := tx.Holders(p.row.ID, d, maxHolders)
	if err != nil || len(list) == maxHolders {
		return nil, err
	}
	for _, m := range list {
		read := p.s.r.pulls.last(blobName{p.row.Name, m.Digest}) // may not be written yet
		if m.Tagged || !m.Used.Before(used) || !read.Before(used) {
			return nil, nil
		}
	}
	return list, nil
}

// removeManifests removes manifests with what keeps them, so that no index is left
// without its children, in one transaction that decides once more.
func (p *retentionPlan) removeManifests(ctx context.Context, batch []oci.Digest, used time.Time) error {
	var gone []meta.ManifestUse
	look := func(tx *meta.Tx, remove func(meta.ManifestUse) error) error {
		gone = nil
		done := make(map[oci.Digest]bool)
		for _, d := range batch {
			list, err := p.held(tx, d, used)
			if err != nil {
				return err
			}
			for _, m := range list {
				if done[m.Digest] {
					continue
				}
				done[m.Digest] = true
				if err := remove(m); err != nil {
					return err
				}
				gone = append(gone, m)
			}
		}
		return nil
	}
	var err error
	if p.s.o.DryRun {
		err = p.s.r.db.View(ctx, func(tx *meta.Tx) error {
			return look(tx, func(meta.ManifestUse) error { return nil })
		})
		gone = slices.DeleteFunc(gone, func(m meta.ManifestUse) bool { return !p.s.dry.remove(p.row, m) })
		p.gone = append(p.gone, gone...)
	} else {
		release := p.s.r.manifests.holdAll()
		err = p.s.update(ctx, func(tx *meta.Tx) error {
			return look(tx, func(m meta.ManifestUse) error { return p.removeManifest(tx, m) })
		})
		release()
	}
	if err != nil {
		return err
	}
	p.report(gone)
	return nil
}

// removeManifest removes one. The leases of its blobs begin anew: somebody may
// have been told of them.
func (p *retentionPlan) removeManifest(tx *meta.Tx, m meta.ManifestUse) error {
	if err := tx.RenewLinks(p.row.ID, m.Digest, p.s.r.o.Now()); err != nil {
		return err
	}
	_, err := tx.DeleteManifest(p.row.ID, m.Digest)
	return err
}

// report reports manifests that are gone.
func (p *retentionPlan) report(gone []meta.ManifestUse) {
	if len(gone) == 0 {
		return
	}
	removed := make([]registry.Removal, 0, len(gone))
	for _, m := range gone {
		removed = append(removed, registry.Removal{Repository: p.row.Name, Digest: m.Digest, Rule: p.ageRule,
			Reason: "without a tag, and of no use for " + days(p.s.began.Sub(m.Used))})
	}
	p.s.repo(p.row.Name).Manifests += len(gone)
	p.s.report.Manifests += len(gone)
	p.s.removed(removed)
}

// foretell adds, in a dry run, the bytes that go when the leases are over which
// begin anew when manifests are removed.
func (p *retentionPlan) foretell(ctx context.Context) error {
	if len(p.gone) == 0 {
		return nil
	}
	return p.s.r.db.View(ctx, func(tx *meta.Tx) error {
		bytes, err := p.s.dry.release(tx, p.row, p.gone)
		p.s.repo(p.row.Name).Later += bytes
		return err
	})
}
