package dockerauth

import (
	"maps"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
)

// A caller is a user as docker_auth knows him, or, with an empty name, who is
// not logged in.
type caller struct {
	name   string
	labels map[string][]string
	// later marks a user whom the file does not name, who stands for those that
	// are to come.
	later bool
}

// kinds are what a request is about.
const (
	repository = "repository"
	registry   = "registry"
)

// A request is what docker_auth decides about: the actions on one thing.
type request struct {
	caller *caller
	addr   netip.Addr
	kind   string
	name   string
}

// first returns the index of the entry that decides r, -1 for none.
func (f *file) first(r *request) int {
	return slices.IndexFunc(f.ACL, func(e *entry) bool { return f.matches(e, r) })
}

// granted returns which of the actions that are asked for an entry lists.
func (e *entry) granted(asked ...string) []string {
	if len(*e.Actions) == 1 && (*e.Actions)[0] == "*" {
		return asked
	}
	var granted []string
	for _, a := range asked {
		if slices.Contains(*e.Actions, a) {
			granted = append(granted, a)
		}
	}
	return granted
}

func (e *entry) grants(action string) bool { return len(e.granted(action)) > 0 }

// matches reports whether all conditions of an entry hold.
func (f *file) matches(e *entry, r *request) bool {
	m := e.Match
	return (e.from == netip.Prefix{} || e.from.Contains(r.addr)) && f.compiled.textMatches(m.Type, r.kind, r.caller) &&
		f.compiled.textMatches(m.Name, r.name, r.caller) && f.matchesCaller(e, r.caller)
}

// matchesCaller reports whether the conditions about users hold.
func (f *file) matchesCaller(e *entry, c *caller) bool {
	if !f.compiled.textMatches(e.Match.Account, c.name, c) {
		return false
	}
	for label, pattern := range e.Match.Labels {
		if !slices.ContainsFunc(c.labels[label], func(value string) bool { return f.compiled.textMatches(&pattern, value, c) }) {
			return false
		}
	}
	return true
}

// expressions are regular expressions that were compiled; nil is none.
type expressions map[string]*regexp.Regexp

func (x expressions) match(expression, s string) bool {
	re, ok := x[expression]
	if !ok {
		re, _ = regexp.Compile(expression)
		x[expression] = re
	}
	return re != nil && re.MatchString(s)
}

// textMatches reports whether a pattern, with everything that stands for
// something in it put in, matches s. Without a pattern it does.
func (x expressions) textMatches(pattern *string, s string, c *caller) bool {
	if pattern == nil {
		return true
	}
	for _, p := range fill(*pattern, c) {
		if expression, ok := regular(p); ok {
			if x.match(expression, s) {
				return true
			}
		} else if ok, err := path.Match(p, s); err == nil && ok {
			return true
		}
	}
	return false
}

// regular returns the expression of a pattern that is one.
func regular(pattern string) (string, bool) {
	if len(pattern) > 1 && pattern[0] == '/' && pattern[len(pattern)-1] == '/' {
		return pattern[1 : len(pattern)-1], true
	}
	return "", false
}

// placeholder is what stands for the name of the caller in a pattern.
const placeholder = "${account}"

// label finds what stands for the values of a label.
var label = regexp.MustCompile(`\$\{labels:([^}]*)\}`)

// fill returns a pattern for each way of putting in what stands for something.
func fill(pattern string, c *caller) []string {
	patterns := fillLabels(pattern, c.labels)
	for i, p := range patterns {
		patterns[i] = strings.ReplaceAll(p, placeholder, regexp.QuoteMeta(c.name))
	}
	return patterns
}

func fillLabels(pattern string, labels map[string][]string) []string {
	found := label.FindStringSubmatchIndex(pattern)
	if found == nil {
		return []string{pattern}
	}
	var filled []string
	word, name := pattern[found[0]:found[1]], pattern[found[2]:found[3]]
	for _, value := range labels[name] {
		filled = append(filled, fillLabels(strings.ReplaceAll(pattern, word, value), labels)...)
	}
	return filled
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
