package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestHealthCheckThreshold: a check counts when it has failed often enough, and
// one success ends that.
func TestHealthCheckThreshold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := []bool{true, false, false, true, false, false, false, true}
		ready := []bool{true, true, true, true, true, true, false, true}
		var h health
		ctx, cancel := context.WithCancel(t.Context())
		next := 0
		c := healthCheck{"health.tcp.0", time.Second, 3, func(context.Context) error {
			next++
			if next <= len(results) && !results[next-1] {
				return os.ErrNotExist
			}
			return nil
		}}
		go c.run(ctx, &h, slog.New(slog.DiscardHandler))
		for i, want := range ready {
			synctest.Wait()
			if h.ready() != want || slices.Contains(h.degraded(), "health.tcp.0") == want {
				t.Errorf("after look %d: ready %v, degraded %v", i+1, h.ready(), h.degraded())
			}
			time.Sleep(time.Second)
		}
		cancel()
	})
}

// TestHealthChecks: each kind of check, as it succeeds and as it fails.
func TestHealthChecks(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out-of-service")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.Header.Get("X-Key") != "canary" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := mustParse(t, `
health:
  storagedriver: {enabled: false}
  file: [{file: "`+file+`"}]
  http: [{uri: "`+web.URL+`/x?password=canary", headers: {X-Key: [canary]}}, {uri: "`+web.URL+`", statuscode: 403}, {uri: "`+web.URL+`"}]
  tcp: [{addr: "`+l.Addr().String()+`"}, {addr: "127.0.0.1:1", timeout: 1s}]
`)
	checks := (&running{cfg: cfg}).healthChecks()
	var failing []string
	for _, c := range checks {
		if err := c.look(t.Context()); err != nil {
			failing = append(failing, c.part)
		}
		if c.interval != checkInterval {
			t.Errorf("%s: every %v", c.part, c.interval)
		}
	}
	if len(checks) != 6 || !slices.Equal(failing, []string{"health.http.2", "health.tcp.1"}) {
		t.Errorf("%d checks, failing %v", len(checks), failing)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checks[0].look(t.Context()); err == nil {
		t.Error("the file is there, and nothing fails")
	}
	web.Close()
	if err := checks[1].look(t.Context()); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a server that is gone: %v", err)
	}
}

// TestMaintenanceConfig: what is said of uploads and checks, and what cannot be.
func TestMaintenanceConfig(t *testing.T) {
	for text, want := range map[string]purgingConfig{
		"version: 0.1": {Age: 24 * time.Hour, Interval: time.Hour},
		"storage: {maintenance: {uploadpurging: {enabled: true}}}":                                       {Age: 168 * time.Hour, Interval: 24 * time.Hour},
		"storage: {maintenance: {uploadpurging: {enabled: true, age: 1h, interval: 10m, dryrun: true}}}": {Age: time.Hour, Interval: 10 * time.Minute, DryRun: true},
		"storage: {maintenance: {uploadpurging: {age: 2h}}}":                                             {Age: 2 * time.Hour, Interval: 24 * time.Hour},
	} {
		got := mustParse(t, text).purging()
		if !*got.Enabled {
			t.Errorf("%s: off", text)
		}
		if got.Enabled = nil; got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
	off, _, err := parseConfig("config.yml", []byte("storage: {maintenance: {uploadpurging: {enabled: false}}}"), nil)
	if err != nil || *off.purging().Enabled {
		t.Errorf("switched off: %v", err)
	}
	for text, key := range map[string]string{
		"storage: {maintenance: {uploadpurging: {age: -1h}}}":     "storage.maintenance.uploadpurging",
		"health: {file: [{interval: 1s}]}":                        "health.file.0",
		"health: {http: [{uri: /x}]}":                             "health.http.0",
		"health: {tcp: [{addr: host}]}":                           "health.tcp.0",
		"health: {storagedriver: {enabled: true, interval: -1s}}": "health.storagedriver",
	} {
		if got := faults(t, text); len(got) != 1 || !strings.Contains(got[0], key+": ") {
			t.Errorf("%s: %q", text, got)
		}
	}
}
