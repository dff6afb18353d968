package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// A sweepLine is one line of the answer to a sweep. The last one has a Report and,
// where the sweep has failed, an Error.
type sweepLine struct {
	Progress *registry.SweepProgress `json:"progress,omitempty"`
	Report   *registry.SweepReport   `json:"report,omitempty"`
	Error    string                  `json:"error,omitempty"`
}

// Sweep implements API.
func (s *Service) Sweep(ctx context.Context, q registry.SweepRequest, progress func(registry.SweepProgress)) (registry.SweepReport, error) {
	report, err := s.Sweeper.Sweep(ctx, q, progress)
	if q.DryRun {
		return report, err
	}
	return report, s.changed(audit.Sweep, "", fmt.Sprintf("%d tags, %d manifests, %d blobs of %d bytes, %d unknown objects",
		report.Tags, report.Manifests, report.Blobs, report.Bytes, report.Expired), err)
}

// DeleteRepository implements API.
func (s *Service) DeleteRepository(ctx context.Context, name string) error {
	repo, err := oci.ParseName(name)
	if err != nil {
		return invalid(err)
	}
	err = s.Deleter.DeleteRepository(ctx, repo)
	if errors.Is(err, oci.NameUnknown) {
		err = &Error{NotFound, "there is no repository " + name}
	}
	return s.changed(audit.DeleteRepository, name, "", err)
}

func (h handler) deleteRepository(r *http.Request) (any, error) {
	return nil, h.api.DeleteRepository(r.Context(), r.PathValue("name"))
}

// sweep answers with lines, the last of which is the report.
func (h handler) sweep(w http.ResponseWriter, r *http.Request) {
	lines := h.lines(w, r)
	var q registry.SweepRequest
	report, err := registry.SweepReport{}, decode(r, &q)
	if err == nil {
		report, err = h.api.Sweep(r.Context(), q, func(p registry.SweepProgress) { lines.progress(sweepLine{Progress: &p}) })
	}
	end := sweepLine{Report: &report}
	if err != nil {
		end.Error = lines.failed(r, err)
	}
	lines.send(end)
}

// Sweep implements API.
func (c *Client) Sweep(ctx context.Context, q registry.SweepRequest, progress func(registry.SweepProgress)) (registry.SweepReport, error) {
	resp, err := c.send(ctx, c.patient(), http.MethodPost, "gc", q)
	if err != nil {
		return registry.SweepReport{}, err
	}
	var end sweepLine
	err = readLines(resp, func(l sweepLine) bool {
		if l.Progress != nil && progress != nil {
			progress(*l.Progress)
		}
		end = l
		return l.Report != nil
	})
	if err != nil {
		return registry.SweepReport{}, err
	}
	if end.Error != "" {
		err = errors.New(end.Error)
	}
	return *end.Report, err
}

// DeleteRepository implements API.
func (c *Client) DeleteRepository(ctx context.Context, name string) error {
	path := &url.URL{Path: "repositories/" + name}
	resp, err := c.send(ctx, c.patient(), http.MethodDelete, path.EscapedPath(), nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
