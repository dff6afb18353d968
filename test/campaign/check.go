package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

const checkers = 4 // registers that are looked at at a time

// check looks at what the registers hold and compares it with the history. Nobody
// may write meanwhile.
func (c *campaign) check(s *server, registers []string) error {
	client := s.client(0)
	defer client.close()
	work := make(chan string)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failure error
	for range checkers {
		wg.Go(func() {
			for r := range work {
				value, wrong, err := client.look(r)
				mu.Lock()
				if err != nil {
					failure = fmt.Errorf("look at %s: %w", r, err)
				} else {
					c.judge(r, value, wrong)
				}
				mu.Unlock()
			}
		})
	}
	for _, r := range registers {
		work <- r
	}
	close(work)
	wg.Wait()
	return failure
}

// judge compares the value that was seen with those that may be.
func (c *campaign) judge(register, value, wrong string) {
	possible := c.history.possible(register)
	switch {
	case wrong != "":
		c.report.broken("%s: %s", register, wrong)
	case slices.Contains(possible, value):
	case value == "":
		c.report.lost("%s is gone, and may be %q", register, possible)
	default:
		c.report.broken("%s is %s, and may be %q", register, value, possible)
	}
	c.history.settle(register, value)
}

// look returns the value of a register, or what is wrong with what is there.
func (c *client) look(register string) (value, wrong string, err error) {
	kind, rest, _ := strings.Cut(register, " ")
	switch kind {
	case "tag":
		repo, tag, _ := strings.Cut(rest, ":")
		return c.lookManifest(repo, tag)
	case "manifest":
		repo, digest, _ := strings.Cut(rest, "@")
		return c.lookManifest(repo, digest)
	}
	repo, digest, _ := strings.Cut(rest, "@")
	return c.lookBlob(repo, digest)
}

func (c *client) lookBlob(repo, digest string) (value, wrong string, err error) {
	r, err := c.do("GET", "/v2/"+repo+"/blobs/"+digest, nil)
	switch {
	case err != nil:
		return "", "", err
	case r.status == http.StatusNotFound:
		return "", "", nil
	case r.status != http.StatusOK:
		return "", fmt.Sprintf("status %d: %.200s", r.status, r.body), nil
	case digestOf(r.body) != digest:
		return "", fmt.Sprintf("%d bytes of another digest", len(r.body)), nil
	}
	return digest, "", nil
}

// lookManifest looks at a manifest and all that it names.
func (c *client) lookManifest(repo, reference string) (value, wrong string, err error) {
	r, err := c.do("GET", "/v2/"+repo+"/manifests/"+reference, nil, "Accept", typeManifest)
	switch {
	case err != nil:
		return "", "", err
	case r.status == http.StatusNotFound:
		return "", "", nil
	case r.status != http.StatusOK:
		return "", fmt.Sprintf("status %d: %.200s", r.status, r.body), nil
	}
	digest := digestOf(r.body)
	if said := r.header.Get("Docker-Content-Digest"); said != digest {
		return "", fmt.Sprintf("the bytes of %s are called %s", digest, said), nil
	}
	if strings.Contains(reference, ":") && reference != digest {
		return "", "the bytes have the digest " + digest, nil
	}
	var m manifest
	if err := json.Unmarshal(r.body, &m); err != nil {
		return "", "it is no manifest: " + err.Error(), nil
	}
	for _, d := range append(m.Layers, m.Config) {
		value, wrong, err := c.lookBlob(repo, d.Digest)
		if err != nil {
			return "", "", err
		}
		if value == "" {
			return "", fmt.Sprintf("its blob %s is not there: %s", d.Digest, wrong), nil
		}
	}
	return digest, "", nil
}
