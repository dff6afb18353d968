package ldap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// Bounds of the groups of one user.
const (
	maxGroups   = 10_000
	maxDepth    = 10  // of groups in groups
	maxFrontier = 200 // DNs in one filter
)

const memberOf = "memberOf"

// memberAttrs are where a group names its members, for Diagnose to say how a
// user came into it.
var memberAttrs = []string{"member", "uniqueMember"}

// A membership is a group of a user.
type membership struct {
	dn   string
	name string
	via  string // the name of the group of his that is a member of it; "" for himself
	// primary: he is in it without being a member.
	primary bool
}

// groups returns the names of all groups of a user, sorted.
// A user of too many groups is an error: without some of them a rule that
// denies could be missed.
func (d *Directory) groups(ctx context.Context, c *conn, r *record) ([]string, error) {
	var found []membership
	var err error
	switch {
	case d.o.Group.Filter == "":
		found, err = d.fromMemberOf(ctx, c, r.entry)
	case d.inChain(c.facts):
		found, err = d.chain(ctx, c, r)
	default:
		found, err = d.walk(ctx, c, r, false)
	}
	if errors.Is(err, errTooMany) {
		return nil, fmt.Errorf("%s is in more than %d groups: narrow group.base or group.filter", r.identity.Name, maxGroups)
	}
	if err != nil {
		return nil, asked("search the groups", err)
	}
	var names []string
	for _, m := range found {
		names = append(names, m.name)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// inChain reports whether the server itself follows groups in groups.
func (d *Directory) inChain(f facts) bool {
	return d.o.Group.Nested && f.activeDirectory && strings.Contains(d.o.Group.Filter, adGroupFilter)
}

// chain finds the groups of a user, and theirs, in one search. Another one finds
// his primary group, which the server does not follow by itself.
func (d *Directory) chain(ctx context.Context, c *conn, r *record) ([]membership, error) {
	members := []string{r.dn}
	primary, err := d.primaryDN(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if primary != "" {
		members = append(members, primary)
	}
	filter := strings.ReplaceAll(d.o.Group.Filter, adGroupFilter, "(member:"+matchInChain+":={dn})")
	entries, err := d.searchGroups(ctx, c, either(groupFilter(filter, r.spelled, members), primaryFilter(filter, r.spelled, r.primary)), nil)
	if err != nil {
		return nil, err
	}
	var found []membership
	for _, e := range entries {
		if name := d.groupName(e.GetEqualFoldAttributeValues(d.o.Group.Name), e.DN); name != "" {
			found = append(found, membership{dn: e.DN, name: name})
		}
	}
	return found, nil
}

// walk finds the groups of a user, and theirs if they nest, a level at a time.
func (d *Directory) walk(ctx context.Context, c *conn, r *record, explain bool) ([]membership, error) {
	var all []membership
	seen := map[string]string{foldDN(r.dn): ""} // names by DN
	frontier := []string{r.dn}
	for depth := 0; len(frontier) > 0; depth++ {
		if depth == maxDepth {
			d.o.Log.Warn("groups nest too deep, those further up are left out", "directory", d.o.Name, "user", r.identity.Name, "depth", maxDepth)
			break
		}
		var next []string
		for chunk := range slices.Chunk(frontier, maxFrontier) {
			found, err := d.searchNew(ctx, c, r, chunk, seen, explain)
			if err != nil {
				return nil, err
			}
			for _, m := range found {
				next = append(next, m.dn)
			}
			if all = append(all, found...); len(all) > maxGroups {
				return nil, errTooMany
			}
		}
		if !d.o.Group.Nested {
			break
		}
		frontier = next
	}
	return slices.DeleteFunc(all, func(m membership) bool { return m.name == "" }), nil
}

// searchNew returns the groups that hold one of the members and were not seen
// before; of the user himself also his primary group.
func (d *Directory) searchNew(ctx context.Context, c *conn, r *record, members []string, seen map[string]string, explain bool) ([]membership, error) {
	filter := groupFilter(d.o.Group.Filter, r.spelled, members)
	himself := members[0] == r.dn
	if himself {
		filter = either(filter, primaryFilter(d.o.Group.Filter, r.spelled, r.primary))
	}
	var attrs []string
	if explain {
		attrs = slices.Concat(memberAttrs, []string{objectSID})
	}
	found, err := d.searchGroups(ctx, c, filter, attrs)
	if err != nil {
		return nil, err
	}
	var fresh []membership
	for _, e := range found {
		key := foldDN(e.DN)
		if _, ok := seen[key]; ok {
			continue
		}
		m := membership{dn: e.DN, name: d.groupName(e.GetEqualFoldAttributeValues(d.o.Group.Name), e.DN), primary: r.isPrimary(e)}
		if !himself {
			m.via = viaOf(e, seen)
		}
		seen[key] = m.name
		fresh = append(fresh, m)
	}
	return fresh, nil
}

// viaOf returns which of the groups that were seen is a member of e.
func viaOf(e *goldap.Entry, seen map[string]string) string {
	for _, attr := range memberAttrs {
		for _, dn := range e.GetEqualFoldAttributeValues(attr) {
			if name := seen[foldDN(dn)]; name != "" {
				return name
			}
		}
	}
	return ""
}

// searchGroups returns the entries of the groups that a filter finds, with their
// names and more of their attributes.
func (d *Directory) searchGroups(ctx context.Context, c *conn, filter string, more []string) ([]*goldap.Entry, error) {
	q := query{
		base:   d.o.Group.Base,
		scope:  goldap.ScopeWholeSubtree,
		filter: filter,
		attrs:  append([]string{d.o.Group.Name}, more...),
		most:   maxGroups,
	}
	if q.base == "" {
		q.base = c.facts.base
	}
	return c.search(ctx, q)
}

// groupFilter returns the filter for groups of one of the members; with none of
// them {dn} stays.
func groupFilter(filter, user string, members []string) string {
	filter = strings.ReplaceAll(filter, "{user}", goldap.EscapeFilter(user))
	if !strings.Contains(filter, "{dn}") || len(members) == 0 {
		return filter
	}
	var b strings.Builder
	for _, dn := range members {
		b.WriteString(strings.ReplaceAll(filter, "{dn}", goldap.EscapeFilter(dn)))
	}
	if len(members) == 1 {
		return b.String()
	}
	return "(|" + b.String() + ")"
}

// groupName returns the name of a group in lower case, or "" for one that no
// rule can name.
func (d *Directory) groupName(values []string, dn string) string {
	if len(values) == 0 {
		return ""
	}
	name := strings.ToLower(values[0])
	if err := cmp.Or(auth.CheckName(values[0]), auth.CheckName(name)); err != nil {
		d.o.Log.Warn("a group of the directory has a name that cannot be used", "directory", d.o.Name, "dn", clean(dn), "error", err)
		return ""
	}
	return name
}

// fromMemberOf reads the groups that the user's own entry names.
func (d *Directory) fromMemberOf(ctx context.Context, c *conn, e *goldap.Entry) ([]membership, error) {
	values, err := c.allValues(ctx, e, memberOf)
	if err != nil {
		return nil, err
	}
	var found []membership
	for _, dn := range values {
		if name := d.groupName(firstRDN(dn, d.o.Group.Name), dn); name != "" {
			found = append(found, membership{dn: dn, name: name})
		}
	}
	return found, nil
}

// firstRDN returns the value that a DN begins with, that of attr where there
// are several.
func firstRDN(dn, attr string) []string {
	parsed, err := goldap.ParseDN(dn)
	if err != nil || len(parsed.RDNs) == 0 {
		return nil
	}
	parts := parsed.RDNs[0].Attributes
	for _, p := range parts {
		if strings.EqualFold(p.Type, attr) {
			return []string{p.Value}
		}
	}
	return []string{parts[0].Value}
}

// allValues returns the values of an attribute, of which Active Directory sends
// 1,500 at a time: "memberOf;range=0-1499".
func (c *conn) allValues(ctx context.Context, e *goldap.Entry, attr string) ([]string, error) {
	var values []string
	for {
		got, next := rangeOf(e, attr)
		if values = append(values, got...); next == 0 {
			return values, nil
		}
		if len(values) > maxGroups || len(got) == 0 {
			return nil, errTooMany
		}
		var err error
		e, err = c.read(ctx, e.DN, "(objectClass=*)", []string{fmt.Sprintf("%s;range=%d-*", attr, next)})
		if err != nil {
			return nil, err
		}
		if e == nil {
			return values, nil
		}
	}
}

// rangeOf returns the values of attr in e, and where the next ones begin; 0 when
// these are the last.
func rangeOf(e *goldap.Entry, attr string) (values []string, next int) {
	for _, a := range e.Attributes {
		name, option, ranged := strings.Cut(a.Name, ";range=")
		if !strings.EqualFold(name, attr) || len(a.Values) == 0 {
			continue
		}
		values = append(values, a.Values...)
		if _, last, ok := strings.Cut(option, "-"); ranged && ok && last != "*" {
			if n, err := strconv.Atoi(last); err == nil {
				next = n + 1
			}
		}
	}
	return values, next
}

// foldDN returns a DN in a form that is the same for all ways to write it.
func foldDN(dn string) string {
	dn = strings.ToLower(dn) // first: the parts of a name are sorted as they are written
	parsed, err := goldap.ParseDN(dn)
	if err != nil {
		return dn
	}
	return strings.ToLower(parsed.String())
}
