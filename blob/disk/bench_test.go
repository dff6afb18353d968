package disk

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

const benchSize = 64 << 10

// BenchmarkCommit is the cost of a small layer, which is that of two syncs.
func BenchmarkCommit(b *testing.B) {
	s := openStore(b, b.TempDir())
	data := strings.Repeat("x", benchSize)
	b.SetBytes(benchSize)
	for i := 0; b.Loop(); i++ {
		put(b, s, fmt.Sprintf("%02x/%d", i%256, i), data)
	}
}

func BenchmarkRead(b *testing.B) {
	s := openStore(b, b.TempDir())
	put(b, s, "2f/k", strings.Repeat("x", benchSize))
	b.SetBytes(benchSize)
	for b.Loop() {
		o, err := s.Open(b.Context(), "2f/k")
		if err != nil {
			b.Fatal(err)
		}
		r, err := o.Range(b.Context(), 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r); n != benchSize || err != nil {
			b.Fatal(n, err)
		}
		o.Close()
	}
}
