package access

import (
	"errors"
	"fmt"
	"strings"

	"berth/oci"
	"berth/registry"
)

// TagMatcher returns a function that reports whether a pattern of tags, as rules
// have it, matches a tag. A pattern that can match no tag is an error.
func TagMatcher(s string) (func(oci.Tag) bool, error) {
	err := checkTagPattern(s)
	if first := strings.TrimLeft(s, ".-"); err == nil && first != s {
		err = errors.New("it can match nothing: a tag begins with a letter, a digit or _")
	}
	if literal := strings.ReplaceAll(s, "*", ""); err == nil && len(literal) > oci.MaxTagLength {
		err = fmt.Errorf("it can match nothing: a tag has at most %d characters", oci.MaxTagLength)
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", s, err)
	}
	return func(t oci.Tag) bool { return matchText(s, string(t), "") }, nil
}

// TagCovers reports whether the pattern of tags matches all that other matches.
func TagCovers(s, other string) bool { return matchText(s, other, "") }

// Folders returns a function that says with which repositories one shares what
// a pattern speaks of, as a span of names. The pattern is a repository, or a
// folder and "/**" for all that is in it; "**" is all there are. A "*" in the
// place of a component stands for each folder or repository by itself: those in
// "a/**" share, in "*/**" those whose first component is the same, and in "a/*"
// each is alone.
func Folders(s string) (func(oci.Name) (span registry.Span, ok bool), error) {
	if _, err := compilePattern(s); err != nil {
		return nil, fmt.Errorf("pattern %q: %w", s, err)
	}
	folder, all := strings.CutSuffix("/"+s, "/**")
	folder = strings.TrimPrefix(folder, "/")
	var components []string
	if folder != "" {
		components = strings.Split(folder, "/")
	}
	for _, c := range components {
		if c != "*" && !oci.ValidComponent(c) {
			return nil, fmt.Errorf("pattern %q: %q is no name, and no * for each name: write team/app, team/**, or */** for each folder by itself", s, c)
		}
	}
	return func(name oci.Name) (registry.Span, bool) {
		end, ok := spanEnd(components, string(name))
		switch {
		case !ok || !all && end < len(name) || all && end == len(name):
			return registry.Span{}, false
		case !all:
			return exactly(string(name)), true
		case len(components) == 0:
			return registry.Span{}, true
		}
		root := string(name[:end])
		return registry.Span{From: root + "/", To: root + "0"}, true // 0 follows /
	}, nil
}

// spanEnd returns where the components end that a name begins with.
func spanEnd(components []string, name string) (end int, ok bool) {
	for i, c := range components {
		if i > 0 {
			if end == len(name) {
				return 0, false
			}
			end++ // the slash
		}
		word, _, _ := strings.Cut(name[end:], "/")
		if c != "*" && c != word {
			return 0, false
		}
		end += len(word)
	}
	return end, true
}
