package dockerauth

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"berth/access"
	"berth/auth"
	"berth/oci"
)

// maxCallers bounds the callers that are made up: each combination of the labels
// that entries speak about is one.
const maxCallers = 2048

// A question is one that both are asked: what a caller may do to a repository.
type question struct {
	caller  *caller
	addr    netip.Addr
	name    oci.Name
	matched []int // the entries that match, in their order
}

// ask makes up the questions: for every caller, address and name that the rules
// can tell apart.
func (t *translation) ask() error {
	if err := t.gatherCallers(); err != nil {
		return err
	}
	t.reached = make([]map[string]bool, len(t.f.ACL))
	for i := range t.reached {
		t.reached[i] = make(map[string]bool)
	}
	known := make(map[string][]string) // names, by the patterns that they are of
	for _, c := range t.callers {
		patterns := t.patternsOf(c)
		key := strings.Join(patterns, " ")
		names, ok := known[key]
		if !ok {
			var err error
			if names, err = witnesses(patterns); err != nil {
				return err
			}
			known[key] = names
		}
		for _, addr := range t.addresses() {
			for _, name := range names {
				t.askAbout(c, addr, oci.Name(name))
			}
		}
	}
	return nil
}

func (t *translation) askAbout(c *caller, addr netip.Addr, name oci.Name) {
	q := question{caller: c, addr: addr, name: name}
	r := &request{c, addr, repository, string(name)}
	for i, e := range t.f.ACL {
		if t.f.matches(e, r) {
			q.matched = append(q.matched, i)
		}
	}
	if len(q.matched) > 0 {
		t.reached[q.matched[0]][c.name] = true
	}
	t.asked = append(t.asked, q)
}

// gatherCallers finds the callers whom the rules can tell apart: the users that
// there are, those that entries name, and, with labels of every combination that
// entries speak about, those to come.
func (t *translation) gatherCallers() error {
	t.callers = slices.Clone(t.users)
	strangers := []*caller{{name: t.unused(), later: !t.open}}
	for _, name := range t.strangers() {
		c := caller{name: strings.ReplaceAll(name, "*", "zz"), later: strings.Contains(name, "*")}
		if !t.open {
			t.callers = append(t.callers, &c)
		}
		strangers = append(strangers, &caller{name: c.name, later: !t.open})
	}
	conditions := t.conditions()
	if len(conditions) > 16 || len(strangers)<<len(conditions) > maxCallers {
		if t.open {
			return fmt.Errorf("it names %d groups and %d users of the directory: so many combinations cannot be proved", len(conditions), len(strangers)-1)
		}
		t.note("users to come have been asked about without labels only: there are too many combinations")
		conditions = nil
	}
	for _, s := range strangers {
		for set := range 1 << len(conditions) {
			c := &caller{name: s.name, later: s.later, labels: make(map[string][]string)}
			for i, have := range conditions {
				if set&(1<<i) != 0 {
					c.labels[have.label] = append(c.labels[have.label], have.value)
				}
			}
			t.callers = append(t.callers, c)
		}
	}
	return nil
}

// conditions returns what users to come may have that entries speak about: each
// value of a label, and, where an entry takes any, one that is new.
func (t *translation) conditions() []condition {
	var conditions []condition
	add := func(key, value string) {
		if c := (condition{key, value}); !slices.Contains(conditions, c) && (!t.open || t.ofDirectory(key)) {
			conditions = append(conditions, c)
		}
	}
	for i, e := range t.f.ACL {
		open := make(map[string]bool)
		for _, key := range sorted(e.Match.Labels) {
			values, whole, _ := listedValues(e.Match.Labels[key])
			for _, value := range values {
				add(key, value)
			}
			open[key] = !whole
		}
		if e.Match.Name != nil {
			for _, word := range label.FindAllStringSubmatch(*e.Match.Name, -1) {
				open[word[1]] = true
			}
		}
		for _, key := range sorted(open) {
			if !open[key] {
				continue
			}
			t.fixed[i] = true // as to values to come
			for _, value := range append(t.values(key), "zz") {
				add(key, value)
			}
		}
	}
	return conditions
}

// strangers returns the names in entries that are no users of the file; those with
// a * are about some.
func (t *translation) strangers() []string {
	names := slices.Clone(t.o.Admins)
	for _, e := range t.f.ACL {
		if e.Match.Account != nil {
			some, _, _ := accounts(*e.Match.Account)
			names = append(names, some...)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" || t.f.Users[name] != nil })
}

// unused returns a name that nobody has and no pattern holds.
func (t *translation) unused() string {
	var text strings.Builder
	for _, e := range t.f.ACL {
		for _, s := range []*string{e.Match.Account, e.Match.Name} {
			if s != nil {
				text.WriteString(*s + " ")
			}
		}
	}
	name := "somebody"
	for n := 2; t.f.Users[name] != nil || strings.Contains(text.String(), name); n++ {
		name = fmt.Sprintf("somebody%d", n)
	}
	return name
}

// patternsOf returns the patterns of the entries that can be about a caller, there
// or as a rule, with his name in them as docker_auth puts it in.
func (t *translation) patternsOf(c *caller) []string {
	patterns := []string{}
	add := func(some []string) {
		for _, p := range some {
			patterns = append(patterns, strings.ReplaceAll(p, userWord, c.name))
		}
	}
	for i, e := range t.f.ACL {
		if e.Match.Name != nil && t.f.matchesCaller(e, c) {
			for _, name := range fillLabels(*e.Match.Name, c.labels) {
				if some, err := repositories(name); err == nil {
					add(some)
				}
			}
			continue
		}
		for _, d := range t.drafts[i] {
			if d.forMany() {
				add(d.patterns)
			}
		}
	}
	slices.Sort(patterns)
	return slices.Compact(patterns)
}

// addresses returns one in each area that the networks of the rules leave: at the
// begin of each, and behind its end.
func (t *translation) addresses() []netip.Addr {
	addresses := []netip.Addr{zero()}
	for _, e := range t.f.ACL {
		if e.from == (netip.Prefix{}) {
			continue
		}
		addresses = append(addresses, e.from.Addr())
		if next := last(e.from).Next(); next.IsValid() {
			addresses = append(addresses, next)
		}
		if before := e.from.Addr().Prev(); before.IsValid() {
			addresses = append(addresses, before)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Compact(addresses)
}

// last returns the last address of a network.
func last(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 1 << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}

// A difference is a question that the two answer otherwise.
type difference struct {
	question
	action access.Action
	there  bool   // docker_auth allows it
	rule   source // that decides here; -1 where none does
}

// difference returns a question that the policy answers otherwise than docker_auth,
// or nil. A user who is to come may be allowed less where an entry was narrowed.
func (t *translation) difference() *difference {
	for _, q := range t.asked {
		for _, action := range effects() {
			there := len(q.matched) > 0 && t.f.ACL[q.matched[0]].grants(action.String())
			decision := t.policy.Decide(access.Request{Caller: t.callerOf(q), Action: action, Repository: q.name})
			if decision.Allow == there || there && q.caller.later && (t.narrowed[q.matched[0]] || t.fixed[q.matched[0]]) {
				continue
			}
			d := &difference{q, action, there, source{-1, -1}}
			if decision.Rule >= 0 {
				d.rule = t.sources[decision.Rule]
			}
			return d
		}
	}
	return nil
}

func (t *translation) callerOf(q question) *access.Caller {
	c := &access.Caller{Addr: q.addr}
	if q.caller.name != "" {
		c.Identity = auth.Identity{Subject: auth.Subject{Provider: "docker_auth", Name: q.caller.name}, Groups: t.groupsOf(q.caller)}
	}
	return c
}

// narrow makes the entry that is the reason for a difference one about the users
// that there are, and reports whether that can help.
func (t *translation) narrow(d *difference) bool {
	k := d.rule.entry
	if d.there {
		k = d.rule.behind // for the sake of which there is a deny
	}
	if t.open || k < 0 || t.narrowed[k] || t.reached[k][""] {
		return false
	}
	for _, draft := range t.drafts[k] {
		if draft.reach == listed || len(draft.groups) > 0 {
			return false
		}
	}
	t.narrowed[k] = true
	return true
}

// refusal returns the error about a difference that no rule can mend.
func (t *translation) refusal(d *difference) error {
	who := "user " + d.caller.name
	switch {
	case d.caller.name == "":
		who = "who is not logged in"
	case d.caller.later:
		who = "any other user"
	case len(d.caller.labels) > 0:
		who += " of " + strings.Join(t.groupsOf(d.caller), ", ")
	}
	verb := map[bool]string{true: "may", false: "may not"}
	by := "no entry allows it"
	if len(d.matched) > 0 {
		by = "by " + t.f.ACL[d.matched[0]].String()
	}
	text := fmt.Sprintf("%s %s %s %s from %s (%s), and here", who, verb[d.there], d.action, d.name, d.addr, by)
	switch {
	case d.rule.behind >= 0:
		return fmt.Errorf("%s: %s could not, because it takes a deny against %s, and a deny beats every allow, whatever the order: "+
			"write the entries so that none is an exception of a later one, or, if the user manages the registry, name him with --admin",
			t.f.ACL[d.rule.entry], text, t.f.ACL[d.rule.behind])
	case d.rule.entry >= 0 && t.reached[d.rule.entry][""]:
		return fmt.Errorf("%s: %s could: who is logged in may do here whatever who is not may: "+
			"leave out account: \"\", which makes it for everybody, or allow the same to all users, account: \"/.+/\"", t.f.ACL[d.rule.entry], text)
	case d.rule.entry >= 0:
		return fmt.Errorf("%s: %s could, and no deny against it leaves everything else as it is", t.f.ACL[d.rule.entry], text)
	case !d.there:
		return fmt.Errorf("%s could: an admin may do everything", text)
	}
	return fmt.Errorf("%s: %s could not", t.f.ACL[d.matched[0]], text)
}
