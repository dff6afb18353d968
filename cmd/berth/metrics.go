package main

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/auth"
	"berth/server"
)

// metrics counts for Prometheus, under the names that Distribution gave what
// it counts too. It is a server.Meter.
type metrics struct {
	registry *prometheus.Registry
	inFlight *prometheus.GaugeVec
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	received *prometheus.HistogramVec
	sent     *prometheus.HistogramVec
	refused  prometheus.Counter
	rules    *prometheus.CounterVec
	panics   prometheus.Counter
}

// newMetrics returns metrics that hold what stats counts as well.
func newMetrics(stats func() auth.Stats) *metrics {
	handler, method, code := "handler", "method", "code"
	sizes := prometheus.ExponentialBuckets(1<<10, 8, 8)
	m := &metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "registry_http_in_flight_requests", Help: "Requests being served.",
		}, []string{handler}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "registry_http_requests_total", Help: "Requests served.",
		}, []string{handler, method, code}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "registry_http_request_duration_seconds", Help: "Time to serve a request.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 4, 10),
		}, []string{handler, method, code}),
		received: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "registry_http_request_size_bytes", Help: "Announced size of request bodies.", Buckets: sizes,
		}, []string{handler}),
		sent: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "registry_http_response_size_bytes", Help: "Size of response bodies.", Buckets: sizes,
		}, []string{handler}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_refused_requests_total", Help: "Requests whose caller may not do what he asked.",
		}),
		rules: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_rule_refusals_total", Help: "Requests that a rule did not let through, whoever asks: immutable, quota or limit.",
		}, []string{"rule"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_panics_total", Help: "Requests that ended in a panic.",
		}),
	}
	m.registry.MustRegister(m.inFlight, m.requests, m.duration, m.received, m.sent, m.refused, m.rules, m.panics,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.count("berth_authentication_attempts_total", "Passwords presented.", func() uint64 { return stats().Attempts })
	m.count("berth_authentication_failures_total", "Passwords that were wrong.", func() uint64 { return stats().Failures })
	m.count("berth_authentication_cache_hits_total", "Passwords remembered as right.", func() uint64 { return stats().CacheHits })
	m.count("berth_authentication_throttled_total", "Passwords not looked at after too many wrong ones.", func() uint64 { return stats().Throttled })
	return m
}

func (m *metrics) count(name, help string, value func() uint64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

func (m *metrics) gauge(name, help string, value func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
		func() float64 { return float64(value()) }))
}

func (m *metrics) value(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Begin implements server.Meter.
func (m *metrics) Begin(handler string) { m.inFlight.WithLabelValues(handler).Inc() }

// End implements server.Meter.
func (m *metrics) End(s server.Sample) {
	m.inFlight.WithLabelValues(s.Handler).Dec()
	code := strconv.Itoa(s.Status)
	m.requests.WithLabelValues(s.Handler, s.Method, code).Inc()
	m.duration.WithLabelValues(s.Handler, s.Method, code).Observe(s.Duration.Seconds())
	m.received.WithLabelValues(s.Handler).Observe(float64(s.Received))
	m.sent.WithLabelValues(s.Handler).Observe(float64(s.Sent))
	if s.Refused {
		m.refused.Inc()
	}
	if s.Rule != "" {
		m.rules.WithLabelValues(s.Rule).Inc()
	}
	if s.Panicked {
		m.panics.Inc()
	}
}
