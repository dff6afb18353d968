package server

import (
	"net/http"
	"net/http/pprof"
	"strings"

	"berth/access"
)

// healthReport is what /readyz says: names, and nothing about them.
type healthReport struct {
	Status   string   `json:"status"` // "ok", "degraded" or "unavailable"
	Degraded []string `json:"degraded,omitempty"`
}

func (s *Server) health(r *http.Request) (status int, h healthReport) {
	h.Status = "ok"
	if s.o.Health == nil {
		return http.StatusOK, h
	}
	ready, degraded := s.o.Health(r.Context())
	h.Degraded = degraded
	switch {
	case !ready:
		h.Status = "unavailable"
		return http.StatusServiceUnavailable, h
	case len(degraded) > 0:
		h.Status = "degraded"
	}
	return http.StatusOK, h
}

// root answers whoever looks whether anything is here. A browser finds the pages.
func (s *Server) root(x *exchange) error {
	x.w.Header().Set("Vary", "Accept")
	if s.o.Pages != nil && strings.Contains(x.r.Header.Get("Accept"), "text/html") {
		x.w.Header().Set("Location", s.prefix+"/ui/")
		x.w.WriteHeader(http.StatusFound)
		return nil
	}
	return writeText(x, "berth: a container registry\n")
}

// live answers as long as the process does.
func (s *Server) live(x *exchange) error { return writeText(x, "ok\n") }

func writeText(x *exchange, text string) error {
	x.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	x.w.Header().Set("Cache-Control", "no-cache")
	_, err := x.w.Write([]byte(text))
	return gone(err)
}

func (s *Server) ready(x *exchange) error {
	status, h := s.health(x.r)
	x.w.Header().Set("Cache-Control", "no-store")
	if status != http.StatusOK {
		x.w.Header().Set("Retry-After", "5")
	}
	return x.w.writeJSON(status, h)
}

// version is the base path of the API, which says that it is spoken.
func (s *Server) version(x *exchange) error {
	return x.w.writeJSON(http.StatusOK, struct{}{})
}

// showMetrics shows on the main address what Debug shows, to admins.
func (s *Server) showMetrics(x *exchange) error {
	if s.o.Verifier == nil || s.o.Metrics == nil {
		return errNoPath
	}
	if !s.may(&x.caller, access.Admin, target{}) {
		return x.denied("manage the registry")
	}
	x.w.Header().Set("Cache-Control", "no-store")
	s.o.Metrics.ServeHTTP(x.w, x.r)
	return nil
}

// Debug returns the handler of the debug address: metrics, health, and the
// profiles of the Go runtime. It asks nobody who he is.
func (s *Server) Debug() http.Handler {
	mux := http.NewServeMux()
	if s.o.MetricsPath != "" && s.o.Metrics != nil {
		mux.Handle("GET "+s.o.MetricsPath, s.o.Metrics)
	}
	mux.HandleFunc("GET /debug/health", func(w http.ResponseWriter, r *http.Request) {
		status, h := s.health(r)
		if err := newResponse(w, r, s.buffers).writeJSON(status, h); err != nil {
			panic(http.ErrAbortHandler)
		}
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
