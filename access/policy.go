package access

import (
	"errors"
	"math/bits"
	"net/netip"

	"berth/auth"
	"berth/oci"
)

// A Policy is a set of rules, ready to decide. It does not change, and is safe
// for concurrent use. The zero Policy allows nothing.
type Policy struct {
	rules []*rule
	// The rules again, by whom they speak about, and there by the root of
	// their patterns: what is asked finds the few that can matter.
	everybody index
	loggedIn  index
	users     map[string]index
	groups    map[string]index
	// delegated: what an outside token is for, its bearer may do.
	delegated bool
}

// An index holds entries by the root of their pattern.
type index map[string][]entry

// An entry is one pattern of one rule; nil is every repository.
type entry struct {
	rule    *rule
	pattern *pattern
}

// Compile checks rules and makes a Policy of them. Its error holds all that is
// wrong, a line each, with the number of the rule, counted from one, and its
// line in the configuration.
func Compile(rules []Rule) (*Policy, error) {
	p := &Policy{everybody: index{}, loggedIn: index{}, users: map[string]index{}, groups: map[string]index{}}
	var errs []error
	for i, r := range rules {
		c, err := compileRule(i, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		p.rules = append(p.rules, c)
		p.enter(c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// enter puts r where everybody it speaks about finds it.
func (p *Policy) enter(r *rule) {
	switch {
	case len(r.Groups) > 0 && (len(r.Names) == 0 || r.everybody || r.loggedIn):
		for _, group := range r.Groups {
			enterUnder(p.groups, group, r)
		}
	case r.everybody:
		p.everybody.add(r)
	case r.loggedIn:
		p.loggedIn.add(r)
	default:
		for _, name := range r.Names {
			enterUnder(p.users, name, r)
		}
	}
}

func enterUnder(indexes map[string]index, key string, r *rule) {
	if indexes[key] == nil {
		indexes[key] = index{}
	}
	indexes[key].add(r)
}

func (x index) add(r *rule) {
	if len(r.patterns) == 0 {
		x[""] = append(x[""], entry{r, nil})
	}
	for i := range r.patterns {
		p := &r.patterns[i]
		x[p.root] = append(x[p.root], entry{r, p})
	}
}

// Open returns the policy of a registry without authentication: everybody has
// all rights on repositories, nobody may manage.
func Open() *Policy {
	return onRepositories(anonymous, "no authentication is configured")
}

// Authenticated returns the policy of a registry with authentication and
// without rules: every logged-in user has all rights on repositories, nobody
// may manage.
func Authenticated() *Policy {
	return onRepositories(wildcard, "no rules are configured")
}

// Delegated returns the policy of a registry whose rules an outside token server
// keeps: a bearer of its tokens may do what his token is for. Every other
// logged-in user has all rights on repositories, nobody may manage.
func Delegated() *Policy {
	p := Authenticated()
	p.delegated = true
	return p
}

// Delegates reports whether p is Delegated.
func (p *Policy) Delegates() bool { return p.delegated }

// leaves reports whether the token of c alone says what he may do.
func (p *Policy) leaves(c *Caller) bool { return p.delegated && c.Bearer && c.Outside }

func onRepositories(name, comment string) *Policy {
	p, err := Compile([]Rule{{
		Names:   []string{name},
		Type:    TypeRegistry,
		Actions: []string{"pull", "push", "create", "delete", "list", "fetch"},
		Comment: comment,
	}})
	if err != nil {
		return &Policy{}
	}
	return p
}

// Reasons of decisions.
const (
	reasonAllowed   = "a rule allows it"
	reasonDenied    = "a rule denies it"
	reasonNoRule    = "no rule allows it"
	reasonTags      = "it depends on the tags of the content"
	reasonFiltered  = "names are listed as far as they may be seen"
	reasonNothing   = "there is nothing to be seen without logging in"
	reasonCeiling   = "the token is not for it"
	reasonExpired   = "the token has run out"
	reasonLimit     = "the credential is not for it"
	reasonGiven     = "the limit of the credential gives it"
	reasonToken     = "the token of the outside token server is for it"
	reasonNoRequest = "it is not one action of one caller"
)

// Decide answers r. It allocates nothing.
//
// Without a repository it answers Admin, and List: whether the caller may ask
// for the names of repositories at all, of which Visible then picks.
func (p *Policy) Decide(r Request) Decision {
	if r.Caller == nil || bits.OnesCount8(uint8(r.Action)) != 1 {
		return Decision{Rule: -1, Reason: reasonNoRequest}
	}
	if r.Caller.Expired && r.Action&(Push|Create) == 0 {
		return Decision{Rule: -1, Reason: reasonExpired}
	}
	if !r.Caller.ceilingHolds(r.Action, r.Repository) {
		return Decision{Rule: -1, Reason: reasonCeiling}
	}
	if p.leaves(r.Caller) {
		return Decision{Allow: true, Rule: -1, Reason: reasonToken}
	}
	return p.decide(&r)
}

// decide answers by the rules, and by the limit of the caller's credential.
func (p *Policy) decide(r *Request) Decision {
	q := newQuestion(r)
	switch {
	case r.Repository == "" && r.Action&(List|Admin) == 0:
		return Decision{Rule: -1, Reason: reasonNoRule}
	case narrowed(&r.Caller.Identity):
		return p.within(&q, r.Caller)
	case r.Repository == "" && r.Action == List:
		return p.decideCatalog(r.Caller)
	}
	return p.byRules(&q)
}

// byRules answers q by the rules alone. Each tag must be allowed; the first rule
// that decides is named.
func (p *Policy) byRules(q *question) Decision {
	if q.about != aboutTag {
		return p.answer(q)
	}
	var first Decision
	for i, tag := range q.tags {
		q.tag = tag
		d := p.answer(q)
		if !d.Allow {
			return d
		}
		if i == 0 {
			first = d
		}
	}
	return first
}

// about says what of a repository is asked for.
type about uint8

const (
	aboutWhole   about = iota // nothing in particular
	aboutTag                  // one tag
	aboutDigest               // content, of known tags
	aboutUnknown              // content, of unknown tags
	aboutSome                 // anything in it
	aboutEvery                // each thing in it
)

// A question is a request on its way through the rules.
type question struct {
	who        *auth.Identity
	user       string // the name that {user} stands for, or ""
	addr       netip.Addr
	action     Action
	repository string
	about      about
	tag        oci.Tag
	tags       []oci.Tag
	naming     []oci.Tag
	deniesOnly bool // what no rule denies is allowed, and nobody is an admin

	allow, deny           int // the first rule that does, or -1
	maybeAllow, maybeDeny bool
	admin                 bool
}

func newQuestion(r *Request) question {
	q := question{
		addr:       r.Caller.Addr.Unmap().WithZone(""),
		action:     r.Action,
		repository: string(r.Repository),
		tags:       r.Tags,
		naming:     r.Naming,
	}
	q.as(&r.Caller.Identity)
	switch {
	case r.TagsUnknown:
		q.about = aboutUnknown
	case len(r.Tags) > 0 && (!r.ByDigest || r.Action == Delete):
		q.about = aboutTag
	case r.ByDigest:
		q.about = aboutDigest
	}
	return q
}

// as makes q the question of who.
func (q *question) as(who *auth.Identity) {
	q.who, q.user = who, ""
	if oci.ValidComponent(who.Name) {
		q.user = who.Name
	}
}

func (q *question) anonymous() bool { return q.who.Anonymous() }

// answer asks all rules that can matter.
func (p *Policy) answer(q *question) Decision {
	q.allow, q.deny = -1, -1
	q.maybeAllow, q.maybeDeny, q.admin = false, false, false
	q.search(p.everybody)
	if !q.anonymous() {
		q.search(p.loggedIn)
		q.search(p.users[q.who.Name])
		for _, group := range q.who.Groups {
			q.search(p.groups[group])
		}
	}
	switch {
	case q.deny >= 0 && (q.deniesOnly || !q.admin):
		return Decision{Rule: q.deny, Reason: reasonDenied}
	case q.deniesOnly && !q.maybeDeny:
		return Decision{Allow: true, Rule: -1, Reason: reasonGiven}
	case q.deniesOnly:
		return Decision{NeedTags: true, Rule: -1, Reason: reasonTags}
	case q.allow >= 0 && (q.admin || !q.maybeDeny):
		return Decision{Allow: true, Rule: q.allow, Reason: reasonAllowed}
	case q.allow >= 0 || q.maybeAllow:
		return Decision{NeedTags: true, Rule: -1, Reason: reasonTags}
	}
	return Decision{Rule: -1, Reason: reasonNoRule}
}

// search asks the rules of x whose root the repository is under.
func (q *question) search(x index) {
	if len(x) == 0 {
		return
	}
	q.ask(x[""])
	for i := 1; i < len(q.repository); i++ {
		if q.repository[i] == '/' {
			q.ask(x[q.repository[:i]])
		}
	}
	if q.repository != "" {
		q.ask(x[q.repository])
	}
}

// ask asks rules that speak about the name of the caller, or about a group.
func (q *question) ask(entries []entry) {
	for _, e := range entries {
		r := e.rule
		admin := r.actions&Admin != 0
		if !admin && !r.holdsAction(q) || !r.holdsFrom(q) || !r.holdsGroup(q) {
			continue
		}
		q.admin = q.admin || admin
		if !r.holdsAction(q) || e.pattern != nil && !e.pattern.matches(q.repository, q.user) {
			continue
		}
		yes, maybe := r.holdsTags(q)
		switch {
		case yes && r.Deny:
			q.deny = lower(q.deny, r.index)
		case yes:
			q.allow = lower(q.allow, r.index)
		case maybe && r.Deny:
			q.maybeDeny = true
		case maybe:
			q.maybeAllow = true
		}
	}
}

// lower returns the lower index of a rule, where -1 is none.
func lower(a, b int) int {
	if a < 0 {
		return b
	}
	return min(a, b)
}

// may reports whether the caller may do action on something in the repository.
func (p *Policy) may(c *Caller, action Action, repository oci.Name) bool {
	return p.mayAbout(c, action, repository, aboutSome)
}

func (p *Policy) mayAbout(c *Caller, action Action, repository oci.Name, what about) bool {
	if c.Expired || !c.ceilingHolds(action, repository) {
		return false
	}
	if p.leaves(c) {
		return true
	}
	q := newQuestion(&Request{Caller: c, Action: action, Repository: repository})
	q.about = what
	if narrowed(&c.Identity) {
		return p.within(&q, c).Allow
	}
	return p.answer(&q).Allow
}
