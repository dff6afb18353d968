package trust

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"berth/auth"
	"berth/auth/jwks"
)

// A template makes the name of a user out of claims: texts with the paths of
// claims between them. It makes no name out of two different sets of claims.
type template struct {
	texts []string // one more than claims
	paths []string
}

// parseTemplate reads a template such as "ci:{repository}".
func parseTemplate(s string) (template, error) {
	var t template
	for {
		text, rest, found := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return template{}, errors.New("a } stands without its {")
		}
		t.texts = append(t.texts, text)
		if !found {
			break
		}
		path, rest, found := strings.Cut(rest, "}")
		if !found || path == "" || strings.Contains(path, "{") {
			return template{}, errors.New("a { must be followed by the name of a claim and a }")
		}
		if len(t.paths) > 0 && text == "" {
			return template{}, errors.New("between two claims there must be a character")
		}
		t.paths = append(t.paths, path)
		s = rest
	}
	return t, t.check()
}

func (t template) check() error {
	prefix, _, found := strings.Cut(t.texts[0], ":")
	if !found || prefix == "" || len(t.paths) > 0 && !strings.HasSuffix(t.texts[0], ":") {
		return errors.New(`it must begin with a fixed text that ends in ":", as in ci:{repository}`)
	}
	for _, text := range t.texts {
		if text != "" && !clean(text) {
			return errors.New("it must be clean text")
		}
	}
	return nil
}

// fill returns the name for the claims. What a claim puts in cannot be taken
// for the text behind it.
func (t template) fill(claims jwks.Claims) (string, error) {
	var b strings.Builder
	b.WriteString(t.texts[0])
	for i, path := range t.paths {
		value, found := claims.Lookup(path)
		if !found {
			return "", fmt.Errorf("the claim %s is not there", path)
		}
		if _, list := value.([]any); list {
			return "", fmt.Errorf("the claim %s is a list", path)
		}
		texts := jwks.Texts(value)
		if len(texts) != 1 || !clean(texts[0]) {
			return "", fmt.Errorf("the claim %s is not clean text", path)
		}
		after := t.texts[i+1]
		if i+1 < len(t.paths) && strings.Contains(texts[0], after[:1]) {
			return "", fmt.Errorf("the claim %s holds a %q, which must end it", path, after[:1])
		}
		b.WriteString(texts[0])
		b.WriteString(after)
	}
	return b.String(), nil
}

// clean reports whether s is text that looks like what it is: without controls,
// marks of direction, and what was no UTF-8.
func clean(s string) bool {
	return s != "" && len(s) <= auth.MaxName && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar })
}
