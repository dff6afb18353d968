package bucket

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestIdle: what stands still ends, what is slow does not.
func TestIdle(t *testing.T) {
	const limit = 500 * time.Millisecond
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dead":
			<-stop
		case "/dying":
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			<-stop
		case "/slow":
			for range 5 {
				_, _ = io.WriteString(w, "x")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(limit / 10)
			}
		}
	}))
	defer server.Close()
	defer close(stop)
	tr := Transport(false).(*transport)
	tr.limit = limit
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}

	if _, err := client.Get(server.URL + "/dead"); !errors.Is(err, ErrIdle) {
		t.Errorf("an answer that does not begin: %v", err)
	}
	for path, want := range map[string]error{"/dying": ErrIdle, "/slow": nil} {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
		resp.Body.Close()
	}
	resp, err := client.Get(server.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	time.Sleep(2 * limit) // the reader may be slow as well
	if got, err := io.ReadAll(iotest.OneByteReader(resp.Body)); err != nil || len(got) != 5 {
		t.Errorf("a slow reader gets %q, %v", got, err)
	}
}

// TestBodyAfterTheEnd: the bytes of a request may be used for something else when
// it has ended.
func TestBodyAfterTheEnd(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable) // without reading
	}))
	defer server.Close()
	tr := Transport(false).(*transport)
	defer tr.CloseIdleConnections()
	body := &counted{Reader: strings.NewReader(strings.Repeat("x", 64<<20))}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(r)
	if err == nil {
		resp.Body.Close()
	}
	n := body.Len()
	time.Sleep(50 * time.Millisecond)
	if body.Len() != n {
		t.Errorf("%d bytes were read after the end", n-body.Len())
	}
}

type counted struct{ *strings.Reader }

func (c *counted) Close() error { return nil }

var _ io.ReadCloser = (*counted)(nil)

func TestPause(t *testing.T) {
	start := time.Now()
	if err := Pause(t.Context(), 0, 20*time.Millisecond); err != nil || time.Since(start) < 20*time.Millisecond {
		t.Errorf("Pause: %v after %v", err, time.Since(start))
	}
}
