package access

import (
	"slices"
	"strconv"
	"strings"
)

// text returns r for people.
func (r *rule) text() RuleText {
	return RuleText{Number: r.index + 1, Line: r.Line, Text: r.yaml(), Comment: r.Comment}
}

// Admins returns the names that an allow of admin has, sorted. Who has it by a
// group is not among them.
func (p *Policy) Admins() []string {
	var names []string
	for _, r := range p.rules {
		if !r.Deny && r.actions&Admin != 0 && !r.everybody && !r.loggedIn {
			names = append(names, r.Names...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Comment returns the comment of the rule that a Decision names.
func (p *Policy) Comment(rule int) string {
	if rule < 0 || rule >= len(p.rules) {
		return ""
	}
	return p.rules[rule].Comment
}

// yaml returns r as it would be written in the configuration, on one line.
func (r *rule) yaml() string {
	fields := []string{}
	add := func(key string, values []string) {
		if len(values) > 0 {
			fields = append(fields, key+": "+listed(values))
		}
	}
	add("name", r.Names)
	add("group", r.Groups)
	add("type", []string{r.Type})
	if len(r.Repositories) > 0 {
		fields = append(fields, "repositories: "+bracketed(r.Repositories))
	}
	if len(r.Tags) > 0 {
		fields = append(fields, "tags: "+bracketed(r.Tags))
	}
	if len(r.From) > 0 {
		fields = append(fields, "from: "+bracketed(r.networks()))
	}
	if r.Deny {
		add("effect", []string{"deny"})
	}
	add("action", r.Actions)
	return "{" + strings.Join(fields, ", ") + "}"
}

func (r *rule) networks() []string {
	var networks []string
	for _, network := range r.From {
		networks = append(networks, network.String())
	}
	return networks
}

// listed returns one value as it is, and several as a list.
func listed(values []string) string {
	if len(values) == 1 {
		return quoted(values[0])
	}
	return bracketed(values)
}

func bracketed(values []string) string {
	var quotes []string
	for _, value := range values {
		quotes = append(quotes, quoted(value))
	}
	return "[" + strings.Join(quotes, ", ") + "]"
}

// quoted returns s in quotes where YAML would otherwise read more into it.
func quoted(s string) string {
	special := strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._/-", r)
	})
	_, notNumber := strconv.ParseFloat(s, 64)
	switch {
	case special, notNumber == nil, s == "", s[0] == '-', s == "true", s == "false", s == "null":
		return strconv.Quote(s)
	}
	return s
}
