package access

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"berth/auth"
	"berth/oci"
)

// slowDecide answers a request of known tags from the rules as they are
// written, in the most obvious way.
func slowDecide(rules []Rule, r Request) bool {
	if r.Caller.Bearer && !slowCeiling(r) {
		return false
	}
	if r.Caller.Limit != nil || r.Caller.Owner != nil {
		return slowLimited(rules, r)
	}
	if r.Action == Admin {
		return slowAdmin(rules, r)
	}
	if len(r.Tags) > 0 && (!r.ByDigest || r.Action == Delete) {
		for _, tag := range r.Tags {
			one := func(rule Rule) bool { return slowTag(rule, tag) }
			if !slowRules(rules, r, one) {
				return false
			}
		}
		return true
	}
	return slowRules(rules, r, func(rule Rule) bool {
		switch write := r.Action == Push || r.Action == Create; {
		case len(rule.Tags) == 0:
			return true
		case rule.Deny && r.ByDigest:
			return slowAnyTag(rule, r.Naming)
		case rule.Deny:
			return r.Action == Delete
		case r.ByDigest:
			return write || slowAnyTag(rule, r.Tags)
		default:
			return write || r.Action == List
		}
	})
}

func slowRules(rules []Rule, r Request, tags func(Rule) bool) bool {
	allowed, denied := false, false
	for _, rule := range rules {
		if slowWho(rule, r) && slowWhat(rule, r) && tags(rule) {
			allowed = allowed || !rule.Deny
			denied = denied || rule.Deny
		}
	}
	return allowed && (!denied || slowAdmin(rules, r))
}

func slowWho(rule Rule, r Request) bool {
	c := r.Caller
	anyone := slices.Contains(rule.Names, anonymous) || rule.Deny && slices.Contains(rule.Names, "*")
	name := len(rule.Names) == 0 || anyone ||
		c.Name != "" && (slices.Contains(rule.Names, "*") || slices.Contains(rule.Names, c.Name))
	group := len(rule.Groups) == 0 ||
		slices.ContainsFunc(rule.Groups, func(g string) bool { return slices.Contains(c.Groups, g) })
	from := len(rule.From) == 0 || rule.Deny && !c.Addr.IsValid()
	for _, network := range rule.From {
		from = from || network.Contains(c.Addr)
	}
	return name && group && from
}

func slowWhat(rule Rule, r Request) bool {
	named := func(a Action) bool {
		return slices.Contains(rule.Actions, a.String()) || slices.Contains(rule.Actions, "*")
	}
	action := named(r.Action)
	switch r.Action {
	case List:
		action = action || named(Pull)
	case Fetch:
		action = action || named(Pull) && (rule.Deny || r.Caller.Name != "")
	case Create:
		action = action || named(Push)
	case Push:
		action = action || rule.Deny && named(Create)
	}
	user := r.Caller.Name
	if !oci.ValidComponent(user) {
		user = ""
	}
	return action && (rule.Type == TypeRegistry || slices.ContainsFunc(rule.Repositories, func(pattern string) bool {
		return slowMatch(pattern, string(r.Repository), user)
	}))
}

func slowAdmin(rules []Rule, r Request) bool {
	return slices.ContainsFunc(rules, func(rule Rule) bool {
		explicit := slices.Contains(rule.Actions, "admin")
		all := slices.Contains(rule.Actions, "*") && rule.Type == TypeRegistry && !rule.Deny &&
			len(rule.Tags) == 0 && !slices.Contains(rule.Names, anonymous)
		return (explicit || all) && slowWho(rule, r)
	})
}

func slowAnyTag(rule Rule, tags []oci.Tag) bool {
	return slices.ContainsFunc(tags, func(tag oci.Tag) bool { return slowTag(rule, tag) })
}

func slowTag(rule Rule, tag oci.Tag) bool {
	return len(rule.Tags) == 0 || slices.ContainsFunc(rule.Tags, func(pattern string) bool {
		expression := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
		return regexp.MustCompile(`^` + expression + `$`).MatchString(string(tag))
	})
}

func slowCeiling(r Request) bool {
	for _, s := range r.Caller.Ceiling {
		if s.Type != TypeRepository || s.Name != string(r.Repository) {
			continue
		}
		if slowCovers(s.Actions, r.Action) {
			return true
		}
	}
	return false
}

func slowCovers(actions []string, action Action) bool {
	covering := map[Action][]string{
		Pull: {"pull"}, List: {"list", "pull"}, Fetch: {"fetch", "pull"},
		Push: {"push"}, Create: {"create", "push"}, Delete: {"delete"},
	}[action]
	return action != Admin && slices.ContainsFunc(actions, func(a string) bool { return a == "*" || slices.Contains(covering, a) })
}

// slowLimited answers for a caller who is narrowed, from the text of his limit.
func slowLimited(rules []Rule, r Request) bool {
	l, ok := r.Caller.Limit.(*Limit)
	if !ok || r.Caller.Name == "" || !slowLets(l.String(), r) {
		return false
	}
	as := func(id auth.Identity) Request {
		id.Limit, id.Owner = nil, nil
		asked := r
		asked.Caller = &Caller{Identity: id, Addr: r.Caller.Addr}
		return asked
	}
	owner := r.Caller.Owner
	if owner == nil && !l.gives {
		return slowDecide(rules, as(r.Caller.Identity))
	}
	// Is it denied, where all is allowed and nobody is an admin?
	denies := []Rule{{Names: []string{anonymous}, Type: TypeRegistry, Actions: []string{"pull", "push", "create", "delete", "list", "fetch"}}}
	for _, rule := range rules {
		if rule.Deny {
			denies = append(denies, rule)
		}
	}
	if !slowDecide(denies, as(r.Caller.Identity)) {
		return false
	}
	return owner == nil || owner.Name != "" && owner.Limit == nil && owner.Owner == nil && slowDecide(rules, as(*owner))
}

func slowLets(text string, r Request) bool {
	text, networks, fromSome := strings.Cut(text, " from ")
	text, patterns, onSome := strings.Cut(text, " on ")
	if text == "everything but admin" {
		text = "*"
	}
	from, on := !fromSome, !onSome
	for network := range strings.SplitSeq(networks, ", ") {
		from = from || netip.MustParsePrefix(network).Contains(r.Caller.Addr)
	}
	for pattern := range strings.SplitSeq(patterns, ", ") {
		on = on || slowMatch(pattern, string(r.Repository), "")
	}
	return from && on && slowCovers(strings.Split(text, ", "), r.Action)
}
