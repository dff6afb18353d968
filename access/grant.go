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
	return p.grant(c, scopes, aboutSome)
}

// GrantElsewhere is Grant for a token that another registry verifies, which
// knows nothing of these rules and asks nobody again. What is allowed only for
// some tags is not granted, what is denied for some is not either, and the list
// of repositories is granted to who may see every name.
func (p *Policy) GrantElsewhere(c *Caller, scopes []auth.Scope) []auth.Scope {
	return p.grant(c, scopes, aboutEvery)
}

func (p *Policy) grant(c *Caller, scopes []auth.Scope, what about) []auth.Scope {
	var granted []auth.Scope
	for _, s := range scopes {
		switch s.Type {
		case TypeRepository:
			s.Actions = p.grantRepository(c, s, what)
		case TypeRegistry:
			s.Actions = p.grantRegistry(c, s, what)
		default:
			continue
		}
		if len(s.Actions) > 0 {
			granted = append(granted, s)
		}
	}
	return granted
}

func (p *Policy) grantRepository(c *Caller, s auth.Scope, what about) []string {
	name, err := oci.ParseName(s.Name)
	if err != nil {
		return nil
	}
	var held Action
	for rest := scopeActions(s.Actions); rest != 0; rest &= rest - 1 {
		action := Action(1) << bits.TrailingZeros8(uint8(rest))
		if p.mayAbout(c, action, name, what) {
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

func (p *Policy) grantRegistry(c *Caller, s auth.Scope, what about) []string {
	if s.Name != catalog || !p.Decide(Request{Caller: c, Action: List}).Allow {
		return nil
	}
	if what == aboutEvery && p.Visible(c) != nil {
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
