package server

import (
	"io"
	"net"
	"net/http"
	"os"
)

// tcpOf returns the connection of a request where its answer goes over it as it
// is: in HTTP/1, without TLS. Else nil.
func tcpOf(r *http.Request) *net.TCPConn {
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok || r.ProtoMajor != 1 || r.TLS != nil {
		return nil
	}
	tcp, _ := c.conn.(*net.TCPConn)
	return tcp
}

// sendsDirectly reports whether src can go to the connection past net/http, which
// keeps 32 KiB for as long as its ReadFrom waits for the client. It is a file, and
// a header that is sent now says how much will come.
func (w *response) sendsDirectly(src io.Reader) bool {
	_, isFile := src.(*os.File)
	return isFile && w.tcp != nil && !w.head && w.Header()["Content-Length"] != nil && w.control.Flush() == nil
}

// sent is so many bytes that are on their way already.
type sent int64

// WriteTo implements io.WriterTo, which io.Copy asks first.
func (s sent) WriteTo(io.Writer) (int64, error) { return int64(s), nil }

// Read implements io.Reader.
func (s sent) Read([]byte) (int, error) { return 0, io.EOF }
