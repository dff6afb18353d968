package disk

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

const benchSize = 64 << 10

// BenchmarkCommit is the cost of a small layer, which is that of two syncs.
func BenchmarkCommit(b *testing.B) { benchmarkCommit(b, openStore(b, b.TempDir())) }

// BenchmarkCommitUnsynced is what Commit costs beside its syncs.
func BenchmarkCommitUnsynced(b *testing.B) {
	s := openStore(b, b.TempDir())
	s.sync = func(*os.File) error { return nil }
	benchmarkCommit(b, s)
}

func benchmarkCommit(b *testing.B, s *Store) {
	data := strings.Repeat("x", benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		put(b, s, fmt.Sprintf("blobs/%02x/%d", i%256, i), data)
	}
}

// BenchmarkOpen is what a download costs before its first byte.
func BenchmarkOpen(b *testing.B) {
	s := openStore(b, b.TempDir())
	put(b, s, "blobs/2f/k", strings.Repeat("x", benchSize))
	b.ReportAllocs()
	for b.Loop() {
		o, err := s.Open(b.Context(), "blobs/2f/k")
		if err != nil {
			b.Fatal(err)
		}
		o.Close()
	}
}

func BenchmarkRead(b *testing.B) {
	s := openStore(b, b.TempDir())
	put(b, s, "blobs/2f/k", strings.Repeat("x", benchSize))
	b.SetBytes(benchSize)
	for b.Loop() {
		o, err := s.Open(b.Context(), "blobs/2f/k")
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
