package server

import (
	"net/http"
	"strconv"
	"time"

	"berth/oci"
	"berth/registry"
)

// ping is the first thing that "docker search" asks, of the API that came
// before this one. A registry that stands alone would be sent a password with
// every request, empty or not.
func (s *Server) ping(x *exchange) error {
	x.w.Header().Set("X-Docker-Registry-Version", "0.6.0")
	x.w.Header().Set("X-Docker-Registry-Standalone", "false")
	return x.w.writeJSON(http.StatusOK, true)
}

// searchAnswer is what "docker search" and "podman search" print.
type searchAnswer struct {
	Query      string         `json:"query"`
	NumResults int            `json:"num_results"`
	Results    []searchResult `json:"results"`
}

type searchResult struct {
	Name        oci.Name `json:"name"`
	Description string   `json:"description"`
	StarCount   int      `json:"star_count"`
	IsOfficial  bool     `json:"is_official"`
	IsAutomated bool     `json:"is_automated"`
}

// search names the repositories that the caller may see and whose name holds
// the term.
func (s *Server) search(x *exchange) error {
	term, err := x.one("q")
	if err != nil {
		return err
	}
	if len(term) > oci.MaxNameLength {
		return badRequest("the term is longer than any name")
	}
	limit := defaultSearch
	n, err := x.one("n")
	if err != nil {
		return err
	}
	if n != "" {
		if limit, err = strconv.Atoi(n); err != nil || limit < 1 {
			return oci.Errorf(oci.PageInvalid, "n is not a number of entries")
		}
	}
	repos, err := s.find(x, registry.RepoQuery{Contains: term, Limit: min(limit, maxSearch)})
	if err != nil {
		return err
	}
	answer := searchAnswer{Query: term, NumResults: len(repos), Results: []searchResult{}}
	for _, repo := range repos {
		answer.Results = append(answer.Results, searchResult{Name: repo.Name})
	}
	x.w.Header().Set("Cache-Control", "no-store")
	return x.w.writeJSON(http.StatusOK, answer)
}

// find is Repos for one search at a time of the few that may read: each can
// read the names of all repositories.
func (s *Server) find(x *exchange, q registry.RepoQuery) ([]registry.Repo, error) {
	wait := time.NewTimer(searchWait)
	defer wait.Stop()
	select {
	case s.searching <- struct{}{}:
	case <-x.r.Context().Done():
		return nil, x.r.Context().Err()
	case <-wait.C:
		return nil, oci.Errorf(oci.TooManyRequests, "too many searches at once")
	}
	defer func() { <-s.searching }()
	return x.registry.Repos(x.r.Context(), q)
}
