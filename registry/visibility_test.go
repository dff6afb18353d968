package registry

import (
	"slices"
	"strings"
	"testing"

	"berth/oci"
)

func TestBoth(t *testing.T) {
	span := func(texts ...string) *Visibility {
		v := &Visibility{}
		for _, text := range texts {
			from, to, _ := strings.Cut(text, "..")
			v.Spans = append(v.Spans, Span{From: from, To: to})
		}
		return v
	}
	for _, test := range []struct{ a, b, want *Visibility }{
		{nil, nil, nil},
		{span("a..c"), nil, span("a..c")},
		{nil, span("a..c"), span("a..c")},
		{span("a..c", "e.."), span("b..f", "g..h"), span("b..c", "e..f", "g..h")},
		{span("a..b"), span("b..c"), span()},
		{span(".."), span("a..b", "x.."), span("a..b", "x..")},
		{span("a.."), span("..b"), span("a..b")},
		{span("a..b"), span(), span()},
	} {
		for _, got := range []*Visibility{Both(test.a, test.b), Both(test.b, test.a)} {
			if (got == nil) != (test.want == nil) || got != nil && !slices.Equal(got.Spans, test.want.Spans) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		}
	}
	a, b := span(".."), span("..")
	a.Match = func(n oci.Name) bool { return strings.ContainsAny(string(n), "aeiou") }
	if v := Both(a, b); v.Match("xyz") || !v.Match("abc") {
		t.Error("the test for names is lost")
	}
}
