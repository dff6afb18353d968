package blob

import (
	"fmt"
	"strings"
)

const maxKeyLength = 640 // bytes

// CheckKey returns an error unless key is one that a Store takes.
func CheckKey(key string) error {
	if len(key) > maxKeyLength {
		return fmt.Errorf("key of %d bytes is longer than %d", len(key), maxKeyLength)
	}
	for component := range strings.SplitSeq(key, "/") {
		if !validComponent(component) {
			return fmt.Errorf("%q is not a key", key)
		}
	}
	return nil
}

func validComponent(s string) bool {
	if s == "" || s[0] == '.' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// CheckRange returns an error unless a stream of size bytes holds n bytes from
// off, and otherwise how many bytes are meant; n < 0 means all from off.
func CheckRange(size, off, n int64) (int64, error) {
	if off < 0 || off > size || n > size-off {
		return 0, fmt.Errorf("%d bytes from %d are not in a stream of %d", n, off, size)
	}
	if n < 0 {
		n = size - off
	}
	return n, nil
}
