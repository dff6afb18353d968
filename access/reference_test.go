package access

import (
	"regexp"
	"slices"
	"strings"

	"berth/oci"
)

// slowDecide answers a request of known tags from the rules as they are
// written, in the most obvious way.
func slowDecide(rules []Rule, r Request) bool {
	if r.Caller.Bearer && !slowCeiling(r) {
		return false
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
		covering := map[Action][]string{
			Pull: {"pull"}, List: {"list", "pull"}, Fetch: {"fetch", "pull"},
			Push: {"push"}, Create: {"create", "push"}, Delete: {"delete"},
		}[r.Action]
		for _, action := range s.Actions {
			if r.Action != Admin && (action == "*" || slices.Contains(covering, action)) {
				return true
			}
		}
	}
	return false
}
