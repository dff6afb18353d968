package server

import (
	"io"
	"sync"
)

// buffers are what content is copied with. There are blobBuffers large ones, so
// that however many clients come, and however slow they are, memory is bounded;
// who gets none is served all the same.
type buffers struct {
	free chan struct{} // a token for each large buffer that is not in use
	pool *sync.Pool    // of *[blobBuffer]byte
}

func newBuffers() buffers {
	b := buffers{free: make(chan struct{}, blobBuffers), pool: &sync.Pool{New: func() any { return new([blobBuffer]byte) }}}
	for range blobBuffers {
		b.free <- struct{}{}
	}
	return b
}

// large returns a large buffer, or a small one where size bytes need no more, or
// all are in use. It must be released.
func (b buffers) large(size int64) []byte {
	if size <= slowBuffer {
		return make([]byte, slowBuffer)
	}
	select {
	case <-b.free:
		return b.pool.Get().(*[blobBuffer]byte)[:]
	default:
		return make([]byte, slowBuffer)
	}
}

func (b buffers) release(buffer []byte) {
	if len(buffer) == blobBuffer {
		b.pool.Put((*[blobBuffer]byte)(buffer))
		b.free <- struct{}{}
	}
}

// fill copies src to dst. It holds a large buffer only while src brings more at a
// time than fits a small one: a client that is waited for does not hold one.
func (b buffers) fill(dst io.Writer, src io.Reader) error {
	small := make([]byte, slowBuffer)
	buffer := small
	defer func() { b.release(buffer) }()
	for {
		n, err := src.Read(buffer)
		if n > 0 {
			if _, err := dst.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case len(buffer) == slowBuffer && n == slowBuffer:
			buffer = b.large(blobBuffer)
		case n <= slowBuffer:
			b.release(buffer)
			buffer = small
		}
	}
}
