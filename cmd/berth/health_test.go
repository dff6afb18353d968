package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestHealthTells: what /readyz names is in the log when it begins, and when it
// ends.
func TestHealthTells(t *testing.T) {
	var h health
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	problem := ""
	h.watch("http.tls", func() string { return problem })
	h.report("configuration", "which says so itself")
	for _, step := range []struct{ problem, want string }{
		{"", ""},
		{"the certificate expires on 2026-12-01", `level=WARN msg=degraded part=http.tls problem="the certificate expires on 2026-12-01"`},
		{"the certificate expires on 2026-12-01", ""},
		{"something else", ""},
		{"", `level=INFO msg="not degraded any more" part=http.tls`},
		{"", ""},
		{"again", "problem=again"},
	} {
		problem = step.problem
		out.Reset()
		h.tell(log)
		if got := out.String(); !strings.Contains(got, step.want) || strings.Count(got, "\n") != min(len(step.want), 1) {
			t.Errorf("%q: %q", step.problem, got)
		}
	}
	if got := strings.Join(h.degraded(), " "); got != "configuration http.tls" {
		t.Errorf("degraded: %s", got)
	}
}
