package access

import (
	"fmt"

	"berth/oci"
)

// Matcher returns a function that reports whether a pattern of repositories, as
// rules have it, matches a name. {user} stands for nobody there.
func Matcher(s string) (func(oci.Name) bool, error) {
	p, err := compilePattern(s)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", s, err)
	}
	return func(name oci.Name) bool { return p.matches(string(name), "") }, nil
}
