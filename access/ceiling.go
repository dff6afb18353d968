package access

import (
	"slices"

	"berth/auth"
	"berth/oci"
)

// The scope for the list of repositories is registry:catalog:*; docker search
// asks for registry:catalog:search in its place.
const (
	catalog = "catalog"
	search  = "search"
)

// ceilingHolds reports whether the token of c, if it came with one, is for
// action.
func (c *Caller) ceilingHolds(action Action, repository oci.Name) bool {
	if !c.Bearer {
		return true
	}
	for i := range c.Ceiling {
		if scopeHolds(&c.Ceiling[i], action, repository) {
			return true
		}
	}
	return false
}

func scopeHolds(s *auth.Scope, action Action, repository oci.Name) bool {
	if repository == "" {
		return action == List && s.Type == TypeRegistry && s.Name == catalog &&
			(slices.Contains(s.Actions, wildcard) || slices.Contains(s.Actions, search))
	}
	return s.Type == TypeRepository && s.Name == string(repository) && scopeActions(s.Actions)&action != 0
}

// scopeActions returns the named actions with what they include. Unknown ones
// are nothing, and Admin is never among them.
func scopeActions(actions []string) Action {
	var all Action
	for _, name := range actions {
		if name == wildcard {
			return All
		}
		for i := range names {
			if names[i] == name {
				all |= 1 << i
			}
		}
	}
	return (all | all.included()) & All
}
