package access

import (
	"math/bits"
	"slices"

	"berth/auth"
	"berth/oci"
)

// Grant returns what of the requested scopes a token for c may hold now: what
// is asked for and allowed. An action that includes others is replaced by
// those of them that are allowed where it is not itself; "*" by all that are. An
// action that is allowed only for some tags is granted: each request is decided
// by itself. A scope of which nothing is left is dropped.
func (p *Policy) Grant(c *Caller, scopes []auth.Scope) []auth.Scope {
	var granted []auth.Scope
	for _, s := range scopes {
		switch s.Type {
		case TypeRepository:
			s.Actions = p.grantRepository(c, s)
		case TypeRegistry:
			s.Actions = p.grantRegistry(c, s)
		default:
			continue
		}
		if len(s.Actions) > 0 {
			granted = append(granted, s)
		}
	}
	return granted
}

func (p *Policy) grantRepository(c *Caller, s auth.Scope) []string {
	name, err := oci.ParseName(s.Name)
	if err != nil {
		return nil
	}
	var held Action
	for rest := scopeActions(s.Actions); rest != 0; rest &= rest - 1 {
		action := Action(1) << bits.TrailingZeros8(uint8(rest))
		if p.may(c, action, name) {
			held |= action
		}
	}
	// What an action that is held includes is said only where it was asked for.
	implied := held.included()
	var actions []string
	for i, action := range names {
		if bit := Action(1) << i; held&bit != 0 && (implied&bit == 0 || slices.Contains(s.Actions, action)) {
			actions = append(actions, action)
		}
	}
	slices.Sort(actions)
	return actions
}

func (p *Policy) grantRegistry(c *Caller, s auth.Scope) []string {
	if s.Name != catalog || !p.Decide(Request{Caller: c, Action: List}).Allow {
		return nil
	}
	var actions []string
	for _, action := range s.Actions {
		if action == wildcard || action == search {
			actions = append(actions, action)
		}
	}
	return actions
}
