package auth

import (
	"slices"
	"strings"
)

// MaxScopes is the number of scopes that one token request may hold.
const MaxScopes = 100

// A Scope is one resource with the actions that a token is for. Distribution's
// token specification, "Requesting a token": type[(class)]:name:action,action.
type Scope struct {
	Type    string   // "repository" or "registry"
	Name    string   // a repository name, or "catalog"
	Actions []string // sorted, each once: "pull", "push", "delete", "*" …
}

// String returns the scope as a client asks for it; "" for the zero Scope.
func (s Scope) String() string {
	if s.Type == "" {
		return ""
	}
	return s.Type + ":" + s.Name + ":" + strings.Join(s.Actions, ",")
}

// ParseScopes parses the values of scope parameters; a value may hold several
// scopes, separated by spaces. Scopes of one resource are merged. What is not
// a scope is left out: it can grant nothing, and clients send the oddest.
func ParseScopes(values []string) []Scope {
	var scopes []Scope
	for _, value := range values {
		for _, field := range strings.Fields(value) {
			if s, ok := parseScope(field); ok {
				scopes = mergeScope(scopes, s)
			}
		}
	}
	return scopes
}

// CountScopes returns how many scopes values hold, valid or not.
func CountScopes(values []string) int {
	n := 0
	for _, value := range values {
		n += len(strings.Fields(value))
	}
	return n
}

// parseScope splits at the first and at the last colon: a name may hold one
// itself, before a port.
func parseScope(s string) (Scope, bool) {
	kind, rest, _ := strings.Cut(s, ":")
	i := strings.LastIndexByte(rest, ':')
	if i <= 0 || len(rest[:i]) > 256 {
		return Scope{}, false
	}
	kind, class, found := strings.Cut(kind, "(")
	if found && !strings.HasSuffix(class, ")") {
		return Scope{}, false
	}
	if kind != "repository" && kind != "registry" {
		return Scope{}, false
	}
	var actions []string
	for action := range strings.SplitSeq(rest[i+1:], ",") {
		if action != "" {
			actions = append(actions, action)
		}
	}
	slices.Sort(actions)
	return Scope{Type: kind, Name: rest[:i], Actions: slices.Compact(actions)}, true
}

func mergeScope(scopes []Scope, s Scope) []Scope {
	for i, have := range scopes {
		if have.Type == s.Type && have.Name == s.Name {
			actions := append(slices.Clone(have.Actions), s.Actions...)
			slices.Sort(actions)
			scopes[i].Actions = slices.Compact(actions)
			return scopes
		}
	}
	return append(scopes, s)
}
