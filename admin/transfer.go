package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"berth/audit"
	"berth/registry"
)

// progressEvery is how often a call that goes on tells how far it is.
const progressEvery = 200 * time.Millisecond

type adoptCall struct {
	Verify bool `json:"verify,omitempty"`
}

type exportCall struct {
	Dir   string `json:"dir"`
	Prune bool   `json:"prune,omitempty"`
}

// A transferLine is one line of the answer to a call that takes long. The last
// one has a Result or, where the call has failed, an Error; what was done until
// then is with both.
type transferLine struct {
	Finding  *registry.Finding  `json:"finding,omitempty"`
	Progress *registry.Transfer `json:"progress,omitempty"`
	Result   *registry.Transfer `json:"result,omitempty"`
	Error    string             `json:"error,omitempty"`
}

// Adopt implements API.
func (s *Service) Adopt(ctx context.Context, o registry.AdoptOptions) (registry.Transfer, error) {
	t, err := s.Mover.Adopt(ctx, o)
	return t, s.changed(audit.Import, "", moved(t), err)
}

// Export implements API.
func (s *Service) Export(ctx context.Context, o registry.ExportOptions) (registry.Transfer, error) {
	if !filepath.IsAbs(o.Dir) {
		return registry.Transfer{}, &Error{Invalid, "the folder to export to must be an absolute path"}
	}
	t, err := s.Mover.Export(ctx, o)
	return t, s.changed(audit.Export, o.Dir, moved(t), err)
}

func moved(t registry.Transfer) string {
	return fmt.Sprintf("%d repositories, %d manifests, %d tags, %d blobs; %d lost", t.Repositories, t.Manifests, t.Tags, t.Blobs, t.Lost)
}

func (h handler) adopt(r *http.Request, w registry.Watch) (registry.Transfer, error) {
	var c adoptCall
	if err := decode(r, &c); err != nil {
		return registry.Transfer{}, err
	}
	return h.api.Adopt(r.Context(), registry.AdoptOptions{Verify: c.Verify, Watch: w})
}

func (h handler) export(r *http.Request, w registry.Watch) (registry.Transfer, error) {
	var c exportCall
	if err := decode(r, &c); err != nil {
		return registry.Transfer{}, err
	}
	return h.api.Export(r.Context(), registry.ExportOptions{Dir: c.Dir, Prune: c.Prune, Watch: w})
}

// serveTransfer answers a call that takes long with a line for each thing that it
// has to tell. It ends when the client goes.
func (h handler) serveTransfer(call func(*http.Request, registry.Watch) (registry.Transfer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		var mu sync.Mutex
		var told time.Time
		send := func(l transferLine) {
			mu.Lock()
			defer mu.Unlock()
			if l.Progress != nil {
				if time.Since(told) < progressEvery {
					return
				}
				told = time.Now()
			}
			h.encode(w, l)
			if l.Finding == nil {
				_ = http.NewResponseController(w).Flush() // a client that is gone ends the context
			}
		}
		t, err := call(r, registry.Watch{
			Found:    func(f registry.Finding) { send(transferLine{Finding: &f}) },
			Progress: func(t registry.Transfer) { send(transferLine{Progress: &t}) },
		})
		l := transferLine{Result: &t}
		if err != nil {
			h.log.Error("management call failed", "method", r.Method, "path", r.URL.Path, "error", err)
			l.Error = err.Error()
		}
		send(l)
	}
}

// Adopt implements API.
func (c *Client) Adopt(ctx context.Context, o registry.AdoptOptions) (registry.Transfer, error) {
	return c.transfer(ctx, "import", adoptCall{o.Verify}, o.Watch)
}

// Export implements API.
func (c *Client) Export(ctx context.Context, o registry.ExportOptions) (registry.Transfer, error) {
	return c.transfer(ctx, "export", exportCall{o.Dir, o.Prune}, o.Watch)
}

// transfer makes a call that takes as long as it takes.
func (c *Client) transfer(ctx context.Context, path string, body any, w registry.Watch) (registry.Transfer, error) {
	resp, err := c.send(ctx, &http.Client{Transport: c.http.Transport}, http.MethodPost, path, body)
	if err != nil {
		return registry.Transfer{}, err
	}
	defer resp.Body.Close()
	for lines := json.NewDecoder(resp.Body); ; {
		var l transferLine
		if err := lines.Decode(&l); err != nil {
			return registry.Transfer{}, fmt.Errorf("the server has not told the end: %w", err)
		}
		switch {
		case l.Error != "" && l.Result != nil:
			return *l.Result, errors.New(l.Error)
		case l.Result != nil:
			return *l.Result, nil
		case l.Finding != nil && w.Found != nil:
			w.Found(*l.Finding)
		case l.Progress != nil && w.Progress != nil:
			w.Progress(*l.Progress)
		}
	}
}
