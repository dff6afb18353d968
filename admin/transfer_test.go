package admin

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/audit"
	"berth/registry"
)

// A mover tells of one finding, and fails when it is asked to prune.
type mover struct{ asked any }

func (m *mover) Adopt(_ context.Context, o registry.AdoptOptions) (registry.Transfer, error) {
	m.asked = o.Verify
	o.Progress(registry.Transfer{Blobs: 1})
	o.Found(registry.Finding{Path: "a", Reason: "b", Lost: true})
	return registry.Transfer{Blobs: 2, Lost: 1}, nil
}

func (m *mover) Export(_ context.Context, o registry.ExportOptions) (registry.Transfer, error) {
	m.asked = o.Dir
	if o.Prune {
		return registry.Transfer{Tags: 3}, errors.New("disk on fire")
	}
	return registry.Transfer{Tags: 4}, nil
}

// TestTransfersThroughASocket: who watches a transfer of a server sees it all, and
// why it failed.
func TestTransfersThroughASocket(t *testing.T) {
	client, service := newAPI(t)
	moving := new(mover)
	var events []audit.Event
	service.Mover, service.Audit = moving, func(e audit.Event) { events = append(events, e) }
	var found []registry.Finding
	var last registry.Transfer
	watch := registry.Watch{
		Found:    func(f registry.Finding) { found = append(found, f) },
		Progress: func(t registry.Transfer) { last = t },
	}
	total, err := client.Adopt(t.Context(), registry.AdoptOptions{Verify: true, Watch: watch})
	if err != nil || total != (registry.Transfer{Blobs: 2, Lost: 1}) || last.Blobs != 1 || moving.asked != true {
		t.Errorf("%+v, %v, progress %+v, asked %v", total, err, last, moving.asked)
	}
	if diff := cmp.Diff([]registry.Finding{{Path: "a", Reason: "b", Lost: true}}, found); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if total, err = client.Export(t.Context(), registry.ExportOptions{Dir: "/x"}); err != nil || total.Tags != 4 || moving.asked != "/x" {
		t.Errorf("%+v, %v, asked %v", total, err, moving.asked)
	}
	total, err = client.Export(t.Context(), registry.ExportOptions{Dir: "/x", Prune: true})
	if err == nil || err.Error() != "disk on fire" || total.Tags != 3 {
		t.Errorf("a failure: %+v, %v", total, err)
	}
	if _, err := client.Export(t.Context(), registry.ExportOptions{Dir: "x"}); err == nil {
		t.Error("a relative path is taken")
	}
	if len(events) != 3 || events[0].Kind != audit.Import || events[1].Target != "/x" || events[2].Result != audit.Error {
		t.Errorf("events: %+v", events)
	}
}
