package server

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// TestFill: all bytes arrive in order, whatever pieces they come in, and a large
// buffer is held only while they come in large ones.
func TestFill(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	tests := map[string]struct {
		pieces []int // that come in turn
		large  bool  // the last read has a large buffer
	}{
		"as much as there is room for":  {[]int{1 << 20}, true},
		"just more than is slow":        {[]int{slowBuffer + 1}, true},
		"a bit less":                    {[]int{slowBuffer - 1}, false},
		"byte by byte":                  {[]int{1}, false},
		"a lot, then a little for long": {[]int{slowBuffer, blobBuffer, 1}, false},
	}
	for name, test := range tests {
		b := newBuffers()
		r := &pieces{content: content, sizes: test.pieces}
		var got bytes.Buffer
		if err := b.fill(&got, r); err != nil || !bytes.Equal(got.Bytes(), content) {
			t.Errorf("%s: %d bytes, %v", name, got.Len(), err)
		}
		if test.large != (r.room == blobBuffer) {
			t.Errorf("%s: the last read has a buffer of %d bytes", name, r.room)
		}
		if len(b.free) != blobBuffers {
			t.Errorf("%s: %d large buffers are free at the end", name, len(b.free))
		}
	}
}

// pieces is content that comes in pieces of the sizes, and then of the last.
type pieces struct {
	content []byte
	sizes   []int
	n       int
	room    int // of the last read
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.content) == 0 {
		return 0, io.EOF
	}
	p.room = len(b)
	n := copy(b[:min(len(b), p.sizes[min(p.n, len(p.sizes)-1)])], p.content)
	p.content = p.content[n:]
	p.n++
	return n, nil
}

// TestFillFails: what was read is written before an error is told, and no buffer
// is lost.
func TestFillFails(t *testing.T) {
	b := newBuffers()
	broken := errors.New("broken")
	var got bytes.Buffer
	src := io.MultiReader(bytes.NewReader(make([]byte, 3*blobBuffer)), iotest.ErrReader(broken))
	if err := b.fill(&got, src); !errors.Is(err, broken) || got.Len() != 3*blobBuffer {
		t.Errorf("a source that breaks: %d bytes, %v", got.Len(), err)
	}
	if err := b.fill(full{broken}, bytes.NewReader(make([]byte, 3*blobBuffer))); !errors.Is(err, broken) {
		t.Errorf("a full destination: %v", err)
	}
	if len(b.free) != blobBuffers {
		t.Errorf("%d large buffers are free at the end", len(b.free))
	}
}

// full takes two writes.
type full struct{ err error }

func (f full) Write(p []byte) (int, error) {
	if len(p) > slowBuffer {
		return 0, f.err
	}
	return len(p), nil
}

// TestLargeBuffers: when all are taken, content is copied with small ones.
func TestLargeBuffers(t *testing.T) {
	b := newBuffers()
	if got := b.large(slowBuffer); len(got) != slowBuffer || len(b.free) != blobBuffers {
		t.Errorf("for little: a buffer of %d bytes", len(got))
	}
	var taken [][]byte
	for range blobBuffers {
		taken = append(taken, b.large(1<<30))
	}
	if got := b.large(1 << 30); len(got) != slowBuffer {
		t.Errorf("one more: a buffer of %d bytes", len(got))
	}
	content := make([]byte, 1<<20)
	var got bytes.Buffer
	if err := b.fill(&got, bytes.NewReader(content)); err != nil || got.Len() != len(content) {
		t.Errorf("without a large buffer: %d bytes, %v", got.Len(), err)
	}
	for _, buffer := range taken {
		if len(buffer) != blobBuffer {
			t.Fatalf("a buffer of %d bytes", len(buffer))
		}
		b.release(buffer)
	}
	if len(b.free) != blobBuffers {
		t.Errorf("%d large buffers are free at the end", len(b.free))
	}
}
