package local

import (
	"errors"
	"fmt"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// Rules say what may be written, beyond who may write. They bind everybody, and
// are decided in the transaction that writes.
type Rules struct {
	Immutable []ImmutableRule
	Quotas    []Quota
}

// An ImmutableRule lets tags that are there neither move nor go, nor what they
// need.
type ImmutableRule struct {
	Name       string // as who is refused knows it
	Repository func(oci.Name) bool
	Tag        func(oci.Tag) bool
}

// SetRules puts rules in force, in the place of those before.
func (r *Registry) SetRules(rules Rules) { r.rules.Store(&rules) }

// immutable returns the rule that keeps the tag as it is, once it is there; nil
// for none. It is the one place that says so: whoever moves or removes tags asks
// here, within his transaction.
func (r *Registry) immutable(repo oci.Name, t oci.Tag) *ImmutableRule {
	rules := r.rules.Load()
	if rules == nil {
		return nil
	}
	for i := range rules.Immutable {
		if rule := &rules.Immutable[i]; rule.Repository(repo) && rule.Tag(t) {
			return rule
		}
	}
	return nil
}

// hasImmutable reports whether tags of the repository may be immutable.
func (r *Registry) hasImmutable(repo oci.Name) bool {
	rules := r.rules.Load()
	if rules == nil {
		return false
	}
	for i := range rules.Immutable {
		if rules.Immutable[i].Repository(repo) {
			return true
		}
	}
	return false
}

// checkMove returns a RuleError where one of the tags may not come to name d, or
// nothing when d is "".
func (r *Registry) checkMove(tx *meta.Tx, id meta.RepositoryID, repo oci.Name, tags []oci.Tag, d oci.Digest) error {
	for _, t := range tags {
		rule := r.immutable(repo, t)
		if rule == nil {
			continue
		}
		now, err := tx.Tag(id, t)
		switch {
		case errors.Is(err, meta.ErrNotExist):
		case err != nil:
			return err
		case d == "":
			return rule.refuse("tag %s may not be removed: it is immutable", t)
		case now != d:
			return rule.refuse("tag %s names %s and may not be moved: it is immutable; push under another tag", t, now)
		}
	}
	return nil
}

// checkRemoval returns a RuleError where an immutable tag needs d, a manifest or
// a blob of the repository.
func (r *Registry) checkRemoval(tx *meta.Tx, repo oci.Name, d oci.Digest) error {
	return r.checkTags(tx, repo, "%[2]s may not be removed: the immutable tag %[1]s needs it", d,
		func(id meta.RepositoryID, after oci.Tag) ([]registry.TagInfo, error) {
			return tx.TagsNeeding(id, d, after, registry.MaxPage)
		})
}

// checkRemovalOfAll returns a RuleError where the repository holds an immutable
// tag.
func (r *Registry) checkRemovalOfAll(tx *meta.Tx, repo oci.Name) error {
	return r.checkTags(tx, repo, "%[2]s may not be removed: its tag %[1]s is immutable", repo,
		func(id meta.RepositoryID, after oci.Tag) ([]registry.TagInfo, error) {
			return tx.Tags(id, registry.TagQuery{After: after, Limit: registry.MaxPage})
		})
}

// checkTags returns a RuleError about the first tag of a listing that is
// immutable; format says so of the tag and of what.
func (r *Registry) checkTags(tx *meta.Tx, repo oci.Name, format string, what any,
	list func(meta.RepositoryID, oci.Tag) ([]registry.TagInfo, error)) error {
	if !r.hasImmutable(repo) {
		return nil
	}
	id, err := tx.Repository(repo)
	if errors.Is(err, meta.ErrNotExist) {
		return nil
	}
	var after oci.Tag
	for err == nil {
		var page []registry.TagInfo
		page, err = list(id, after)
		for _, t := range page {
			if rule := r.immutable(repo, t.Tag); rule != nil {
				return rule.refuse(format, t.Tag, what)
			}
		}
		if len(page) < registry.MaxPage {
			break
		}
		after = page[len(page)-1].Tag
	}
	return err
}

func (rule *ImmutableRule) refuse(format string, args ...any) error {
	return &registry.RuleError{Kind: registry.RuleImmutable, Rule: rule.Name, Message: fmt.Sprintf(format, args...) + " (" + rule.Name + ")"}
}
