package server

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestShowings(t *testing.T) {
	var s showings
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	here, there := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for _, step := range []struct {
		what  showing
		later time.Duration
		want  bool
	}{
		{showing{"a", here}, 0, true},
		{showing{"a", here}, showTime - 1, false},
		{showing{"a", there}, 0, true},
		{showing{"b", here}, 0, true},
		{showing{"a", here}, 1, true},
		{showing{"a", here}, 1, false},
	} {
		now = now.Add(step.later)
		if got := s.first(step.what, now); got != step.want {
			t.Errorf("%+v at %v: %v", step.what, now, got)
		}
	}
	for i := range 3 * maxShowings {
		s.first(showing{fmt.Sprint(i), here}, now)
	}
	if len(s.at) > maxShowings {
		t.Errorf("%d are remembered", len(s.at))
	}
}
