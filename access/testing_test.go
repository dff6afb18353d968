package access

import (
	"net/netip"
	"strings"
	"testing"

	"berth/auth"
	"berth/oci"
)

// parseRule makes a Rule of words such as "name=alice,bob action=pull deny".
func parseRule(s string) Rule {
	r := Rule{Type: TypeRepository}
	for word := range strings.FieldsSeq(s) {
		key, value, _ := strings.Cut(word, "=")
		values := strings.Split(value, ",")
		switch key {
		case "name":
			r.Names = values
		case "group":
			r.Groups = values
		case "type":
			r.Type = value
		case "registry":
			r.Type = TypeRegistry
		case "on":
			r.Repositories = values
		case "tags":
			r.Tags = values
		case "from":
			for _, v := range values {
				r.From = append(r.From, netip.MustParsePrefix(v))
			}
		case "deny":
			r.Deny = true
		case "action":
			r.Actions = values
		case "none": // no type
			r.Type = ""
		default:
			panic("unknown word " + word)
		}
	}
	return r
}

func parseRules(lines ...string) []Rule {
	var rules []Rule
	for i, line := range lines {
		r := parseRule(line)
		r.Line = 10 * (i + 1)
		rules = append(rules, r)
	}
	return rules
}

func policy(t testing.TB, lines ...string) *Policy {
	t.Helper()
	p, err := Compile(parseRules(lines...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// named returns a caller of that name, in groups.
func named(name string, groups ...string) *Caller {
	if name == anonymous {
		name = ""
	}
	return &Caller{Identity: auth.Identity{Subject: auth.Subject{Provider: "accounts", Name: name}, Groups: groups}}
}

// parseCaller makes a Caller of "bob/dev,ops@10.0.0.1".
func parseCaller(s string) *Caller {
	s, addr, found := strings.Cut(s, "@")
	name, groups, grouped := strings.Cut(s, "+")
	c := named(name)
	if grouped {
		c.Groups = strings.Split(groups, ",")
	}
	if found {
		c.Addr = netip.MustParseAddr(addr)
	}
	return c
}

func tagsOf(s string) []oci.Tag {
	var tags []oci.Tag
	for tag := range strings.SplitSeq(s, ",") {
		if tag != "" {
			tags = append(tags, oci.Tag(tag))
		}
	}
	return tags
}

// parseRequest makes a Request of "bob+dev@10.0.0.1 push team/app:v1,v2". Behind
// the repository stands a tag, or tags, with ":"; "@?" is content of unknown
// tags; "@a,b/a" is content that the tags a and b reach, and a names.
func parseRequest(s string) Request {
	words := strings.Fields(s)
	r := Request{Caller: parseCaller(words[0])}
	r.Action, _ = ParseAction(words[1])
	if len(words) < 3 {
		return r
	}
	repository, tags, tagged := strings.Cut(words[2], ":")
	repository, digest, byDigest := strings.Cut(repository, "@")
	r.Repository = oci.Name(repository)
	if tagged {
		r.Tags = tagsOf(tags)
	}
	if byDigest {
		r.ByDigest = true
		if r.TagsUnknown = digest == "?"; !r.TagsUnknown {
			reaching, naming, _ := strings.Cut(digest, "/")
			r.Tags, r.Naming = tagsOf(reaching), tagsOf(naming)
		}
	}
	return r
}
