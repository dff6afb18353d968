package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

const accept = "Accept: " + typeManifest + ", " + typeIndex

// pushBlob sends a blob as docker does: is it there, begin, bytes, end.
func pushBlob(c *conn, repo, auth string, b *blob) error {
	if _, err := c.do(404, head("HEAD", "/v2/"+repo+"/blobs/"+b.digest, auth), nil); err != nil {
		return err
	}
	if _, err := c.do(202, head("POST", "/v2/"+repo+"/blobs/uploads/", auth, contentLength(0)), nil); err != nil {
		return err
	}
	patch := head("PATCH", c.location, auth, "Content-Type: application/octet-stream", contentLength(b.from.size))
	if _, err := c.do(202, patch, b); err != nil {
		return err
	}
	separator := "?"
	if strings.Contains(c.location, "?") {
		separator = "&"
	}
	_, err := c.do(201, head("PUT", c.location+separator+"digest="+b.digest, auth, contentLength(0)), nil)
	return err
}

// putManifest stores a manifest under reference, which may carry a query.
func putManifest(c *conn, repo, auth, reference, mediaType string, manifest []byte) error {
	put := head("PUT", "/v2/"+repo+"/manifests/"+reference, auth, "Content-Type: "+mediaType, contentLength(int64(len(manifest))))
	_, err := c.do(201, put, bytesBody(manifest))
	return err
}

// pushImage sends an image: its blobs one after the other, then the manifest.
func pushImage(c *conn, repo, auth, tag string, m *image) error {
	for _, b := range m.blobs {
		if err := pushBlob(c, repo, auth, b); err != nil {
			return err
		}
	}
	return putManifest(c, repo, auth, tag, typeManifest, m.manifest)
}

// A pull is the requests that fetch one image.
type pull struct {
	requests [][]byte
	sizes    []int64 // of the answers
}

func newPull(repo, auth, tag string, m *image) *pull {
	p := new(pull)
	add := func(size int64, head []byte) {
		p.requests = append(p.requests, head)
		p.sizes = append(p.sizes, size)
	}
	add(0, head("HEAD", "/v2/"+repo+"/manifests/"+tag, auth, accept))
	add(int64(len(m.manifest)), head("GET", "/v2/"+repo+"/manifests/"+m.digest, auth, accept))
	for _, b := range m.blobs {
		add(b.from.size, head("GET", "/v2/"+repo+"/blobs/"+b.digest, auth))
	}
	return p
}

func (p *pull) run(c *conn) error {
	for i, request := range p.requests {
		if err := fetch(c, request, p.sizes[i]); err != nil {
			return err
		}
	}
	return nil
}

// fetch sends a request whose answer must be 200 and size bytes long.
func fetch(c *conn, request []byte, size int64) error {
	n, err := c.do(200, request, nil)
	if err == nil && n != size {
		err = fmt.Errorf("%s: %d bytes, not %d", firstLine(request), n, size)
	}
	return err
}

// verify fetches what request asks for and compares the digest of all of it.
func verify(c *conn, request []byte, digest string) error {
	if err := c.send(request, nil); err != nil {
		return fmt.Errorf("%s: %w", firstLine(request), err)
	}
	h := sha256.New()
	if _, err := c.copyTo(h); err != nil {
		return fmt.Errorf("%s: %w", firstLine(request), err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); c.status != 200 || got != digest {
		return fmt.Errorf("%s: the status is %d, and the digest %s", firstLine(request), c.status, got)
	}
	return nil
}
