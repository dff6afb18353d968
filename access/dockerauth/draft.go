package dockerauth

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/access"
	"berth/auth"
)

// A draft is what an entry says about repositories, in berth's words but without
// the order: whom it is about, what, and from where. A pattern with a label in it
// makes a draft for each value.
type draft struct {
	entry    *entry
	reach    reach
	names    []string // with reach listed: one of them
	groups   []string // and one of these, unless there are none
	patterns []string
	from     netip.Prefix // the zero one is anywhere
}

// draftsOf returns what an entry says; none where it is about nobody, or not about
// repositories.
func (t *translation) draftsOf(e *entry) ([]draft, error) {
	kind, err := kindOf(e.Match.Type)
	if err != nil || kind == registry {
		return nil, err
	}
	if e.Match.Name == nil {
		return t.about(e, draft{entry: e, patterns: []string{all}}, nil)
	}
	words := label.FindAllStringSubmatch(*e.Match.Name, -1)
	if len(words) == 0 {
		return t.named(e, *e.Match.Name, nil)
	}
	slices.SortFunc(words, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	if words[0][0] != words[len(words)-1][0] {
		return nil, errors.New("name: two labels in one name have no equal: write an entry for each of the values of one")
	}
	word, key := words[0][0], words[0][1]
	if t.open {
		return nil, fmt.Errorf("name: %s has no equal, because the directory may hold any value: write an entry for each, with labels: {%s: …}", word, key)
	}
	var drafts []draft
	for _, value := range t.values(key) {
		some, err := t.named(e, strings.ReplaceAll(*e.Match.Name, word, value), &condition{key, value})
		if err != nil {
			return nil, fmt.Errorf("with %s as %q: %w", word, value, err)
		}
		drafts = append(drafts, some...)
	}
	return drafts, nil
}

// kindOf returns what a pattern of types is about, "" for everything.
func kindOf(pattern *string) (string, error) {
	switch {
	case pattern == nil, *pattern == "*":
		return "", nil
	case *pattern == repository, *pattern == registry:
		return *pattern, nil
	}
	return "", fmt.Errorf("type: %q has no equal: write repository or registry", *pattern)
}

func (t *translation) named(e *entry, name string, also *condition) ([]draft, error) {
	patterns, err := repositories(name)
	if err != nil {
		return nil, fmt.Errorf("name: %q: %w", name, err)
	}
	return t.about(e, draft{entry: e, patterns: patterns}, also)
}

// A condition is that a user has a label with a value.
type condition struct{ label, value string }

// about says whom a draft is about.
func (t *translation) about(e *entry, d draft, also *condition) ([]draft, error) {
	d.reach, d.from = everybody, e.from
	if e.Match.Account != nil {
		if err := t.aboutAccounts(e, &d); err != nil {
			return nil, fmt.Errorf("account: %q: %w", *e.Match.Account, err)
		}
	}
	var groups [][]string
	for _, key := range sorted(e.Match.Labels) {
		some, err := t.aboutLabel(key, e.Match.Labels[key])
		if err != nil {
			return nil, fmt.Errorf("labels: %s: %w", key, err)
		}
		groups = append(groups, some)
	}
	if also != nil {
		groups = append(groups, []string{t.group(also.label, also.value)})
	}
	switch {
	case len(groups) == 1 && len(groups[0]) == 0, d.reach == listed && len(d.names) == 0:
		return nil, nil
	case len(groups) == 1 && !t.ofUsers(e):
		d.groups = groups[0]
	case len(groups) > 1 && t.open && !t.ofUsers(e):
		return nil, errors.New("labels: that a user is in each of several groups has no equal: make a group of those who are")
	case len(groups) > 0:
		d.reach, d.names = listed, nil
		for _, c := range t.users {
			if t.f.matchesCaller(e, c) && (also == nil || slices.Contains(c.labels[also.label], also.value)) {
				d.names = append(d.names, c.name)
			}
		}
		if len(d.names) == 0 {
			return nil, nil
		}
		t.fixed[e.number-1] = true
		t.note("%s is written for the users who have its labels now", e)
	}
	return []draft{d}, nil
}

// aboutAccounts says which accounts a draft is about. Names with a * become those
// that there are.
func (t *translation) aboutAccounts(e *entry, d *draft) error {
	names, reach, err := accounts(*e.Match.Account)
	d.reach = reach
	if err != nil || reach != listed {
		return err
	}
	starred := slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "*") })
	if starred && t.open {
		return errors.New("a part of a name has no equal, because the directory may hold any: use a group")
	}
	for _, c := range t.users {
		if t.f.compiled.textMatches(e.Match.Account, c.name, c) {
			d.names = append(d.names, c.name)
		}
	}
	if starred {
		t.fixed[e.number-1] = true
		t.note("%s is written for the users whose names match now: %s", e, strings.Join(d.names, ", "))
	}
	for _, name := range names {
		switch {
		case slices.Contains(d.names, name) || strings.Contains(name, "*"):
		case name == "":
			t.note("%s is about who is not logged in, which is not allowed there", e)
		case t.open && name != strings.ToLower(name):
			return errors.New("berth writes the names of a directory in lower case")
		default:
			if err := auth.CheckName(name); err != nil {
				return err
			}
			if !t.open {
				t.note("%s is about %s, whom there is not", e, name)
			}
			d.names = append(d.names, name)
		}
	}
	return nil
}

// aboutLabel returns the groups of which one has to be a caller's.
func (t *translation) aboutLabel(key, pattern string) ([]string, error) {
	values, whole, err := listedValues(pattern)
	if err != nil {
		return nil, err
	}
	if !whole {
		if t.ofDirectory(key) {
			return nil, errors.New("a part of a name has no equal, because the directory may hold any: list the groups")
		}
		for _, value := range t.values(key) {
			if t.f.compiled.textMatches(&pattern, value, new(caller)) && !slices.Contains(values, value) {
				values = append(values, value)
			}
		}
	}
	var groups []string
	for _, value := range values {
		if err := auth.CheckName(value); err != nil {
			return nil, err
		}
		groups = append(groups, t.group(key, value))
	}
	return groups, nil
}

// listedValues returns the values that a pattern of a label lists, and whether it
// is about no others.
func listedValues(pattern string) (values []string, whole bool, err error) {
	names, far, err := accounts(pattern)
	for _, name := range names {
		if !strings.Contains(name, "*") {
			values = append(values, name)
		}
	}
	return values, far == listed && len(values) == len(names), err
}

// ofDirectory reports whether the values of a label are what the directory says.
func (t *translation) ofDirectory(key string) bool { return t.open && t.f.LDAP.Labels[key] != nil }

// values returns the values that a label has, of users and in entries.
func (t *translation) values(key string) []string {
	found := make(map[string]bool)
	for _, e := range t.f.ACL {
		if pattern, ok := e.Match.Labels[key]; ok {
			values, _, _ := listedValues(pattern)
			for _, value := range values {
				found[value] = true
			}
		}
	}
	for _, c := range t.users {
		for _, value := range c.labels[key] {
			found[value] = true
		}
	}
	return sorted(found)
}

// group returns the group that a label with a value becomes: the value, unless
// another label has it too.
func (t *translation) group(key, value string) string {
	if t.ofDirectory(key) {
		return strings.ToLower(value)
	}
	for _, c := range t.users {
		for other, values := range c.labels {
			if other != key && slices.Contains(values, value) {
				return key + "/" + value
			}
		}
	}
	return value
}

// ofUsers reports whether an entry is about a label that only users of the file
// have, beside a directory in which there may be a group of any name.
func (t *translation) ofUsers(e *entry) bool {
	for key := range e.Match.Labels {
		if t.open && !t.ofDirectory(key) {
			return true
		}
	}
	return false
}

// groupsOf returns the groups that a caller is in.
func (t *translation) groupsOf(c *caller) []string {
	groups := make(map[string]bool)
	for key, values := range c.labels {
		if t.open && !t.ofDirectory(key) {
			continue
		}
		for _, value := range values {
			groups[t.group(key, value)] = true
		}
	}
	return sorted(groups)
}

// within returns what two drafts have in common, as far as a rule can say it:
// what d says, or, where d says nothing, what other does.
func (d draft) within(other draft) draft {
	if d.reach != listed && len(d.groups) == 0 {
		d.reach, d.names, d.groups = min(d.reach, other.reach), other.names, other.groups
	}
	if d.everywhere() {
		d.patterns = other.patterns
	}
	if d.from == (netip.Prefix{}) || other.from != (netip.Prefix{}) && other.from.Bits() > d.from.Bits() {
		d.from = other.from
	}
	return d
}

// forMany reports whether a rule about d can be about callers whom the entry is
// not about: what nobody may, everybody may.
func (d draft) forMany() bool {
	return len(d.groups) == 0 && (d.reach != listed || slices.Contains(d.names, ""))
}

func (d draft) everywhere() bool { return slices.Contains(d.patterns, all) }

// nobody is who is not logged in, in a rule; as an allow it is everybody.
const nobody = "anonymous"

// rule returns a rule about what d is about, and false where there can be none:
// who is not logged in cannot be denied what others are not.
func (d draft) rule(deny bool) (access.Rule, bool) {
	r := access.Rule{Groups: d.groups, Type: access.TypeRepository, Repositories: d.patterns, Comment: d.entry.Comment, Deny: deny}
	if d.everywhere() {
		r.Type, r.Repositories = access.TypeRegistry, nil
	}
	if d.from != (netip.Prefix{}) {
		r.From = []netip.Prefix{d.from}
	}
	switch {
	case d.reach == listed:
		for _, name := range d.names {
			switch {
			case name != "":
				r.Names = append(r.Names, name)
			case !deny:
				r.Names = append(r.Names, nobody)
			}
		}
		return r, len(r.Names) > 0
	case len(d.groups) > 0:
	case d.reach == everybody && !deny:
		r.Names = []string{nobody}
	default:
		r.Names = []string{"*"}
	}
	return r, true
}
