package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"berth/audit"
	"berth/registry"
)

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

// serveTransfer answers a call that takes long.
func (h handler) serveTransfer(call func(*http.Request, registry.Watch) (registry.Transfer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		lines := h.lines(w, r)
		t, err := call(r, registry.Watch{
			Found:    func(f registry.Finding) { lines.add(transferLine{Finding: &f}) },
			Progress: func(t registry.Transfer) { lines.progress(transferLine{Progress: &t}) },
		})
		l := transferLine{Result: &t}
		if err != nil {
			l.Error = lines.failed(r, err)
		}
		lines.send(l)
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
	resp, err := c.send(ctx, c.patient(), http.MethodPost, path, body)
	if err != nil {
		return registry.Transfer{}, err
	}
	var end transferLine
	err = readLines(resp, func(l transferLine) bool {
		switch {
		case l.Finding != nil && w.Found != nil:
			w.Found(*l.Finding)
		case l.Progress != nil && w.Progress != nil:
			w.Progress(*l.Progress)
		case l.Result != nil:
			end = l
		}
		return l.Result != nil
	})
	if err != nil {
		return registry.Transfer{}, err
	}
	if end.Error != "" {
		err = errors.New(end.Error)
	}
	return *end.Result, err
}
