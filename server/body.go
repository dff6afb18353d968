package server

import (
	"io"
	"net/http"
	"time"

	"berth/oci"
)

// A pacedBody is the body of a request that may not come slower than blobRate,
// measured over blobGrace, where the connection knows deadlines.
type pacedBody struct {
	body    io.Reader
	control *http.ResponseController
	began   time.Time // of the span that is measured
	taken   int64     // in it
}

func newPacedBody(x *exchange) *pacedBody {
	b := &pacedBody{body: x.r.Body, control: &x.w.control}
	b.restart()
	return b
}

func (b *pacedBody) restart() {
	b.began, b.taken = time.Now(), 0
	_ = b.control.SetReadDeadline(b.began.Add(blobGrace))
}

func (b *pacedBody) Read(p []byte) (int, error) {
	const enough = int64(blobGrace/time.Second) * blobRate
	if b.taken >= enough && time.Since(b.began) >= time.Second {
		b.restart()
	}
	n, err := b.body.Read(p)
	b.taken += int64(n)
	if err != nil && err != io.EOF {
		err = &bodyError{err}
	}
	return n, err
}

// receive copies the body into dst. It returns a *bodyError when it is the
// client that failed.
func (s *Server) receive(x *exchange, dst io.Writer) error {
	if x.r.Body == http.NoBody {
		return nil
	}
	// Without the deadline again, as it would end the request while it is
	// carried out.
	defer x.w.control.SetReadDeadline(time.Time{})
	return s.buffers.fill(dst, newPacedBody(x))
}

// readManifest reads a body of at most oci.MaxManifestSize bytes. The memory of
// all that are being read is bounded: a client that sends half of one and waits
// costs what it has sent. The bytes are paid for until release is called.
func (s *Server) readManifest(x *exchange) (data []byte, release func(), err error) {
	if x.r.ContentLength > oci.MaxManifestSize {
		return nil, nil, &bodyError{&http.MaxBytesError{Limit: oci.MaxManifestSize}}
	}
	var paid int64
	free := func() { s.memory.Release(paid) }
	defer func() {
		if err != nil {
			free()
		}
	}()
	_ = x.w.control.SetReadDeadline(time.Now().Add(manifestTime))
	defer x.w.control.SetReadDeadline(time.Time{})
	body := http.MaxBytesReader(x.w.ResponseWriter, x.r.Body, oci.MaxManifestSize)
	for {
		if len(data) == cap(data) {
			// The old and the new buffer are there together for a moment.
			more := max(manifestBuffer, int64(cap(data)))
			if !s.memory.TryAcquire(more) {
				return nil, nil, oci.Errorf(oci.Unavailable, "too many manifests are being pushed at once")
			}
			paid += more
			data = append(make([]byte, 0, paid), data...)
		}
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, free, nil
		}
		if err != nil {
			return nil, nil, &bodyError{err}
		}
	}
}
