package access

import (
	"errors"
	"fmt"
	"strings"

	"berth/oci"
)

// maxPattern bounds the length of a pattern: no name that it could match is
// longer.
const maxPattern = 512

// userWord stands for the caller's name in a pattern as it is written, and
// userMark in a compiled one: a byte that no name holds.
const (
	userWord = "{user}"
	userMark = '\x01'
)

// A pattern is a compiled pattern of repositories.
type pattern struct {
	text string // with userMark for {user}
	// root is the leading components that are literals: every name that
	// matches is root, or begins with it and a slash. Empty holds all names.
	root string
}

// compilePattern checks and compiles a pattern as the package comment
// describes it.
func compilePattern(s string) (pattern, error) {
	if s == "" {
		return pattern{}, errors.New("it is empty")
	}
	if len(s) > maxPattern {
		return pattern{}, fmt.Errorf("it is longer than %d characters", maxPattern)
	}
	if strings.ContainsRune(s, userMark) {
		return pattern{}, fmt.Errorf("%q can be in no name of a repository", userMark)
	}
	p := pattern{text: strings.ReplaceAll(s, userWord, string(userMark))}
	literals := true
	for component := range strings.SplitSeq(p.text, "/") {
		if err := checkComponent(component); err != nil {
			return pattern{}, err
		}
		literals = literals && !strings.ContainsAny(component, "*"+string(userMark))
		switch {
		case literals && p.root == "":
			p.root = component
		case literals:
			p.root += "/" + component
		}
	}
	return p, nil
}

func checkComponent(component string) error {
	if component == "" {
		return errors.New("it holds an empty component: write no slash at its ends, and one between components")
	}
	if component != "**" && strings.Contains(component, "**") {
		return errors.New("** stands for whole components only")
	}
	for _, c := range component {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-', c == '*', c == userMark:
		case 'A' <= c && c <= 'Z':
			return errors.New("it can match nothing: names of repositories are in lower case")
		default:
			return fmt.Errorf("%q can be in no name of a repository; besides names, a pattern holds only *, ** and {user}", c)
		}
	}
	if !strings.ContainsAny(component, "*"+string(userMark)) && !oci.ValidComponent(component) {
		return fmt.Errorf("it can match nothing: %q cannot be in the name of a repository", component)
	}
	return nil
}

// matches reports whether p matches name for a caller of the name user, which
// is empty where it is not a valid component.
func (p *pattern) matches(name, user string) bool {
	if user == "" && strings.IndexByte(p.text, userMark) >= 0 {
		return false
	}
	rest := p.text
	starred := false          // a ** was met
	var follows, again string // what follows the last one, and the names to try it on next
	for name != "" {
		head, tail, _ := strings.Cut(rest, "/")
		component, names, _ := strings.Cut(name, "/")
		switch {
		case head == "**":
			starred, follows, again = true, tail, names
			rest, name = tail, names
		case head != "" && matchText(head, component, user):
			rest, name = tail, names
		case !starred || again == "":
			return false
		default:
			_, again, _ = strings.Cut(again, "/")
			rest, name = follows, again
		}
	}
	return rest == ""
}

// prefix returns what every name that p matches begins with, and whether it is
// the one such name. ok is false when no name matches.
func (p *pattern) prefix(user string) (prefix string, whole, ok bool) {
	if user == "" && strings.IndexByte(p.text, userMark) >= 0 {
		return "", false, false
	}
	prefix, _, star := strings.Cut(p.text, "*")
	return strings.ReplaceAll(prefix, string(userMark), user), !star, true
}

// checkTagPattern says why s is not a pattern of tags.
func checkTagPattern(s string) error {
	if s == "" {
		return errors.New("it is empty")
	}
	if len(s) > maxPattern {
		return fmt.Errorf("it is longer than %d characters", maxPattern)
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-', c == '*':
		default:
			return fmt.Errorf("%q can be in no tag; besides tags, a pattern holds only *", c)
		}
	}
	return nil
}

// matchText reports whether pattern, in which * is any run of characters and
// userMark is user, matches all of s. Each piece between stars is taken where
// it is found first, which leaves the most for the rest, so nothing is tried
// twice.
func matchText(pattern, s, user string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	n, ok := matchPiece(first, s, user)
	if !ok || !star {
		return ok && n == len(s)
	}
	s = s[n:]
	for {
		piece, tail, more := strings.Cut(rest, "*")
		if !more {
			n := len(piece) + strings.Count(piece, string(userMark))*(len(user)-1)
			if n > len(s) {
				return false
			}
			_, ok := matchPiece(piece, s[len(s)-n:], user)
			return ok
		}
		n, ok := matchPiece(piece, s, user)
		for !ok {
			if s == "" {
				return false
			}
			s = s[1:]
			n, ok = matchPiece(piece, s, user)
		}
		s, rest = s[n:], tail
	}
}

// matchPiece reports whether s begins with piece, and how much of s that is.
func matchPiece(piece, s, user string) (n int, ok bool) {
	for i := 0; i < len(piece); i++ {
		switch {
		case piece[i] == userMark:
			if !strings.HasPrefix(s[n:], user) {
				return 0, false
			}
			n += len(user)
		case n < len(s) && s[n] == piece[i]:
			n++
		default:
			return 0, false
		}
	}
	return n, true
}
