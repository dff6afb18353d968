package s3

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// A transport remembers whether the store answers, and logs requests.
type transport struct {
	next http.RoundTripper
	log  *slog.Logger // nil where requests are not logged
	// problem is what went wrong with the last request, nil when nothing did.
	problem atomic.Pointer[string]
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(r)
	if t.log != nil {
		t.report(r, resp, err, time.Since(start))
	}
	switch {
	case err != nil && r.Context().Err() != nil: // nobody wants to know any more
	case err != nil:
		text := err.Error()
		t.problem.Store(&text)
	case resp.StatusCode >= http.StatusInternalServerError:
		t.problem.Store(&resp.Status)
	case t.problem.Load() != nil:
		t.problem.Store(nil)
	}
	return resp, err
}

// report logs a request. Neither its headers nor its query are fit for a log.
func (t *transport) report(r *http.Request, resp *http.Response, err error, took time.Duration) {
	args := []any{"method", r.Method, "path", r.URL.Path, "took", took}
	if err != nil {
		args = append(args, "error", err)
	} else {
		args = append(args, "status", resp.StatusCode, "id", resp.Header.Get("X-Amz-Request-Id"))
	}
	t.log.InfoContext(r.Context(), "request to the blob store", args...)
}

// CloseIdleConnections is for http.Client.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}
