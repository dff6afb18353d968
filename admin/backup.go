package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"

	"berth/audit"
	"berth/registry"
)

// Backup implements API.
func (s *Service) Backup(ctx context.Context, q registry.BackupRequest) (registry.Backup, error) {
	if q.File != "" && !filepath.IsAbs(q.File) {
		return registry.Backup{}, &Error{Invalid, "the file to back up to must be an absolute path"}
	}
	b, err := s.Backer.Backup(ctx, q)
	target := b.Name
	if err != nil {
		target = q.File
	}
	return b, s.changed(audit.Backup, target, "", err)
}

// A backupAnswer has a Backup, or an Error, which is told: who may call is the
// owner of the data.
type backupAnswer struct {
	Backup *registry.Backup `json:"backup,omitempty"`
	Error  string           `json:"error,omitempty"`
}

func (h handler) backup(r *http.Request) (any, error) {
	var q registry.BackupRequest
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	b, err := h.api.Backup(r.Context(), q)
	if err != nil {
		h.log.Error("management call failed", "method", r.Method, "path", r.URL.Path, "error", err)
		return backupAnswer{Error: err.Error()}, nil
	}
	return backupAnswer{Backup: &b}, nil
}

// Backup implements API. It takes as long as it takes.
func (c *Client) Backup(ctx context.Context, q registry.BackupRequest) (registry.Backup, error) {
	resp, err := c.send(ctx, &http.Client{Transport: c.http.Transport}, http.MethodPost, "backups", q)
	if err != nil {
		return registry.Backup{}, err
	}
	defer resp.Body.Close()
	var a backupAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&a); err != nil {
		return registry.Backup{}, fmt.Errorf("understand the server's answer: %w", err)
	}
	if a.Backup == nil {
		return registry.Backup{}, fmt.Errorf("the server could not make a backup: %s", a.Error)
	}
	return *a.Backup, nil
}
