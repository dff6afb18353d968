package registry

import (
	"cmp"

	"berth/oci"
)

// Visibility is a set of repository names that a database can search: sorted
// spans that do not overlap, and a test for the names in them.
type Visibility struct {
	Spans []Span
	Match func(oci.Name) bool // nil accepts all
}

// A Span is the names n with From <= n and, unless To is empty, n < To.
type Span struct{ From, To string }

// Both returns what is in a and in b, each of which may be nil for all there is.
func Both(a, b *Visibility) *Visibility {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	v := &Visibility{Match: func(name oci.Name) bool {
		return (a.Match == nil || a.Match(name)) && (b.Match == nil || b.Match(name))
	}}
	for i, j := 0, 0; i < len(a.Spans) && j < len(b.Spans); {
		s, t := a.Spans[i], b.Spans[j]
		common := Span{From: max(s.From, t.From), To: s.To}
		if earlier(t.To, s.To) {
			common.To = t.To
		}
		if common.To == "" || common.From < common.To {
			v.Spans = append(v.Spans, common)
		}
		if earlier(t.To, s.To) {
			j++
		} else {
			i++
		}
	}
	return v
}

// earlier compares ends of spans, of which "" is the last.
func earlier(a, b string) bool {
	return a != "" && (b == "" || cmp.Less(a, b))
}
