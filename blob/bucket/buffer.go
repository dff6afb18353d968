package bucket

// firstBuffer is how much room a stream begins with. Most streams are short: a
// buffer doubles until it is a whole part, which comes from a pool.
const firstBuffer = 64 << 10

// grow makes room for n bytes more behind the rest. The caller holds the lock.
func (w *writer) grow(n int) {
	need := len(w.rest) + n
	if need <= cap(w.rest) {
		return
	}
	size := max(firstBuffer, 2*cap(w.rest))
	for size < need {
		size *= 2
	}
	if part := w.part(); need <= part {
		if w.sent > 0 {
			size = part // to double would take the memory of the one on its way
		}
		size = min(size, part)
	}
	larger := append(w.store.buffer(size), w.rest...)
	w.store.release(w.rest)
	w.rest = larger
}

// buffer returns an empty buffer of size bytes.
func (s *Store) buffer(size int) []byte {
	if size == s.o.Part {
		if b, ok := s.buffers.Get().(*[]byte); ok {
			return (*b)[:0]
		}
	}
	return make([]byte, 0, size)
}

// release gives a buffer back.
func (s *Store) release(b []byte) {
	if cap(b) == s.o.Part {
		s.buffers.Put(&b)
	}
}
