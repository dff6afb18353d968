package main

import (
	"fmt"
	"reflect"
	"strings"
)

// unknownKey returns the error of a key under path that t does not have.
func unknownKey(t reflect.Type, path, name string) error {
	best, least := "", 1+max(1, len(name)/3)
	for _, k := range keysOf(t) {
		if n := distance(strings.ToLower(name), k.name); n < least {
			best, least = k.name, n
		}
	}
	if best == "" {
		return fmt.Errorf("unknown key %s", join(path, name))
	}
	return fmt.Errorf("unknown key %s, did you mean %s?", join(path, name), best)
}

// distance returns how many letters one has to add, remove, replace or swap
// with their neighbour to make b of a.
func distance(a, b string) int {
	var before, above []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, above, row = above, row, make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			change := above[j]
			if a[i] != b[j] {
				change++
			}
			row[j+1] = min(change, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
