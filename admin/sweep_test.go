package admin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/audit"
	"berth/oci"
	"berth/registry"
)

// A sweeper tells of one step, and fails when it is asked for untagged manifests.
type sweeper struct {
	registry.Deleter
	asked registry.SweepRequest
	repos map[oci.Name]bool
}

func (s *sweeper) Sweep(_ context.Context, q registry.SweepRequest, progress func(registry.SweepProgress)) (registry.SweepReport, error) {
	s.asked = q
	progress(registry.SweepProgress{Phase: "links", Seen: 7})
	report := registry.SweepReport{Blobs: 2, Bytes: 300, Repositories: []registry.SweptRepository{{Name: "a/b", Blobs: 2}}}
	if q.Untagged {
		return report, errors.New("disk on fire")
	}
	return report, nil
}

func (s *sweeper) DeleteRepository(_ context.Context, repo oci.Name) error {
	if !s.repos[repo] {
		return oci.Errorf(oci.NameUnknown, "unknown")
	}
	delete(s.repos, repo)
	return nil
}

func TestSweepThroughASocket(t *testing.T) {
	client, service := newAPI(t)
	s := new(sweeper)
	var events []audit.Event
	service.Sweeper, service.Audit = s, func(e audit.Event) { events = append(events, e) }
	var last registry.SweepProgress
	tell := func(p registry.SweepProgress) { last = p }
	grace := time.Minute
	for _, q := range []registry.SweepRequest{{DryRun: true, AcceptUnknown: true}, {Grace: &grace}} {
		report, err := client.Sweep(t.Context(), q, tell)
		if err != nil || report.Bytes != 300 || len(report.Repositories) != 1 || last.Seen != 7 {
			t.Errorf("%+v, %v, progress %+v", report, err, last)
		}
		if diff := cmp.Diff(q, s.asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	}
	report, err := client.Sweep(t.Context(), registry.SweepRequest{Untagged: true}, nil)
	if err == nil || err.Error() != "disk on fire" || report.Blobs != 2 {
		t.Errorf("a failure: %+v, %v", report, err)
	}
	if len(events) != 2 || events[0].Kind != audit.Sweep || events[0].Result != audit.OK || events[1].Result != audit.Error {
		t.Errorf("events: %+v", events)
	}
}

func TestDeleteRepository(t *testing.T) {
	client, service := newAPI(t)
	var events []audit.Event
	service.Deleter, service.Audit = &sweeper{repos: map[oci.Name]bool{"team/app": true}}, func(e audit.Event) { events = append(events, e) }
	if err := client.DeleteRepository(t.Context(), "team/app"); err != nil {
		t.Error(err)
	}
	if err := client.DeleteRepository(t.Context(), "team/app"); !errors.Is(err, &Error{Kind: NotFound}) {
		t.Errorf("again: %v", err)
	}
	if err := client.DeleteRepository(t.Context(), "No%20Name"); !errors.Is(err, &Error{Kind: Invalid}) {
		t.Errorf("no name: %v", err)
	}
	if len(events) != 2 || events[0].Kind != audit.DeleteRepository || events[0].Repository != "team/app" || events[1].Result != audit.Failed {
		t.Errorf("events: %+v", events)
	}
}
