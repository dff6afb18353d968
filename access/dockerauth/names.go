package dockerauth

import (
	"fmt"
	"slices"
	"strings"

	"berth/oci"
)

// maxStates bounds the search for names that patterns can tell apart.
const maxStates = 20_000

// witnesses returns names of repositories, one for each way in which patterns of
// berth can match one and not another: what is true of all of these names, as far
// as it depends on the patterns, is true of every name.
//
// It walks all names at once, a character at a time. What is known of a name that
// has begun is where in each pattern one is; two beginnings of which the same is
// known need not be told apart.
func witnesses(patterns []string) ([]string, error) {
	w := &walk{seen: make(map[string]bool), told: make(map[string]bool)}
	for _, p := range patterns {
		w.patterns = append(w.patterns, parseSteps(p))
	}
	w.alphabet = alphabet(patterns)
	start := beginning{places: make([][]int, len(patterns))}
	for i, p := range w.patterns {
		start.places[i] = p.closed([]int{0})
	}
	queue := []beginning{start}
	for len(queue) > 0 {
		b := queue[0]
		queue = queue[1:]
		for i := range len(w.alphabet) {
			if next, ok := w.next(b, w.alphabet[i]); ok {
				queue = append(queue, next)
			}
		}
		if len(w.seen) > maxStates {
			return nil, fmt.Errorf("the patterns of repositories are too many to be compared: they tell more than %d beginnings of names apart", maxStates)
		}
	}
	return w.names, nil
}

type walk struct {
	patterns []steps
	alphabet string
	seen     map[string]bool // keys of beginnings
	told     map[string]bool // ways to match, of which there is a name
	names    []string
}

// A beginning is that of a name.
type beginning struct {
	text   string
	places [][]int // in each pattern
}

// next goes on with a character, and reports whether that leads anywhere new.
func (w *walk) next(b beginning, c byte) (beginning, bool) {
	state, ok := separators(b.text + string(c))
	if !ok {
		return beginning{}, false
	}
	n := beginning{text: b.text + string(c), places: make([][]int, len(w.patterns))}
	key, matched := []byte(state), make([]byte, len(w.patterns))
	for i, p := range w.patterns {
		n.places[i] = p.step(b.places[i], c)
		key = append(key, 0xff, 0xff)
		for _, at := range n.places[i] {
			key = append(key, byte(at>>8), byte(at))
			if at == len(p) {
				matched[i] = 1
			}
		}
	}
	if w.seen[string(key)] {
		return beginning{}, false
	}
	w.seen[string(key)] = true
	if _, err := oci.ParseName(n.text); err == nil && !w.told[string(matched)] {
		w.told[string(matched)] = true
		w.names = append(w.names, n.text)
	}
	return n, true
}

// separators returns what a beginning ends in, as far as it says what may follow,
// and whether a name may begin so at all.
func separators(s string) (string, bool) {
	end := s[len(strings.TrimRight(s, "./_-")):]
	switch {
	case s == end:
		return "", false
	case end == "", end == "/", end == ".", end == "_", end == "__":
		return end, true
	case strings.Trim(end, "-") == "":
		return "-", true
	}
	return "", false
}

// alphabet returns the characters that patterns can tell apart: those in them,
// the slash, and one that is in none.
func alphabet(patterns []string) string {
	used := strings.Join(patterns, "")
	letters, other := "/", ""
	for _, c := range "abcdefghijklmnopqrstuvwxyz0123456789._-" {
		switch {
		case strings.ContainsRune(used, c):
			letters += string(c)
		case other == "" && !strings.ContainsRune("._-", c):
			other = string(c)
		}
	}
	return other + letters
}

// steps is a pattern, a step for each character, or run of them.
type steps []step

type step struct {
	kind  stepKind
	match byte // of a literal
}

type stepKind int

const (
	literal stepKind = iota
	any1             // one character, also a slash
	within           // any number of characters but slashes
	across           // any number of characters
)

// parseSteps reads a pattern of berth. Between slashes, ** is any text that is
// not empty.
func parseSteps(pattern string) steps {
	var s steps
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "**"):
			s = append(s, step{kind: any1}, step{kind: across})
			i++
		case pattern[i] == '*':
			s = append(s, step{kind: within})
		default:
			s = append(s, step{match: pattern[i]})
		}
	}
	return s
}

// step returns the places after one more character.
func (s steps) step(places []int, c byte) []int {
	var next []int
	for _, at := range places {
		if at == len(s) {
			continue
		}
		switch s[at].kind {
		case literal:
			if s[at].match == c {
				next = append(next, at+1)
			}
		case any1:
			next = append(next, at+1)
		case within:
			if c != '/' {
				next = append(next, at)
			}
		case across:
			next = append(next, at)
		}
	}
	return s.closed(next)
}

// closed adds the places that are reached without a character, and sorts them.
func (s steps) closed(places []int) []int {
	for i := 0; i < len(places); i++ {
		if at := places[i]; at < len(s) && (s[at].kind == within || s[at].kind == across) {
			places = append(places, at+1)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}
