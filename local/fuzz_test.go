package local

import (
	"testing"

	"pgregory.net/rapid"

	"berth/blob/memory"
)

// FuzzUploads is TestUploadsModel as the fuzzer likes to play it, each time in a
// registry of its own.
func FuzzUploads(f *testing.F) {
	f.Fuzz(func(t *testing.T, game []byte) {
		r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 2})
		rapid.MakeFuzz(func(rt *rapid.T) { playUploads(t, rt, r, make(map[string]bool)) })(t, game)
	})
}
