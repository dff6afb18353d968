package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// progressEvery is how often a call that goes on tells how far it is.
const progressEvery = 200 * time.Millisecond

// A lineWriter answers a call that takes long with a line of JSON for each thing
// that it has to tell. It is safe for concurrent use.
type lineWriter struct {
	h handler
	w http.ResponseWriter

	mu   sync.Mutex
	told time.Time // of progress
}

// lines begins an answer. The context of r ends when the client goes.
func (h handler) lines(w http.ResponseWriter, r *http.Request) *lineWriter {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	return &lineWriter{h: h, w: w}
}

// send writes a line now.
func (l *lineWriter) send(line any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.encode(l.w, line)
	_ = http.NewResponseController(l.w).Flush() // a client that is gone ends the context
}

// add writes a line, which may wait for the next that is sent.
func (l *lineWriter) add(line any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.encode(l.w, line)
}

// progress is send, unless one was sent just before.
func (l *lineWriter) progress(line any) {
	l.mu.Lock()
	due := time.Since(l.told) >= progressEvery
	if due {
		l.told = time.Now()
	}
	l.mu.Unlock()
	if due {
		l.send(line)
	}
}

// failed logs the error of a call and returns what the client is told.
func (l *lineWriter) failed(r *http.Request, err error) string {
	l.h.log.Error("management call failed", "method", r.Method, "path", r.URL.Path, "error", err)
	return err.Error()
}

// readLines calls each with every line of an answer, until it reports that one was
// the last.
func readLines[T any](resp *http.Response, each func(T) (last bool)) error {
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var line T
		if err := d.Decode(&line); err != nil {
			return fmt.Errorf("the server has not told the end: %w", err)
		}
		if each(line) {
			return nil
		}
	}
}

// patient returns a client that waits for as long as a call takes.
func (c *Client) patient() *http.Client { return &http.Client{Transport: c.http.Transport} }
