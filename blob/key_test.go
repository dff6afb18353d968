package blob

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCheckKeyFollowsTheGrammar(t *testing.T) {
	grammar := regexp.MustCompile(`^[a-zA-Z0-9_-][a-zA-Z0-9._-]*(/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)*$`)
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`[az09A._/\n\\%-]{0,8}`).Draw(t, "key")
		if got, want := CheckKey(key) == nil, grammar.MatchString(key); got != want {
			t.Fatalf("CheckKey(%q) accepts: %v, grammar: %v", key, got, want)
		}
	})
}

func TestCheckKeyLength(t *testing.T) {
	if err := CheckKey(strings.Repeat("a", maxKeyLength)); err != nil {
		t.Errorf("a key of %d bytes: %v", maxKeyLength, err)
	}
	if CheckKey(strings.Repeat("a", maxKeyLength+1)) == nil {
		t.Errorf("a key of %d bytes is accepted", maxKeyLength+1)
	}
}

func TestCheckRange(t *testing.T) {
	const all = -1
	tests := []struct {
		size, off, n, want int64
		ok                 bool
	}{
		{10, 0, all, 10, true},
		{10, 3, all, 7, true},
		{10, 3, 7, 7, true},
		{10, 10, all, 0, true},
		{10, 10, 0, 0, true},
		{0, 0, all, 0, true},
		{10, 3, 8, 0, false},
		{10, 11, all, 0, false},
		{10, -1, 1, 0, false},
		{10, 1, 1<<63 - 1, 0, false},
	}
	for _, test := range tests {
		n, err := CheckRange(test.size, test.off, test.n)
		if n != test.want || (err == nil) != test.ok {
			t.Errorf("CheckRange(%d, %d, %d) = %d, %v", test.size, test.off, test.n, n, err)
		}
	}
}
