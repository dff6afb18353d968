package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/auth"
	"berth/oci"
	"berth/registry"
)

// A Limit is what a credential is narrowed to; it is an auth.Limit. It does not
// change, and is safe for concurrent use. The package comment says what it
// means.
type Limit struct {
	actions  Action         // with what they include; never Admin
	patterns []pattern      // none: every repository
	from     []netip.Prefix // none: every address
	gives    bool
	text     string
}

// NewLimit returns a Limit that lets through actions on repositories that one of
// the patterns matches, for clients in one of the networks. No action, or "*",
// is all but admin; no pattern is every repository, and no network every
// address. Its error holds all that is wrong, a line each.
func NewLimit(repositories, actions []string, from []netip.Prefix) (*Limit, error) {
	l := &Limit{from: slices.Clone(from)}
	errs := checkNetworks(from)
	for _, s := range repositories {
		p, err := compilePattern(s)
		if err == nil && strings.IndexByte(p.text, userMark) >= 0 {
			err = fmt.Errorf("the limit is one user's: write his name in the place of %s", userWord)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pattern %q of repositories: %w", s, err))
		}
		l.patterns = append(l.patterns, p)
	}
	if len(actions) == 0 {
		l.actions = All
	}
	for _, name := range actions {
		a, err := limitAction(name)
		if err != nil {
			errs = append(errs, err)
		}
		l.actions |= a | a.included()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l.text = limitText(repositories, actions, from)
	return l, nil
}

func limitAction(name string) (Action, error) {
	if name == wildcard {
		return All, nil
	}
	a, err := ParseAction(name)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w, or \"*\"", err)
	case a == Admin:
		return 0, errors.New("action admin is for users alone: no robot or token manages the registry")
	}
	return a, nil
}

func limitText(repositories, actions []string, from []netip.Prefix) string {
	text := "everything but admin"
	if len(actions) > 0 && !slices.Contains(actions, wildcard) {
		text = strings.Join(actions, ", ")
	}
	if len(repositories) > 0 {
		text += " on " + strings.Join(repositories, ", ")
	}
	for i, network := range from {
		text += []string{" from ", ", "}[min(i, 1)] + network.String()
	}
	return text
}

// String implements auth.Limit: "pull, push on team/** from 10.0.0.0/8".
func (l *Limit) String() string { return l.text }

// Giving returns l as a Limit that gives what it lets through, with no need of a
// rule that allows it: for a robot that acts for nobody. Where there is an
// owner it gives nothing.
func (l *Limit) Giving() *Limit {
	giving := *l
	giving.gives = true
	return &giving
}

// LetsFrom reports whether l lets anything through for a client of that address.
// One that is not known is in no network.
func (l *Limit) LetsFrom(addr netip.Addr) bool {
	return len(l.from) == 0 || inNetworks(l.from, addr.Unmap().WithZone(""))
}

// lets reports whether l lets q through.
func (l *Limit) lets(q *question) bool {
	if l.actions&q.action == 0 || !l.LetsFrom(q.addr) {
		return false
	}
	if len(l.patterns) == 0 || q.repository == "" {
		return true
	}
	for i := range l.patterns {
		if l.patterns[i].matches(q.repository, "") {
			return true
		}
	}
	return false
}

// narrowed reports whether id is here by a credential that may be less than it
// is.
func narrowed(id *auth.Identity) bool { return id.Limit != nil || id.Owner != nil }

// limitOf returns the limit of id; nil, which lets nothing through, when it is
// none of this package's, or for an owner who is narrowed himself.
func limitOf(id *auth.Identity) *Limit {
	l, ok := id.Limit.(*Limit)
	if !ok || id.Anonymous() || id.Owner != nil && (id.Owner.Anonymous() || narrowed(id.Owner)) {
		return nil
	}
	return l
}

// within answers q, the caller's, who is narrowed: what his limit lets through
// and the rules allow whom he acts for, but for what they deny himself.
func (p *Policy) within(q *question, c *Caller) Decision {
	l := limitOf(&c.Identity)
	switch {
	case l == nil || !l.lets(q):
		return Decision{Rule: -1, Reason: reasonLimit}
	case q.repository == "":
		return Decision{Allow: true, Rule: -1, Reason: reasonFiltered}
	case c.Owner == nil && !l.gives:
		return p.byRules(q)
	}
	q.deniesOnly = true
	own := p.byRules(q)
	if c.Owner == nil || !own.Allow && !own.NeedTags {
		return own
	}
	q.deniesOnly = false
	q.as(c.Owner)
	owners := p.byRules(q)
	if owners.Allow && own.NeedTags {
		return own
	}
	return owners
}

// visibleWithin returns the repositories in which c, who is narrowed, may do
// action to something. It keeps c.
func (p *Policy) visibleWithin(c *Caller, action Action) *registry.Visibility {
	v := &registry.Visibility{Match: func(name oci.Name) bool { return p.may(c, action, name) }}
	q := newQuestion(&Request{Caller: c, Action: action})
	l := limitOf(&c.Identity)
	if c.Expired || l == nil || !l.lets(&q) {
		return v
	}
	v.Spans = join(patternSpans(l.patterns, ""))
	if c.Owner == nil && l.gives {
		return v
	}
	holder := *c
	if c.Owner != nil {
		holder.Identity = *c.Owner
	}
	holder.Limit, holder.Owner = nil, nil
	held := p.visibility(&holder, action)
	if held == nil {
		return v
	}
	held.Match = nil // v's is of all that there is to say
	return registry.Both(v, held)
}

// limitReason says what the credential of c is for, as people read it.
func limitReason(c *Caller) string {
	if l := limitOf(&c.Identity); l != nil {
		return "the credential is only for " + l.String()
	}
	return "the credential has a limit that cannot be told, and so is for nothing"
}
