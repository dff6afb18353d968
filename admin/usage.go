package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"berth/oci"
	"berth/registry"
)

// Usages implements API, with as many as a page has.
func (s *Service) Usages(ctx context.Context, after oci.Name, limit int) ([]registry.RepositoryUsage, error) {
	return s.Usage.Usages(ctx, after, limit)
}

// UsageOf implements API.
func (s *Service) UsageOf(ctx context.Context, repo oci.Name) (registry.RepositoryUsage, error) {
	u, err := s.Usage.UsageOf(ctx, repo)
	if errors.Is(err, oci.NameUnknown) {
		err = &Error{NotFound, "there is no repository " + string(repo)}
	}
	return u, err
}

// CheckUsage implements API.
func (s *Service) CheckUsage(ctx context.Context) (registry.UsageCheck, error) {
	return s.Usage.CheckUsage(ctx)
}

// usages answers with a page of the largest size.
func (h handler) usages(r *http.Request) (any, error) {
	after := oci.Name(r.URL.Query().Get("after"))
	if after != "" {
		if _, err := oci.ParseName(string(after)); err != nil {
			return nil, invalid(err)
		}
	}
	page, err := h.api.Usages(r.Context(), after, registry.MaxPage)
	return list[registry.RepositoryUsage]{page}, err
}

func (h handler) usageOf(r *http.Request) (any, error) {
	repo, err := oci.ParseName(r.PathValue("name"))
	if err != nil {
		return nil, invalid(err)
	}
	return h.api.UsageOf(r.Context(), repo)
}

func (h handler) checkUsage(r *http.Request) (any, error) { return h.api.CheckUsage(r.Context()) }

// Usages implements API. A page has registry.MaxPage, or the limit.
func (c *Client) Usages(ctx context.Context, after oci.Name, limit int) ([]registry.RepositoryUsage, error) {
	var l list[registry.RepositoryUsage]
	err := c.call(ctx, http.MethodGet, "repositories?after="+url.QueryEscape(string(after)), nil, &l)
	return l.Items[:min(len(l.Items), limit)], err
}

// UsageOf implements API.
func (c *Client) UsageOf(ctx context.Context, repo oci.Name) (registry.RepositoryUsage, error) {
	var u registry.RepositoryUsage
	err := c.call(ctx, http.MethodGet, "repositories/"+string(repo), nil, &u)
	return u, err
}

// CheckUsage implements API. It waits for as long as it takes.
func (c *Client) CheckUsage(ctx context.Context) (registry.UsageCheck, error) {
	var check registry.UsageCheck
	patient := Client{c.patient()}
	err := patient.call(ctx, http.MethodPost, "usage/check", nil, &check)
	return check, err
}
