package dockerauth

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"

	"berth/access"
)

// maxAlternatives bounds what one pattern may become.
const maxAlternatives = 100

// Marks for what is no literal in a pattern on its way: bytes that no name holds.
const (
	userMark = "\x01" // the name of the caller
	anyMark  = "\x02" // .*
	someMark = "\x03" // .+
	partMark = "\x04" // [^/]+
	starMark = "*"    // * of a glob, and [^/]*
)

// userWord stands for the name of the caller in a pattern of berth.
const userWord = "{user}"

// all is the pattern of every repository.
const all = "**"

// repositories returns the patterns of berth that match the names of repositories
// that a pattern of docker_auth matches, and no others.
func repositories(pattern string) ([]string, error) {
	pattern = strings.ReplaceAll(pattern, placeholder, userMark)
	switch {
	case strings.Contains(pattern, "${"):
		return nil, errors.New("of what stands for something, only ${account} has an equal, which is {user}; write the name out")
	case strings.ContainsAny(pattern, "\x02\x03\x04"):
		return nil, errors.New("it holds control characters")
	}
	expression, ok := regular(pattern)
	marked := []string{pattern}
	var err error
	if ok {
		if marked, err = alternatives(expression); err != nil {
			return nil, err
		}
	} else if strings.ContainsAny(pattern, `?[\`) {
		return nil, errors.New("of globs only those with * have an equal: ?, [ and \\ have none")
	}
	var patterns []string
	for _, m := range marked {
		if strings.ContainsAny(m, "{}") {
			return nil, errors.New("braces are in no name of a repository")
		}
		some, err := unmark(m)
		if err != nil {
			return nil, err
		}
		patterns = append(patterns, some...)
	}
	slices.Sort(patterns)
	patterns = slices.Compact(patterns)
	if slices.Contains(patterns, all) {
		return []string{all}, nil
	}
	return patterns, checkPatterns(patterns)
}

// checkPatterns says why patterns can be in no rule of berth.
func checkPatterns(patterns []string) error {
	for _, p := range patterns {
		rule := access.Rule{Names: []string{"*"}, Type: access.TypeRepository, Repositories: []string{p}, Actions: []string{"pull"}}
		if _, err := access.Compile([]access.Rule{rule}); err != nil {
			return fmt.Errorf("the pattern %q of berth would be none: %s", p, err)
		}
	}
	return nil
}

// unmark returns the patterns of berth that a marked one stands for. A name is
// never empty, and neither is what stands between its slashes; no component
// begins or ends with a separator.
func unmark(m string) ([]string, error) {
	for strings.Contains(m, "**") { // which is one * to path.Match
		m = strings.ReplaceAll(m, "**", "*")
	}
	var b strings.Builder
	last := ""
	for i := 0; i < len(m); i++ {
		before, after := classOf(m, i-1), classOf(m, i+1)
		switch mark := m[i : i+1]; mark {
		case userMark:
			b.WriteString(userWord)
		case partMark:
			if before == letter || after == letter || before == separator && after == separator {
				return nil, errors.New("[^/]+ has an equal only where it is all between two slashes, or next to a separator: write [^/]*")
			}
			b.WriteString("*")
		case anyMark, someMark:
			switch {
			case before == slash && after == slash:
				b.WriteString(all)
			case i < len(m)-1:
				return nil, errors.New(".* has an equal only at the end, and between slashes: write [^/]* for a part of a name")
			case before == letter && mark == someMark:
				return nil, errors.New(".+ behind a letter leaves out one name, which no pattern does: write .*")
			default:
				last = "*"
			}
		default:
			b.WriteString(mark)
		}
	}
	if last == "" {
		return []string{b.String()}, nil
	}
	return []string{b.String() + "*", b.String() + "*/" + all}, nil
}

// A class is what stands next to something in a marked pattern.
type class int

const (
	slash     class = iota // or an end of the pattern
	separator              // which can be at no end of a component
	letter                 // or what may hold one
)

func classOf(m string, i int) class {
	switch {
	case i < 0 || i >= len(m) || m[i] == '/':
		return slash
	case strings.IndexByte(".-_", m[i]) >= 0:
		return separator
	}
	return letter
}

// alternatives returns the marked patterns that a regular expression is the union
// of. It must be anchored at both ends.
func alternatives(expression string) ([]string, error) {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("it is no regular expression: %w", err)
	}
	if re.Op == syntax.OpStar || re.Op == syntax.OpPlus {
		if op := re.Sub[0].Op; op == syntax.OpAnyCharNotNL || op == syntax.OpAnyChar {
			return []string{anyMark}, nil // anchored or not, it is any name
		}
	}
	n := len(re.Sub)
	if re.Op != syntax.OpConcat || re.Sub[0].Op != syntax.OpBeginText || re.Sub[n-1].Op != syntax.OpEndText {
		return nil, errors.New("it matches parts of a name too: anchor it as /^…$/")
	}
	return sequence(re.Sub[1 : n-1])
}

// sequence returns the marked patterns of expressions in a row.
func sequence(parts []*syntax.Regexp) ([]string, error) {
	marked := []string{""}
	for _, part := range parts {
		ends, err := marks(part)
		if err != nil {
			return nil, err
		}
		var longer []string
		for _, begin := range marked {
			for _, end := range ends {
				longer = append(longer, begin+end)
			}
		}
		if marked = longer; len(marked) > maxAlternatives {
			return nil, fmt.Errorf("it stands for more than %d patterns", maxAlternatives)
		}
	}
	return marked, nil
}

// marks returns the marked patterns of an expression.
func marks(re *syntax.Regexp) ([]string, error) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}, nil
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase != 0 {
			return nil, errors.New("names are compared as they are: take (?i) out")
		}
		if s := string(re.Rune); !strings.Contains(s, "*") {
			return []string{s}, nil
		}
	case syntax.OpCapture, syntax.OpConcat:
		return sequence(re.Sub)
	case syntax.OpQuest:
		some, err := sequence(re.Sub)
		return append([]string{""}, some...), err
	case syntax.OpAlternate:
		var marked []string
		for _, sub := range re.Sub {
			some, err := marks(sub)
			if err != nil {
				return nil, err
			}
			marked = append(marked, some...)
		}
		return marked, nil
	case syntax.OpCharClass:
		return characters(re.Rune)
	case syntax.OpStar, syntax.OpPlus:
		return repeated(re)
	}
	return nil, fmt.Errorf("%s has no equal: use literals, alternatives, [^/]+, and .* at the end", re)
}

// characters returns those of a class, which holds pairs of a first and a last.
func characters(class []rune) ([]string, error) {
	var marked []string
	for i := 0; i+1 < len(class); i += 2 {
		for c := class[i]; c <= class[i+1]; c++ {
			if c == '*' || c < ' ' && string(c) != userMark || len(marked) == maxAlternatives {
				return nil, errors.New("a class of so many, or such, characters has no equal")
			}
			marked = append(marked, string(c))
		}
	}
	return marked, nil
}

func repeated(re *syntax.Regexp) ([]string, error) {
	plus := re.Op == syntax.OpPlus
	switch sub := re.Sub[0]; {
	case sub.Op == syntax.OpAnyCharNotNL || sub.Op == syntax.OpAnyChar:
		if plus {
			return []string{someMark}, nil
		}
		return []string{anyMark}, nil
	case sub.Op == syntax.OpCharClass && sub.String() == "[^/]":
		if plus {
			return []string{partMark}, nil
		}
		return []string{starMark}, nil
	}
	return nil, fmt.Errorf("%s has no equal: use literals, alternatives, [^/]+, and .* at the end", re)
}

// accounts returns the names that a pattern of accounts is about: some that it
// lists, or those, as any says, of everybody or of who is logged in.
func accounts(pattern string) (names []string, any reach, err error) {
	if strings.Contains(pattern, "${") {
		return nil, 0, errors.New("of what stands for something, nothing has an equal here; write the name out")
	}
	expression, ok := regular(pattern)
	if !ok {
		switch {
		case pattern == "*":
			return nil, everybody, nil
		case pattern == "?*":
			return nil, loggedIn, nil
		case strings.ContainsAny(pattern, `?[\`):
			return nil, 0, errors.New("of globs only ?* and those with * have an equal: ?, [ and \\ have none")
		}
		return []string{pattern}, listed, nil
	}
	switch expression {
	case ".*", "^.*", ".*$", "^.*$":
		return nil, everybody, nil
	case ".", "^.", ".+", "^.+", ".+$", "^.+$":
		return nil, loggedIn, nil
	}
	marked, err := alternatives(expression)
	if err != nil {
		return nil, 0, err
	}
	for i, m := range marked {
		m = strings.ReplaceAll(m, anyMark, "*")
		if strings.ContainsAny(m, userMark+someMark+partMark) {
			return nil, 0, errors.New("of regular expressions only alternatives of names, and those with .* at the end, have an equal")
		}
		marked[i] = m
	}
	return marked, listed, nil
}

// A reach is how far a pattern of accounts goes.
type reach int

const (
	listed    reach = iota // to some names
	loggedIn               // to everybody who is logged in
	everybody              // to who is not, too
)
