package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A sink is a connection that takes everything at once.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

func (s *sink) ReadFrom(r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }

// BenchmarkRequest is what an answer costs beside net/http and the registry.
func BenchmarkRequest(b *testing.B) {
	f := newFixture(b, open, func(o *Options) { o.AccessLog = nil })
	blob := f.reg.addBlob("docs", []byte(strings.Repeat("x", 64<<10)))
	f.reg.addManifest("docs", "v1")
	for _, bench := range []struct{ name, method, path string }{
		{"HEAD manifest by tag", head, "/v2/docs/manifests/v1"},
		{"GET manifest by tag", get, "/v2/docs/manifests/v1"},
		{"GET blob", get, "/v2/docs/blobs/" + string(blob)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := httptest.NewRequest(bench.method, bench.path, nil)
			r.Body = http.NoBody
			b.ReportAllocs()
			for b.Loop() {
				f.Config.Handler.ServeHTTP(&sink{make(http.Header)}, r)
			}
		})
	}
}
