package main

import (
	"testing"
	"time"
)

func TestParseExpiry(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"90d":        now.AddDate(0, 0, 90),
		"12h30m":     now.Add(12*time.Hour + 30*time.Minute),
		"2026-12-31": time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC),
		"never":      {},
	} {
		if got, err := parseExpiry(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "soon", "0d", "-1d", "1.5d", "d", "1000000d", "-1h", "0s", "2026-13-01", "90"} {
		if got, err := parseExpiry(s, now); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParseNetworks(t *testing.T) {
	got, err := parseNetworks([]string{"10.1.2.3/8", "192.0.2.1", "2001:db8::1"})
	if err != nil || len(got) != 3 || got[0].String() != "10.0.0.0/8" || got[1].String() != "192.0.2.1/32" || got[2].String() != "2001:db8::1/128" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := parseNetworks([]string{"10.0.0.0/33"}); err == nil {
		t.Errorf("%v", got)
	}
}
