package access

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/auth"
	"berth/oci"
)

// A Rule is one entry of access: in the configuration. The package comment
// says what it means.
type Rule struct {
	Names        []string
	Groups       []string
	Type         string   // TypeRegistry or TypeRepository
	Repositories []string // patterns, with TypeRepository
	Tags         []string // patterns; none: whatever the tag
	From         []netip.Prefix
	Deny         bool
	Actions      []string
	Comment      string
	Line         int // of the configuration file, 0 when not known
}

// What a rule is about.
const (
	TypeRegistry   = "registry"
	TypeRepository = "repository"
)

// Words of a rule that are no names.
const (
	anonymous = "anonymous"
	wildcard  = "*"
)

// A rule is a Rule that was checked.
type rule struct {
	Rule
	index     int
	everybody bool // Names holds whoever asks
	loggedIn  bool // Names holds every logged-in user
	// actions are what an allow gives, or a deny takes, with what that
	// includes. That a pull includes Fetch depends on the caller.
	actions  Action
	patterns []pattern // none: every repository
}

// compileRule checks r, which is the rule of that index, and returns all that
// is wrong with it.
func compileRule(index int, r Rule) (*rule, error) {
	c := &rule{Rule: r, index: index}
	errs := slices.Concat(c.compileWho(), c.compileWhat(), c.compileActions())
	for i, err := range errs {
		errs[i] = fmt.Errorf("access %s: %w", c.place(), err)
	}
	return c, errors.Join(errs...)
}

// place says which rule it is, for people.
func (r *rule) place() string { return place("rule", r.index, r.Line) }

func place(what string, index, line int) string {
	if line > 0 {
		return fmt.Sprintf("%s %d (line %d)", what, index+1, line)
	}
	return fmt.Sprintf("%s %d", what, index+1)
}

func (r *rule) compileWho() (errs []error) {
	if len(r.Names) == 0 && len(r.Groups) == 0 {
		errs = append(errs, errors.New("says nobody: give name, group, or both"))
	}
	for _, name := range r.Names {
		switch name {
		case anonymous:
			r.everybody = true
		case wildcard:
			r.everybody = r.everybody || r.Deny
			r.loggedIn = true
		default:
			if err := auth.CheckName(name); err != nil {
				errs = append(errs, fmt.Errorf("name %q: %w", name, err))
			}
		}
	}
	for _, group := range r.Groups {
		if err := auth.CheckName(group); err != nil {
			errs = append(errs, fmt.Errorf("group %q: %w", group, err))
		}
	}
	return append(errs, checkNetworks(r.From)...)
}

func checkNetworks(networks []netip.Prefix) (errs []error) {
	for _, network := range networks {
		switch {
		case !network.IsValid():
			errs = append(errs, errors.New("from holds what is not a network: write it as 10.0.0.0/8 or 2001:db8::/32"))
		case network.Addr().Is4In6():
			errs = append(errs, fmt.Errorf("from %s: write a network of IPv4 as such", network))
		}
	}
	return errs
}

func inNetworks(networks []netip.Prefix, addr netip.Addr) bool {
	for _, network := range networks {
		if network.Contains(addr) {
			return true
		}
	}
	return false
}

func (r *rule) compileWhat() (errs []error) {
	switch r.Type {
	case TypeRegistry:
		if len(r.Repositories) > 0 {
			errs = append(errs, errors.New("type registry is every repository: leave repositories out, or write type: repository"))
		}
	case TypeRepository:
		if len(r.Repositories) == 0 {
			errs = append(errs, errors.New("type repository needs repositories, a list of patterns such as team/**"))
		}
	case "":
		errs = append(errs, errors.New("type is missing: registry (every repository) or repository"))
	default:
		errs = append(errs, fmt.Errorf("type %q is neither registry (every repository) nor repository", r.Type))
	}
	for _, s := range r.Repositories {
		p, err := compilePattern(s)
		if err != nil {
			errs = append(errs, fmt.Errorf("pattern %q of repositories: %w", s, err))
		}
		r.patterns = append(r.patterns, p)
	}
	for _, s := range r.Tags {
		if err := checkTagPattern(s); err != nil {
			errs = append(errs, fmt.Errorf("pattern %q of tags: %w", s, err))
		}
	}
	return errs
}

func (r *rule) compileActions() (errs []error) {
	if len(r.Actions) == 0 {
		errs = append(errs, fmt.Errorf("has no action: one or more of %s, or \"*\"", strings.Join(names[:], ", ")))
	}
	var all bool
	for _, name := range r.Actions {
		if name == wildcard {
			all = true
			continue
		}
		a, err := ParseAction(name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%w, or \"*\"", err))
		}
		r.actions |= a
	}
	if r.actions&Admin != 0 {
		if err := r.checkAdmin(); err != nil {
			errs = append(errs, err)
		}
	}
	if all {
		r.actions |= All
		if r.mayAdmin() {
			r.actions |= Admin
		}
	}
	included := r.actions.included()
	if !r.Deny {
		included &^= Fetch
	}
	r.actions |= included
	if r.Deny && r.actions&Create != 0 {
		r.actions |= Push
	}
	return errs
}

// mayAdmin reports whether "*" holds admin.
func (r *rule) mayAdmin() bool {
	return r.Type == TypeRegistry && !r.Deny && !r.everybody && len(r.Tags) == 0
}

func (r *rule) checkAdmin() error {
	switch {
	case r.Deny:
		return errors.New("admin cannot be denied: take it out of the rules that allow it")
	case r.Type != TypeRegistry:
		return errors.New("admin is about the whole registry: write type: registry")
	case r.everybody:
		return errors.New("admin cannot be given to anonymous: name the users, or a group")
	case len(r.Tags) > 0:
		return errors.New("admin cannot be limited to tags: leave them out, or write a rule of its own")
	}
	return nil
}

// included returns what the actions of a include besides themselves.
func (a Action) included() Action {
	var included Action
	if a&Pull != 0 {
		included |= List | Fetch
	}
	if a&Push != 0 {
		included |= Create
	}
	return included
}

// The conditions of a rule, one function each.

func (r *rule) holdsName(q *question) bool {
	return len(r.Names) == 0 || r.everybody || !q.anonymous() && (r.loggedIn || slices.Contains(r.Names, q.who.Name))
}

func (r *rule) holdsGroup(q *question) bool {
	if len(r.Groups) == 0 {
		return true
	}
	if q.anonymous() {
		return false
	}
	for _, group := range r.Groups {
		if slices.Contains(q.who.Groups, group) {
			return true
		}
	}
	return false
}

func (r *rule) holdsFrom(q *question) bool {
	if len(r.From) == 0 {
		return true
	}
	if !q.addr.IsValid() {
		return r.Deny
	}
	return inNetworks(r.From, q.addr)
}

func (r *rule) holdsAction(q *question) bool {
	actions := r.actions
	if actions&Pull != 0 && !q.anonymous() {
		actions |= Fetch
	}
	return actions&q.action != 0
}

func (r *rule) holdsRepository(q *question) bool {
	if len(r.patterns) == 0 {
		return true
	}
	for i := range r.patterns {
		if r.patterns[i].matches(q.repository, q.user) {
			return true
		}
	}
	return false
}

// holdsTags answers for the tags of the rule; maybe, when they decide and those
// of the content are not known.
func (r *rule) holdsTags(q *question) (yes, maybe bool) {
	if len(r.Tags) == 0 {
		return true, false
	}
	writes := q.action&(Push|Create) != 0
	switch q.about {
	case aboutTag:
		return r.matchesTag(q.tag), false
	case aboutDigest:
		if r.Deny {
			return slices.ContainsFunc(q.naming, r.matchesTag), false
		}
		return writes || slices.ContainsFunc(q.tags, r.matchesTag), false
	case aboutUnknown:
		return writes && !r.Deny, true
	case aboutSome:
		return !r.Deny, false
	case aboutEvery:
		return r.Deny, false
	}
	if r.Deny {
		return q.action == Delete, false
	}
	return writes || q.action == List, false
}

func (r *rule) matchesTag(tag oci.Tag) bool {
	for _, pattern := range r.Tags {
		if matchText(pattern, string(tag), "") {
			return true
		}
	}
	return false
}
