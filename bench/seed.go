package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"
)

const (
	seeders    = 16
	tagsAtOnce = 100 // in one push
)

func tagName(i int) string  { return fmt.Sprintf("t%06d", i) }
func repoName(i int) string { return fmt.Sprintf("many/r%06d", i) }

// seedTags gives repo count tags in both registries: berth by pushes of one
// manifest with many tags each, Distribution by writing its files.
func (l *lab) seedTags(repo string, count int) error {
	return l.once(fmt.Sprintf("%d tags", count), func() error {
		digest := digestOf(emptyIndex)
		err := l.seed((count+tagsAtOnce-1)/tagsAtOnce, func(c *conn, i int) error {
			query := make(url.Values)
			for t := i * tagsAtOnce; t < min(count, (i+1)*tagsAtOnce); t++ {
				query.Add("tag", tagName(t))
			}
			return putManifest(c, repo, "", digest+"?"+query.Encode(), typeIndex, emptyIndex)
		})
		if err != nil {
			return err
		}
		if err := l.seedPeerManifest(repo); err != nil {
			return err
		}
		return l.seedFiles(count, func(i int) string {
			return filepath.Join("repositories", repo, "_manifests", "tags", tagName(i), "current", "link")
		})
	})
}

// seedRepos gives both registries the repositories up to count. What is there
// from an earlier call stays.
func (l *lab) seedRepos(count int) error {
	return l.once(fmt.Sprintf("%d repositories", count), func() error {
		err := l.seed(count, func(c *conn, i int) error {
			return putManifest(c, repoName(i), "", "latest", typeIndex, emptyIndex)
		})
		if err != nil {
			return err
		}
		return l.seedFiles(count, func(i int) string {
			return filepath.Join("repositories", repoName(i), "_manifests", "tags", "latest", "current", "link")
		})
	})
}

// seed runs push for each i below count against berth, over a few connections.
func (l *lab) seed(count int, push func(c *conn, i int) error) error {
	var group errgroup.Group
	for first := range seeders {
		group.Go(func() error {
			c, err := dial(l.berth.at[anonymous].addr, 10*patience)
			if err != nil {
				return err
			}
			defer c.close()
			for i := first; i < count; i += seeders {
				if err := push(c, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// seedPeerManifest stores emptyIndex in Distribution's layout.
func (l *lab) seedPeerManifest(repo string) error {
	hex := strings.TrimPrefix(digestOf(emptyIndex), "sha256:")
	if err := l.peerFile(filepath.Join("blobs", "sha256", hex[:2], hex, "data"), emptyIndex); err != nil {
		return err
	}
	return l.peerFile(filepath.Join("repositories", repo, "_manifests", "revisions", "sha256", hex, "link"), []byte("sha256:"+hex))
}

// seedFiles writes the files in which Distribution says which manifest a tag
// names: only these, which is less than a push would leave for it to walk.
func (l *lab) seedFiles(count int, path func(i int) string) error {
	digest := []byte(digestOf(emptyIndex))
	for i := range count {
		if err := l.peerFile(path(i), digest); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) peerFile(path string, data []byte) error {
	name := filepath.Join(l.peerRoot, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, data, 0o644)
}

// listing is the op of one page. It is fetched once before, and must end in
// last.
func listing(l *lab, t *target, m mode, path, last string) (op, error) {
	request := head("GET", path, l.auth[m])
	c, err := dial(t.at[m].addr, patience)
	if err != nil {
		return nil, err
	}
	defer c.close()
	if err := c.send(request, nil); err != nil {
		return nil, err
	}
	var body strings.Builder
	if _, err := c.copyTo(&body); err != nil {
		return nil, err
	}
	if c.status != 200 || !strings.HasSuffix(strings.TrimSpace(body.String()), `"`+last+`"]}`) {
		return nil, fmt.Errorf("%s: the status is %d, and the page does not end in %s: %.300s", path, c.status, last, body.String())
	}
	return repeat(200, request), nil
}
