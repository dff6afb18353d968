package ldap

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"berth/auth"
)

// A record is what the directory said of a user.
type record struct {
	identity auth.Identity
	dn       string
	spelled  string   // his name as the directory writes it
	primary  string   // SID of the group that he is in without being its member
	refusal  *refusal // why he may not be let in, or nil
	looked   time.Time
	entry    *goldap.Entry // until it is remembered
}

// answer returns what r is for whoever asks about the user.
func (r *record) answer() (auth.Identity, error) {
	if r.refusal != nil {
		return auth.Identity{}, r.refusal.err()
	}
	return r.identity, nil
}

// loginAttr finds the attributes that a filter compares with what the user
// calls himself.
var loginAttr = regexp.MustCompile(`\(([A-Za-z][A-Za-z0-9-]*)=\{user\}\)`)

// loginAttrs returns the attributes whose values a user may call himself by.
func (o Options) loginAttrs() []string {
	attrs := []string{o.User.Name}
	for _, m := range loginAttr.FindAllStringSubmatch(o.User.Filter, -1) {
		attrs = append(attrs, m[1])
	}
	return attrs
}

// userAttrs returns what is read of a user's entry.
func (o Options) userAttrs() []string {
	attrs := slices.Concat(o.loginAttrs(), idAttrs, stateAttrs, passwordAttrs)
	if o.Group.Filter == "" {
		attrs = append(attrs, memberOf)
	}
	if o.ActiveDirectory {
		attrs = append(attrs, objectSID, primaryGroupID)
	}
	slices.Sort(attrs)
	return slices.Compact(attrs)
}

// userQuery returns the search for whom people call said on a server, or false
// when the name is another domain's.
func (d *Directory) userQuery(f facts, said string) (query, bool) {
	said, ok := d.withoutDomain(f, said)
	if !ok {
		return query{}, false
	}
	q := query{
		base:   d.o.User.Base,
		scope:  goldap.ScopeWholeSubtree,
		filter: strings.ReplaceAll(d.o.User.Filter, "{user}", goldap.EscapeFilter(said)),
		attrs:  d.o.userAttrs(),
		most:   1,
	}
	if q.base == "" {
		q.base = f.base
	}
	return q, true
}

// withoutDomain takes CORP\ off a name where that is the domain of the server.
func (d *Directory) withoutDomain(f facts, said string) (string, bool) {
	domain, name, ok := strings.Cut(said, `\`)
	if !d.o.ActiveDirectory || !ok {
		return said, true
	}
	return name, name != "" && slices.Contains(f.domains, strings.ToLower(domain))
}

// find returns whom people call said, with his groups.
// Errors: auth.ErrNoMatch; *auth.RejectedError when it cannot be told who is
// meant; any other when the directory does not say.
func (d *Directory) find(ctx context.Context, c *conn, said string) (*record, error) {
	q, ok := d.userQuery(c.facts, said)
	if !ok {
		return nil, auth.ErrNoMatch
	}
	entries, err := c.search(ctx, q)
	switch {
	case errors.Is(err, errTooMany):
		return nil, &auth.RejectedError{Reason: "more than one entry of the directory has that name"}
	case err != nil:
		return nil, asked("search the user", err)
	case len(entries) == 0:
		return nil, auth.ErrNoMatch
	}
	name, _ := d.withoutDomain(c.facts, said)
	return d.recordOf(ctx, c, entries[0], name)
}

// asked says what was asked when the directory answered with an error.
func asked(what string, err error) error {
	var broken *brokenError
	if errors.As(err, &broken) {
		return err
	}
	return fmt.Errorf("%s: %w", what, explain(err))
}

// recordOf reads the entry of a user who calls himself said.
func (d *Directory) recordOf(ctx context.Context, c *conn, e *goldap.Entry, said string) (*record, error) {
	r, err := d.readUser(e, said)
	if err != nil {
		return nil, err
	}
	if r.identity.Groups, err = d.groups(ctx, c, r); err != nil {
		return nil, err
	}
	return r, nil
}

// readUser reads the entry of a user but for his groups.
func (d *Directory) readUser(e *goldap.Entry, said string) (*record, error) {
	spelled, err := d.nameOf(e, said)
	if err != nil {
		return nil, &auth.RejectedError{Reason: err.Error()}
	}
	r := &record{
		identity: auth.Identity{
			Subject: auth.Subject{Provider: d.o.Name, Name: strings.ToLower(spelled)},
			Version: version(d.o.Name, e),
			ID:      idOf(e),
		},
		entry:   e,
		dn:      e.DN,
		spelled: spelled,
		refusal: refusalOf(e, d.o.Now()),
	}
	if d.o.ActiveDirectory {
		r.primary = primarySID(e.GetEqualFoldRawAttributeValue(objectSID), e.GetEqualFoldAttributeValue(primaryGroupID))
	}
	return r, nil
}

// nameOf returns the name of a user as the directory writes it. Directories
// take "alice " and letters of full width for alice; who says what the entry
// does not, but for upper and lower case, is not let in by it.
func (d *Directory) nameOf(e *goldap.Entry, said string) (string, error) {
	names := e.GetEqualFoldAttributeValues(d.o.User.Name)
	if len(names) == 0 {
		return "", fmt.Errorf("the entry has no %s", d.o.User.Name)
	}
	name := names[0]
	for _, n := range names {
		if strings.EqualFold(n, said) {
			name = n // of several, the one that he goes by
		}
	}
	if len(names) > 1 && !strings.EqualFold(name, said) {
		return "", fmt.Errorf("the entry has more than one %s", d.o.User.Name)
	}
	if err := cmp.Or(checkName(name), checkName(strings.ToLower(name))); err != nil {
		return "", fmt.Errorf("%s of the entry: %w", d.o.User.Name, err)
	}
	for _, attr := range d.o.loginAttrs() {
		for _, v := range e.GetEqualFoldAttributeValues(attr) {
			if strings.EqualFold(v, said) {
				return name, nil
			}
		}
	}
	return "", errors.New("the entry that was found has another name")
}

const guidAttr = "objectGUID"

// Attributes that tell an account from another, and its password from the one
// before, in Active Directory, OpenLDAP, 389 and FreeIPA.
var (
	idAttrs       = []string{guidAttr, "entryUUID", "nsUniqueId"}
	passwordAttrs = []string{"pwdLastSet", "pwdChangedTime", "krbLastPwdChange", "shadowLastChange"}
)

// idOf returns what tells the account of e from others of its name: all that the
// server says, as another version of it may say more.
func idOf(e *goldap.Entry) (id auth.ID) {
	for _, attr := range idAttrs {
		v := e.GetEqualFoldRawAttributeValue(attr)
		text := strings.ToLower(string(v))
		if attr == guidAttr { // 16 bytes
			text = hex.EncodeToString(v)
		}
		id = id.With(strings.ToLower(attr), text)
	}
	return id
}

// version changes when the password does, when the account is disabled or
// enabled in Active Directory, and when it is another one.
func version(directory string, e *goldap.Entry) string {
	h := sha256.New()
	fmt.Fprintf(h, "ldap\x00%s\x00", directory)
	identified := false
	for _, attr := range slices.Concat(idAttrs, passwordAttrs, []string{"userAccountControl"}) {
		v := e.GetEqualFoldRawAttributeValue(attr)
		identified = identified || len(v) > 0 && slices.Contains(idAttrs, attr)
		fmt.Fprintf(h, "%s\x00%x\x00", attr, v)
	}
	if !identified {
		fmt.Fprintf(h, "%s", strings.ToLower(e.DN))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}
