package auth

import (
	"net/url"
	"strings"
)

// An ID tells a user from whoever had his name before him, and from whoever has
// it after him. It holds marks, each of a kind and each one user's for ever
// within his provider; "" tells nothing. It is no secret.
type ID string

// With returns id with one more mark. An empty value is none.
func (id ID) With(kind, value string) ID {
	if value == "" {
		return id
	}
	mark := ID(kind + ":" + url.PathEscape(value))
	if id == "" {
		return mark
	}
	return id + " " + mark
}

// Is reports whether id is who kept was: one mark of the two is the same. That a
// backend now has marks of more kinds, or of fewer, makes nobody another. Without
// a kind in common it cannot be told.
func (id ID) Is(kept ID) (same, told bool) {
	if id != "" && id == kept {
		return true, true // as nearly always
	}
	values := make(map[string]string)
	for mark := range strings.FieldsSeq(string(id)) {
		kind, value, _ := strings.Cut(mark, ":")
		values[kind] = value
	}
	for mark := range strings.FieldsSeq(string(kept)) {
		kind, before, _ := strings.Cut(mark, ":")
		now, ok := values[kind]
		if ok && now == before {
			return true, true
		}
		told = told || ok
	}
	return false, told
}
