package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"berth/audit"
	"berth/registry"
)

// A scrubLine is one line of the answer to a scrub. The last one has a Report and,
// where the scrub has failed, an Error.
type scrubLine struct {
	Progress *registry.ScrubProgress `json:"progress,omitempty"`
	Report   *registry.ScrubReport   `json:"report,omitempty"`
	Error    string                  `json:"error,omitempty"`
}

// Scrub implements API.
func (s *Service) Scrub(ctx context.Context, q registry.ScrubRequest, progress func(registry.ScrubProgress)) (registry.ScrubReport, error) {
	if q.Rate < 0 {
		return registry.ScrubReport{}, &Error{Invalid, "the rate must not be negative"}
	}
	report, err := s.Scrubber.Scrub(ctx, q, progress)
	return report, s.changed(audit.Scrub, "", fmt.Sprintf("%d blobs of %d bytes, %d damaged, %d healed",
		report.Blobs, report.Bytes, report.Damaged, report.Healed), err)
}

// scrub answers with lines, the last of which is the report.
func (h handler) scrub(w http.ResponseWriter, r *http.Request) {
	lines := h.lines(w, r)
	var q registry.ScrubRequest
	report, err := registry.ScrubReport{}, decode(r, &q)
	if err == nil {
		report, err = h.api.Scrub(r.Context(), q, func(p registry.ScrubProgress) { lines.progress(scrubLine{Progress: &p}) })
	}
	end := scrubLine{Report: &report}
	if err != nil {
		end.Error = lines.failed(r, err)
	}
	lines.send(end)
}

// Scrub implements API.
func (c *Client) Scrub(ctx context.Context, q registry.ScrubRequest, progress func(registry.ScrubProgress)) (registry.ScrubReport, error) {
	resp, err := c.send(ctx, c.patient(), http.MethodPost, "scrub", q)
	if err != nil {
		return registry.ScrubReport{}, err
	}
	var end scrubLine
	err = readLines(resp, func(l scrubLine) bool {
		if l.Progress != nil && progress != nil {
			progress(*l.Progress)
		}
		end = l
		return l.Report != nil
	})
	if err != nil {
		return registry.ScrubReport{}, err
	}
	if end.Error != "" {
		err = errors.New(end.Error)
	}
	return *end.Report, err
}
