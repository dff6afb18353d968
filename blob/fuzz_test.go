package blob

import (
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCheckKey: no key leads out of the folder that a store keeps it in, or is
// spelled in two ways.
func FuzzCheckKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, key string) {
		if CheckKey(key) != nil {
			return
		}
		if !filepath.IsLocal(key) || filepath.Clean(key) != key || strings.ContainsAny(key, "\\\x00\r\n%") {
			t.Errorf("key %q", key)
		}
	})
}
