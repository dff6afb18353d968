package admin

import (
	"context"
	"errors"
	"testing"

	"berth/audit"
	"berth/registry"
)

type scrubbing struct{ asked registry.ScrubRequest }

func (s *scrubbing) Scrub(_ context.Context, q registry.ScrubRequest, progress func(registry.ScrubProgress)) (registry.ScrubReport, error) {
	s.asked = q
	progress(registry.ScrubProgress{Blobs: 1})
	report := registry.ScrubReport{Blobs: 2, Damaged: 1, Damages: []registry.Damage{{Problem: "p"}}}
	if q.Restart {
		return report, errors.New("disk on fire")
	}
	return report, nil
}

func TestScrubThroughASocket(t *testing.T) {
	client, service := newAPI(t)
	var events []audit.Event
	scrubber := new(scrubbing)
	service.Scrubber, service.Audit = scrubber, func(e audit.Event) { events = append(events, e) }
	var last registry.ScrubProgress
	watch := func(p registry.ScrubProgress) { last = p }
	report, err := client.Scrub(t.Context(), registry.ScrubRequest{Rate: 5}, watch)
	if err != nil || report.Blobs != 2 || len(report.Damages) != 1 || last.Blobs != 1 || scrubber.asked.Rate != 5 {
		t.Errorf("%+v, %v, progress %+v, asked %+v", report, err, last, scrubber.asked)
	}
	if report, err := client.Scrub(t.Context(), registry.ScrubRequest{Restart: true}, watch); err == nil || err.Error() != "disk on fire" || report.Blobs != 2 {
		t.Errorf("a failure: %+v, %v", report, err)
	}
	if _, err := client.Scrub(t.Context(), registry.ScrubRequest{Rate: -1}, watch); err == nil {
		t.Error("a negative rate is taken")
	}
	if len(events) != 2 || events[0].Kind != audit.Scrub || events[1].Result != audit.Error {
		t.Errorf("events: %+v", events)
	}
}
