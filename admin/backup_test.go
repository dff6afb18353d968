package admin

import (
	"context"
	"errors"
	"strings"
	"testing"

	"berth/audit"
	"berth/registry"
)

type backing struct{}

func (backing) Backup(_ context.Context, q registry.BackupRequest) (registry.Backup, error) {
	if q.File == "/full" {
		return registry.Backup{}, errors.New("no space left")
	}
	return registry.Backup{Name: "b" + q.File, Size: 7}, nil
}

func TestBackupThroughASocket(t *testing.T) {
	client, service := newAPI(t)
	var events []audit.Event
	service.Backer, service.Audit = backing{}, func(e audit.Event) { events = append(events, e) }
	if b, err := client.Backup(t.Context(), registry.BackupRequest{File: "/x"}); err != nil || b.Name != "b/x" || b.Size != 7 {
		t.Errorf("%+v, %v", b, err)
	}
	for file, want := range map[string]string{"/full": "no space left", "relative": "absolute"} {
		if _, err := client.Backup(t.Context(), registry.BackupRequest{File: file}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if len(events) != 2 || events[0].Kind != audit.Backup || events[0].Target != "b/x" || events[1].Result != audit.Error {
		t.Errorf("events: %+v", events)
	}
}
