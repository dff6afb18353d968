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

// Options say what the configuration of docker_auth does not.
type Options struct {
	// Admins become admins of berth, whom no deny binds. They must be users who
	// may do everything there.
	Admins []string
	// Services are the registries whose token server berth becomes.
	Services []string
	// Htpasswd is the path of the password file in the new configuration.
	Htpasswd string
}

// A Result is what a configuration became.
type Result struct {
	Config   []byte // of berth, YAML
	Htpasswd []byte // the users, as a password file
	// Notes say, a sentence each, what is not quite as it was.
	Notes []string
}

// Translate returns what berth needs to answer as docker_auth does with the
// configuration data, which is that of the file name.
// Its error names, a line each, what has no equal.
func Translate(name string, data []byte, o Options) (*Result, error) {
	f, err := read(name, data)
	if err != nil {
		return nil, err
	}
	t := newTranslation(f, o)
	if err := t.translate(); err != nil {
		return nil, prefixed(name, err)
	}
	return t.result(name)
}

// A translation is the work on one configuration.
type translation struct {
	f     *file
	o     Options
	open  bool      // there are users whom the file does not name
	users []*caller // whom it names, and who is not logged in, where that is allowed
	notes []string

	drafts  [][]draft // of each entry
	callers []*caller
	asked   []question
	reached []map[string]bool // for each entry, the names of whom it ever decides about

	fixed    map[int]bool // entries that are written for the users there are
	narrowed map[int]bool // and those that have to be, for another one
	rules    []access.Rule
	sources  []source
	policy   *access.Policy
}

func newTranslation(f *file, o Options) *translation {
	return &translation{f: f, o: o, open: f.LDAP != nil, fixed: make(map[int]bool), narrowed: make(map[int]bool)}
}

// A source is where a rule comes from: the entry that allows, or, with behind, the
// entry that holds back what the one behind it would give.
type source struct{ entry, behind int }

func (t *translation) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(t.notes, n) {
		t.notes = append(t.notes, n)
	}
}

func (t *translation) translate() error {
	for _, name := range sorted(t.f.Users) {
		t.users = append(t.users, &caller{name: name, labels: t.f.Users[name].Labels})
	}
	var errs []error
	for _, e := range t.f.ACL {
		drafts, err := t.draftsOf(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e, err))
		}
		t.drafts = append(t.drafts, drafts)
	}
	errs = append(errs, t.checkAdmins())
	if t.open {
		errs = append(errs, t.f.LDAP.check())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := t.ask(); err != nil {
		return err
	}
	// Where rules and denies for everybody do not fit, rules for the users that
	// there are may.
	for {
		if err := t.write(); err != nil {
			return err
		}
		d := t.difference()
		if d == nil {
			break
		}
		if !t.narrow(d) {
			return t.refusal(d)
		}
	}
	for i, e := range t.f.ACL {
		if t.narrowed[i] && !slices.ContainsFunc(t.sources, func(s source) bool { return s == source{i, -1} }) {
			t.note("%s is left out, because a deny would take too much, and it is for none of the users that there are now: write rules for those to come", e)
		} else if t.narrowed[i] {
			t.note("%s is written for the users that there are now, because a deny would take too much: add those to come to it", e)
		} else if len(t.drafts[i]) > 0 && len(t.reached[i]) == 0 {
			t.note("%s is never reached, and left out", e)
		}
	}
	return nil
}

func (t *translation) checkAdmins() error {
	for _, name := range t.o.Admins {
		if name == "" || t.f.Users[name] == nil && !t.open {
			return fmt.Errorf("there is no user %q to make an admin", name)
		}
		if err := auth.CheckName(name); err != nil {
			return fmt.Errorf("admin %q: %w", name, err)
		}
	}
	return nil
}

// effects are the actions that rules are about.
func effects() []access.Action { return []access.Action{access.Pull, access.Push, access.Delete} }

// write makes rules of the drafts.
func (t *translation) write() error {
	t.rules, t.sources = nil, nil
	add := func(r access.Rule, s source) {
		t.rules = append(t.rules, r)
		t.sources = append(t.sources, s)
	}
	if len(t.o.Admins) > 0 {
		add(access.Rule{Names: t.o.Admins, Type: access.TypeRegistry, Actions: []string{"*"}, Comment: "administrators"}, source{-1, -1})
	}
	held := t.held()
	for i, e := range t.f.ACL {
		actions := e.granted("pull", "push", "delete")
		for _, d := range t.drafts[i] {
			r, ok := t.reduced(i, d).rule(false)
			if ok && len(actions) > 0 && len(t.reached[i]) > 0 {
				r.Actions = actions
				add(r, source{i, -1})
			}
		}
		for k := i + 1; k < len(t.f.ACL); k++ {
			if actions := held[source{i, k}]; len(actions) > 0 {
				t.writeDenies(i, k, actions, add)
			}
		}
	}
	var err error
	t.policy, err = access.Compile(t.rules)
	return err
}

// writeDenies makes the denies that hold back what entry k would give and entry i,
// which is before it, does not.
func (t *translation) writeDenies(i, k int, actions []string, add func(access.Rule, source)) {
	for _, d := range t.drafts[i] {
		for _, behind := range t.drafts[k] {
			r, ok := d.within(behind).rule(true)
			if !ok {
				continue
			}
			r.Actions = actions
			r.Comment = strings.TrimSpace(t.f.ACL[i].Comment + " (stands before what would allow it)")
			if !slices.ContainsFunc(t.rules, func(have access.Rule) bool { return sameRule(have, r) }) {
				add(r, source{i, k})
			}
		}
	}
}

func sameRule(a, b access.Rule) bool {
	return a.Deny == b.Deny && a.Type == b.Type && slices.Equal(a.Names, b.Names) && slices.Equal(a.Groups, b.Groups) &&
		slices.Equal(a.Repositories, b.Repositories) && slices.Equal(a.From, b.From) && slices.Equal(a.Actions, b.Actions)
}

// reduced returns a draft of entry i about those only whom it ever decides about,
// where a rule can say so.
func (t *translation) reduced(i int, d draft) draft {
	if d.reach == listed || len(d.groups) > 0 {
		return d
	}
	if d.reach == everybody && !t.reached[i][""] {
		d.reach = loggedIn
	}
	if t.narrowed[i] {
		d.reach, d.names = listed, nil
		for _, c := range t.callers {
			if t.reached[i][c.name] && !c.later && !slices.Contains(d.names, c.name) {
				d.names = append(d.names, c.name)
			}
		}
	}
	return d
}

// effective reports whether what entry k became allows a caller anything that it
// matches for him.
func (t *translation) effective(k int, c *caller) bool {
	switch {
	case len(t.reached[k]) == 0, slices.Contains(t.o.Admins, c.name):
		return false
	case t.narrowed[k]:
		return t.reached[k][c.name] && !c.later
	}
	return !t.fixed[k] || !c.later
}

// held returns what each entry holds back of what each entry behind it would give.
func (t *translation) held() map[source][]string {
	held := make(map[source][]string)
	for _, q := range t.asked {
		if len(q.matched) == 0 {
			continue
		}
		i := q.matched[0]
		for _, k := range q.matched[1:] {
			if !t.effective(k, q.caller) {
				continue
			}
			for _, a := range effects() {
				s := source{i, k}
				if t.f.ACL[k].grants(a.String()) && !t.f.ACL[i].grants(a.String()) && !slices.Contains(held[s], a.String()) {
					held[s] = append(held[s], a.String())
				}
			}
		}
	}
	for _, actions := range held {
		slices.SortFunc(actions, func(a, b string) int { return order(a) - order(b) })
	}
	return held
}

func order(action string) int { return slices.Index([]string{"pull", "push", "delete"}, action) }

// zero is the address of who comes from nowhere in particular.
func zero() netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, 7}) }
