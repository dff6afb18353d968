package bucket

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"

	"berth/blob"
)

func (s *Store) name(key string) string { return s.o.Prefix + key }

// tails is what the names of all tails of a key begin with.
func (s *Store) tails(key string) string { return s.name(key) + "!" }

// newTail returns what follows the key in the name of a new tail: it tells how
// many bytes are in parts.
func newTail(sent int64) string {
	return fmt.Sprintf("!%016x-%s", sent, strings.ToLower(rand.Text()))
}

// parse returns the entry of the stream that an object belongs to, and whether
// the object is that stream itself; ok is false when it is none of the Store's.
func (s *Store) parse(e blob.Entry) (_ blob.Entry, committed, ok bool) {
	key, ok := strings.CutPrefix(e.Key, s.o.Prefix)
	if !ok {
		return e, false, false
	}
	key, tail, isTail := strings.Cut(key, "!")
	if isTail {
		sent, _, found := strings.Cut(tail, "-")
		n, err := strconv.ParseInt(sent, 16, 64)
		if !found || err != nil || n < 0 {
			return e, false, false
		}
		e.Size += n
	}
	e.Key = key
	return e, !isTail, blob.CheckKey(key) == nil
}
