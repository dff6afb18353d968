package access

import (
	"cmp"
	"slices"

	"berth/oci"
	"berth/registry"
)

// Visible returns the repositories whose names c may see, by the rules: the
// scope of a token has been asked for when the list was (Decide). nil is all
// there are.
func (p *Policy) Visible(c *Caller) *registry.Visibility {
	if p.leaves(c) {
		return nil // as Distribution lists
	}
	caller := *c
	caller.Bearer, caller.Ceiling = false, nil
	return p.visibility(&caller, List)
}

// Readable returns the repositories of which c may pull something, the scope of
// its token included. nil is all there are.
func (p *Policy) Readable(c *Caller) *registry.Visibility {
	caller := *c
	if !c.Bearer {
		return p.visibility(&caller, Pull)
	}
	v := &registry.Visibility{Match: func(name oci.Name) bool { return p.may(&caller, Pull, name) }}
	for _, s := range c.Ceiling {
		if s.Type == TypeRepository {
			v.Spans = append(v.Spans, exactly(s.Name))
		}
	}
	v.Spans = join(v.Spans)
	return v
}

// visibility returns the repositories in which c, whom no token binds, may do
// action to something. It keeps c.
func (p *Policy) visibility(c *Caller, action Action) *registry.Visibility {
	if narrowed(&c.Identity) {
		return p.visibleWithin(c, action)
	}
	v := &registry.Visibility{Match: func(name oci.Name) bool { return p.may(c, action, name) }}
	if c.Expired {
		return v
	}
	q := newQuestion(&Request{Caller: c, Action: action})
	var admin, allowsAll, denies, deniesAll bool
	for _, r := range p.rules {
		if !r.holdsName(&q) || !r.holdsGroup(&q) || !r.holdsFrom(&q) {
			continue
		}
		admin = admin || r.actions&Admin != 0
		switch {
		case !r.holdsAction(&q), r.Deny && len(r.Tags) > 0:
		case r.Deny:
			denies = true
			deniesAll = deniesAll || r.everyRepository()
		default:
			allowsAll = allowsAll || r.everyRepository()
			v.Spans = append(v.Spans, r.spans(q.user)...)
		}
	}
	switch {
	case allowsAll && (admin || !denies):
		return nil
	case deniesAll && !admin:
		v.Spans = nil
	}
	v.Spans = join(v.Spans)
	return v
}

func (r *rule) everyRepository() bool {
	return len(r.patterns) == 0 || slices.Contains(r.Repositories, "**")
}

// spans returns spans that hold every name that r matches.
func (r *rule) spans(user string) []registry.Span {
	return patternSpans(r.patterns, user)
}

// patternSpans returns spans that hold every name that one of the patterns
// matches; all, when there is none.
func patternSpans(patterns []pattern, user string) []registry.Span {
	if len(patterns) == 0 {
		return []registry.Span{{}}
	}
	var spans []registry.Span
	for i := range patterns {
		prefix, whole, ok := patterns[i].prefix(user)
		switch {
		case !ok:
		case whole:
			spans = append(spans, exactly(prefix))
		case prefix == "":
			spans = append(spans, registry.Span{})
		default:
			// Names are ASCII: the last byte can be one more.
			last := len(prefix) - 1
			spans = append(spans, registry.Span{From: prefix, To: prefix[:last] + string(prefix[last]+1)})
		}
	}
	return spans
}

func exactly(name string) registry.Span { return registry.Span{From: name, To: name + "\x00"} }

// join sorts spans and makes one of those that touch.
func join(spans []registry.Span) []registry.Span {
	slices.SortFunc(spans, func(a, b registry.Span) int { return cmp.Compare(a.From, b.From) })
	var joined []registry.Span
	for _, s := range spans {
		if n := len(joined); n > 0 {
			last := &joined[n-1]
			if last.To == "" {
				break
			}
			if s.From <= last.To {
				if s.To == "" || s.To > last.To {
					last.To = s.To
				}
				continue
			}
		}
		joined = append(joined, s)
	}
	return joined
}

// decideCatalog answers whether c may ask for names at all. Who is logged in
// may, and is shown what there is for him; to log in helps only who is not.
func (p *Policy) decideCatalog(c *Caller) Decision {
	if c.Anonymous() {
		if v := p.Visible(c); v != nil && len(v.Spans) == 0 {
			return Decision{Rule: -1, Reason: reasonNothing}
		}
	}
	return Decision{Allow: true, Rule: -1, Reason: reasonFiltered}
}
