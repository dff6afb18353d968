package access

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"berth/oci"
)

// An Explanation says what a policy answers to a request, and why.
type Explanation struct {
	Question   string     `json:"question"`
	Allowed    bool       `json:"allowed"`
	NeedTags   bool       `json:"needTags,omitempty"` // it depends on tags that were not given
	Reason     string     `json:"reason"`
	Rule       *RuleText  `json:"rule,omitempty"` // the one that decided
	NearMisses []NearMiss `json:"nearMisses,omitempty"`
	// Note is what whoever asked knows besides, and the answer does not reckon
	// with.
	Note string `json:"note,omitempty"`
}

// A RuleText is a rule for people.
type RuleText struct {
	Number  int    `json:"number"`         // from 1, in the order of the configuration
	Line    int    `json:"line,omitempty"` // of the configuration
	Text    string `json:"text"`           // the rule as one line of YAML
	Comment string `json:"comment,omitempty"`
}

// A NearMiss is a rule that would have allowed the request but for one
// condition.
type NearMiss struct {
	Rule      RuleText `json:"rule"`
	Condition string   `json:"condition"` // the key: name, group, from, action, repositories or tags
	Why       string   `json:"why"`
}

// Explain answers r as Decide does, and says why. Its answer is for admins; for
// the caller himself there is Redacted.
func (p *Policy) Explain(r Request) Explanation {
	d := p.Decide(r)
	e := Explanation{
		Question: describe(&r),
		Allowed:  d.Allow,
		NeedTags: d.NeedTags,
		Reason:   d.Reason,
	}
	switch d.Reason {
	case reasonNoRequest:
		return e
	case reasonCeiling:
		if p.leaves(r.Caller) {
			e.Reason = "the token is only for " + ceiling(r.Caller)
			return e
		}
		// A token is for what the rules allowed when it was made: where they
		// still do not, they are the reason.
		byRules := p.decide(&r)
		if byRules.Allow || byRules.NeedTags {
			e.Reason = "the rules allow it, but the token is only for " + ceiling(r.Caller)
			return e
		}
		d, e.Reason = byRules, byRules.Reason
	}
	if d.Reason == reasonLimit {
		e.Reason = limitReason(r.Caller)
		return e
	}
	if d.Rule >= 0 {
		text := p.rules[d.Rule].text()
		e.Rule = &text
	}
	if d.Reason == reasonNoRule || d.NeedTags {
		e.NearMisses = p.nearMisses(&r)
	}
	return e
}

// Redacted returns e without the rules.
func (e Explanation) Redacted() Explanation {
	e.Rule, e.NearMisses = nil, nil
	return e
}

// String returns e as lines of text.
func (e Explanation) String() string {
	var b strings.Builder
	answer := "denied"
	switch {
	case e.Allowed:
		answer = "allowed"
	case e.NeedTags:
		answer = "depends on tags"
	}
	fmt.Fprintf(&b, "%s: %s, because %s\n", e.Question, answer, e.Reason)
	if e.Rule != nil {
		fmt.Fprintf(&b, "%s\n", e.Rule)
	}
	if e.Note != "" {
		fmt.Fprintf(&b, "%s\n", e.Note)
	}
	for _, miss := range e.NearMisses {
		fmt.Fprintf(&b, "but for %s, there is %s\n  %s\n", miss.Condition, miss.Rule, miss.Why)
	}
	return b.String()
}

func (t RuleText) String() string {
	s := fmt.Sprintf("%s: %s", place("rule", t.Number-1, t.Line), t.Text)
	if t.Comment != "" {
		s += " # " + t.Comment
	}
	return s
}

// describe returns the request as people say it.
func describe(r *Request) string {
	if r.Caller == nil {
		return "nobody"
	}
	var b strings.Builder
	if r.Caller.Anonymous() {
		b.WriteString(anonymous)
	} else {
		b.WriteString("user " + r.Caller.Name)
	}
	writeGroups(&b, r.Caller.Groups)
	if owner := r.Caller.Owner; owner != nil {
		b.WriteString(" for " + owner.Name)
		writeGroups(&b, owner.Groups)
	}
	if r.Caller.Addr.IsValid() {
		b.WriteString(" from " + r.Caller.Addr.String())
	}
	fmt.Fprintf(&b, ", %s", r.Action)
	if r.Repository != "" {
		b.WriteString(" " + string(r.Repository))
	}
	switch {
	case r.ByDigest && len(r.Tags) > 0:
		b.WriteString(" by digest, with tags " + joinTags(r.Tags))
	case r.ByDigest:
		b.WriteString(" by digest")
	case len(r.Tags) > 0:
		b.WriteString(":" + joinTags(r.Tags))
	}
	return b.String()
}

func writeGroups(b *strings.Builder, groups []string) {
	if len(groups) > 0 {
		b.WriteString(" of " + strings.Join(groups, ", "))
	}
}

func joinTags(tags []oci.Tag) string {
	var b strings.Builder
	for i, tag := range tags {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(string(tag))
	}
	return b.String()
}

// ceiling returns what a token is for, as people read it.
func ceiling(c *Caller) string {
	if len(c.Ceiling) == 0 {
		return "nothing"
	}
	var scopes []string
	for _, s := range c.Ceiling {
		scopes = append(scopes, s.String())
	}
	return strings.Join(scopes, " ")
}

// maxMisses is how many near misses are named.
const maxMisses = 10

// conditions are the keys of a rule, the one whose failing tells most first:
// who is short of a tag is nearer than who asks for something else.
var conditions = [...]string{"tags", "from", "action", "group", "name", "repositories"}

// nearMisses returns the allows of which exactly one condition does not hold,
// the nearest first.
func (p *Policy) nearMisses(r *Request) []NearMiss {
	q := newQuestion(r)
	if owner := r.Caller.Owner; owner != nil {
		q.as(owner)
	}
	if q.about == aboutTag {
		q.tag = p.firstRefused(&q)
	}
	var misses []NearMiss
	for _, rule := range p.rules {
		if rule.Deny || r.Repository == "" && len(rule.patterns) > 0 {
			continue
		}
		if unmet := rule.unmet(&q); len(unmet) == 1 {
			misses = append(misses, NearMiss{rule.text(), unmet[0], rule.why(unmet[0], &q)})
		}
	}
	slices.SortStableFunc(misses, func(a, b NearMiss) int {
		return cmp.Compare(slices.Index(conditions[:], a.Condition), slices.Index(conditions[:], b.Condition))
	})
	return misses[:min(len(misses), maxMisses)]
}

// firstRefused returns the first of several tags that is not allowed.
func (p *Policy) firstRefused(q *question) oci.Tag {
	for _, q.tag = range q.tags {
		if !p.answer(q).Allow {
			break
		}
	}
	return q.tag
}

// unmet returns which of the conditions do not hold for r.
func (r *rule) unmet(q *question) []string {
	tags, _ := r.holdsTags(q)
	holds := [...]bool{tags, r.holdsFrom(q), r.holdsAction(q), r.holdsGroup(q), r.holdsName(q), r.holdsRepository(q)}
	var unmet []string
	for i, condition := range conditions {
		if !holds[i] {
			unmet = append(unmet, condition)
		}
	}
	return unmet
}

// why says how a condition of r fails.
func (r *rule) why(condition string, q *question) string {
	switch condition {
	case "name":
		return fmt.Sprintf("the caller is %s, the rule is for %s", q.who.Subject, listed(r.Names))
	case "group":
		if len(q.who.Groups) == 0 {
			return fmt.Sprintf("the caller is in no group, the rule is for %s", listed(r.Groups))
		}
		return fmt.Sprintf("the caller is in %s, the rule is for %s", listed(q.who.Groups), listed(r.Groups))
	case "from":
		if !q.addr.IsValid() {
			return fmt.Sprintf("the address is not known, the rule is for %s", listed(r.networks()))
		}
		return fmt.Sprintf("the address is %s, the rule is for %s", q.addr, listed(r.networks()))
	case "action":
		return fmt.Sprintf("the action is %s, the rule is for %s", q.action, listed(r.Actions))
	case "repositories":
		return fmt.Sprintf("the repository is %s, the rule is for %s", q.repository, listed(r.Repositories))
	}
	asked := "no tag is given"
	switch {
	case q.about == aboutTag:
		asked = "the tag is " + string(q.tag)
	case q.about == aboutDigest:
		asked = "no such tag reaches the content"
	}
	return fmt.Sprintf("%s, the rule is for %s", asked, listed(r.Tags))
}
