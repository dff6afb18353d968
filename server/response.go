package server

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Values of headers that are the same in every answer. They are never changed:
// to set a header replaces its values, and to add to one of these copies it.
var (
	nosniff    = []string{"nosniff"}
	apiVersion = []string{"registry/2.0"}
	sandbox    = []string{"sandbox"}
	byteRanges = []string{"bytes"}
)

// A response is the answer to one request: it remembers what was sent, and
// bounds how slowly a client may take it. It hides no ReadFrom: a file still
// goes from the disk to the connection in the kernel.
type response struct {
	http.ResponseWriter
	control http.ResponseController
	tcp     *net.TCPConn // for files; nil where they go through net/http
	buffers buffers      // to copy with where the kernel does not
	head    bool         // net/http leaves out the body
	asked   bool         // the request has a body
	status  int          // 0 until the header is written
	sent    int64
}

func newResponse(w http.ResponseWriter, r *http.Request, b buffers) *response {
	return &response{
		ResponseWriter: w, control: *http.NewResponseController(w), tcp: tcpOf(r), buffers: b,
		head: r.Method == http.MethodHead, asked: r.Body != nil && r.Body != http.NoBody,
	}
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= http.StatusOK {
		w.status = status
		w.await(0)
		if w.asked {
			// Before it answers, net/http reads what nobody has read of the body.
			_ = w.control.SetReadDeadline(time.Now().Add(restTime))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.await(int64(len(p)))
	n, err := w.ResponseWriter.Write(p)
	if !w.head {
		w.sent += int64(n)
	}
	return n, err
}

// ReadFrom sends src piece by piece, each with its own deadline.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	inner, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok || w.tcp == nil {
		// net/http would hold 32 KiB for each client that is slow.
		buffer := w.buffers.large(blobBuffer)
		defer w.buffers.release(buffer)
		return io.CopyBuffer(struct{ io.Writer }{w}, src, buffer)
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	// The kernel copies from a file behind one LimitedReader, not behind two.
	limit, limited := src.(*io.LimitedReader)
	if !limited {
		limit = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	if w.sendsDirectly(limit.R) {
		n, err := w.sendPieces(w.tcp, limit)
		// net/http has to count it: else it would take the answer for one that
		// ended early.
		if _, countErr := inner.ReadFrom(sent(n)); err == nil {
			err = countErr
		}
		return n, err
	}
	return w.sendPieces(inner, limit)
}

// sendPieces sends what src is limited to.
func (w *response) sendPieces(to io.ReaderFrom, src *io.LimitedReader) (total int64, err error) {
	piece := io.LimitedReader{R: src.R}
	for src.N > 0 {
		size := min(src.N, blobPiece)
		piece.N = size
		w.await(size)
		n, err := to.ReadFrom(&piece)
		total += n
		src.N -= n
		w.sent += n
		if err != nil || n < size {
			return total, err
		}
	}
	return total, nil
}

// announce begins the answer of size bytes of content.
func (w *response) announce(size int64) {
	h := w.Header()
	h["Accept-Ranges"] = byteRanges
	h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	w.WriteHeader(http.StatusOK)
}

// sendFile answers with the size bytes of f, which the kernel copies. When the
// client or the file fails, net/http sees less than was announced, and breaks
// off.
func (w *response) sendFile(f *os.File, size int64) {
	w.announce(size)
	_ = w.control.Flush() // else net/http reads the first bytes of f, to send them with the header
	_, _ = w.ReadFrom(io.LimitReader(f, size))
}

// await gives the client the time that n bytes may take. Where the connection
// knows no deadlines, there are none.
func (w *response) await(n int64) {
	_ = w.control.SetWriteDeadline(time.Now().Add(blobGrace + time.Duration(n/blobRate)*time.Second))
}

// code returns the status that was sent, or that net/http sends by itself.
func (w *response) code() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

// writeJSON answers with v.
func (w *response) writeJSON(status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(status)
	_, err = w.Write(append(body, '\n'))
	return gone(err)
}
