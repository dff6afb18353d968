package access

import (
	"fmt"
	"slices"
	"strings"

	"berth/auth"
	"berth/oci"
)

// Lint returns what is allowed in rules and yet seldom meant, a sentence each:
// writing for everybody, admin for everybody who is logged in, rules that can
// match nothing, are taken away whole by a deny or are for robots, and denies
// that one can log out of.
func (p *Policy) Lint() []string {
	var warnings []string
	for _, r := range p.rules {
		for _, warning := range p.lint(r) {
			warnings = append(warnings, "access "+r.place()+": "+warning)
		}
	}
	return warnings
}

func (p *Policy) lint(r *rule) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if r.matchesNobody() {
		warn("can match nothing: {user} stands only for names that can be in the name of a repository")
	}
	if r.Deny {
		if by := p.allowsLoggedOut(r); by != nil {
			warn("whom it denies can log out and be allowed by %s", by.place())
		}
		return warnings
	}
	if writes := r.actions & (Push | Create | Delete); r.everybody && len(r.Groups) == 0 && writes != 0 {
		warn("lets everybody %s, without a login", strings.ReplaceAll(writes.String(), ",", ", "))
	}
	if r.everybody && r.Type == TypeRegistry && slices.Contains(r.Actions, wildcard) && len(r.Names) > 1 {
		warn("makes nobody an admin, because anonymous is among its names: write two rules")
	}
	if r.loggedIn && len(r.Groups) == 0 && r.actions&Admin != 0 {
		warn("makes everybody who is logged in an admin, whom no deny binds")
	}
	if len(r.Names) > 0 && !slices.ContainsFunc(r.Names, func(name string) bool { return !strings.HasPrefix(name, auth.RobotPrefix) }) {
		warn("allows nothing, because a robot may do what its limit and its owner may, and no rule gives it more")
	}
	if by := p.shadow(r); by != nil {
		warn("allows nothing, because %s denies all of it", by.place())
	}
	return warnings
}

// matchesNobody reports whether no caller of r has a name that {user} can
// stand for, while each of its patterns needs one.
func (r *rule) matchesNobody() bool {
	if len(r.patterns) == 0 || len(r.Names) == 0 || r.everybody || r.loggedIn {
		return false
	}
	needs := func(p pattern) bool { return strings.IndexByte(p.text, userMark) >= 0 }
	return !slices.ContainsFunc(r.Names, oci.ValidComponent) &&
		!slices.ContainsFunc(r.patterns, func(p pattern) bool { return !needs(p) })
}

// allowsLoggedOut returns an allow that gives whoever is not logged in what r
// denies to some who are.
func (p *Policy) allowsLoggedOut(r *rule) *rule {
	if r.everybody && len(r.Groups) == 0 {
		return nil
	}
	for _, allow := range p.rules {
		open := !allow.Deny && allow.everybody && len(allow.Groups) == 0 && len(allow.From) == 0
		if open && allow.actions&r.actions != 0 && (allow.coversPatterns(r) || r.coversPatterns(allow)) && p.shadow(allow) == nil {
			return allow
		}
	}
	return nil
}

// shadow returns a deny that takes away all that r allows.
func (p *Policy) shadow(r *rule) *rule {
	if r.actions&Admin != 0 {
		return nil
	}
	for _, deny := range p.rules {
		if deny.Deny && len(deny.From) == 0 && len(deny.Tags) == 0 &&
			deny.actions&r.actions == r.actions && deny.coversWho(r) && deny.coversPatterns(r) {
			return deny
		}
	}
	return nil
}

// coversWho reports whether r is about everybody that s is about.
func (r *rule) coversWho(s *rule) bool {
	names := len(r.Names) == 0 || r.everybody || len(s.Names) > 0 && subset(s.Names, r.Names)
	groups := len(r.Groups) == 0 || len(s.Groups) > 0 && subset(s.Groups, r.Groups)
	return names && groups
}

// coversPatterns reports whether r is about every repository that s is about,
// as far as can be told without trying all names.
func (r *rule) coversPatterns(s *rule) bool {
	if r.everyRepository() {
		return true
	}
	if s.everyRepository() {
		return false
	}
	for i := range s.patterns {
		if !slices.ContainsFunc(r.patterns, func(p pattern) bool { return p.covers(&s.patterns[i]) }) {
			return false
		}
	}
	return true
}

// covers reports whether p is q, or all that is under a folder that q is under.
func (p *pattern) covers(q *pattern) bool {
	folder, under := strings.CutSuffix(p.text, "**")
	return p.text == q.text || under && folder == p.root+"/" && strings.HasPrefix(q.text, folder)
}

func subset(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
