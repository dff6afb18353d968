package ldap

import (
	"context"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// In Active Directory a user has a primary group, as a rule Domain Users. He is
// no member of it: his entry holds its number within the domain.
const (
	objectSID      = "objectSid"
	primaryGroupID = "primaryGroupID"
)

// primarySID returns the SID of the primary group of a user in binary form
// (MS-DTYP, 2.4.2.2), which is his own with another last number; "" when the
// entry does not tell.
func primarySID(user []byte, group string) string {
	const header, part = 8, 4
	id, err := strconv.ParseUint(group, 10, 32)
	if err != nil || len(user) < header+part || len(user) != header+part*int(user[1]) {
		return ""
	}
	domain := user[: len(user)-part : len(user)-part]
	return string(binary.LittleEndian.AppendUint32(domain, uint32(id)))
}

// memberTerm finds what compares the members of a group in a filter.
var memberTerm = regexp.MustCompile(`\([A-Za-z][^()=]*=\{dn\}\)`)

// primaryFilter returns the filter for the primary group of a user, where that is
// one of the groups that count; "" where it cannot be told apart.
func primaryFilter(filter, user, sid string) string {
	if sid == "" || !memberTerm.MatchString(filter) {
		return ""
	}
	return memberTerm.ReplaceAllLiteralString(groupFilter(filter, user, nil), sidFilter(sid))
}

func sidFilter(sid string) string {
	return "(" + objectSID + "=" + goldap.EscapeFilter(sid) + ")"
}

// primaryDN returns the DN of the primary group of a user, wherever in the domain
// it is; "" when there is none to be seen.
func (d *Directory) primaryDN(ctx context.Context, c *conn, r *record) (string, error) {
	if r.primary == "" || c.facts.base == "" {
		return "", nil
	}
	entries, err := c.search(ctx, query{c.facts.base, goldap.ScopeWholeSubtree, sidFilter(r.primary), []string{objectSID}, 1})
	if err != nil || len(entries) == 0 {
		return "", err
	}
	return entries[0].DN, nil
}

// isPrimary reports whether e is the primary group of a user.
func (r *record) isPrimary(e *goldap.Entry) bool {
	return r.primary != "" && string(e.GetEqualFoldRawAttributeValue(objectSID)) == r.primary
}

// either returns the filter for what one of the filters finds.
func either(filters ...string) string {
	var given []string
	for _, f := range filters {
		if f != "" {
			given = append(given, f)
		}
	}
	if len(given) == 1 {
		return given[0]
	}
	return "(|" + strings.Join(given, "") + ")"
}
