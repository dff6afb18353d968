package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
	typeEmpty    = "application/vnd.oci.empty.v1+json"
)

// A client is one user, with connections of its own.
type client struct {
	id   int
	base string
	user string
	http *http.Client
}

// client returns the pusher i as a client of s.
func (s *server) client(i int) *client { return s.clientFrom(i, "127.0.0.1") }

// clientFrom is client with an address of the loopback network that its
// connections come from.
func (s *server) clientFrom(i int, addr string) *client {
	dialer := &net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	return &client{id: i, base: s.base(), user: userName(i), http: &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 16, TLSClientConfig: s.tls},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

type reply struct {
	status int
	header http.Header
	body   []byte
}

func (c *client) do(method, path string, body []byte, header ...string) (reply, error) {
	return c.doContext(context.Background(), method, path, body, header...)
}

// doContext sends one request. A path may be a whole URL; header alternates
// names and values.
func (c *client) doContext(ctx context.Context, method, path string, body []byte, header ...string) (reply, error) {
	if !strings.Contains(path, "://") {
		path = c.base + path
	}
	req, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, password(c.user))
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, data}, err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func digestOfAll(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), err
}

// randomBytes returns n bytes that were never there before.
func randomBytes(n int) []byte {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	data := make([]byte, n)
	rand.NewChaCha8(seed).Read(data)
	return data
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

var emptyConfig = []byte("{}")

// newManifest returns the bytes of a manifest over the layers, which differs
// from every other when mark does.
func newManifest(mark string, layers ...[]byte) []byte {
	m := manifest{SchemaVersion: 2, MediaType: typeManifest, Config: descriptor{typeEmpty, digestOf(emptyConfig), len(emptyConfig)},
		Annotations: map[string]string{"mark": mark}}
	for _, l := range layers {
		m.Layers = append(m.Layers, descriptor{typeLayer, digestOf(l), len(l)})
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err) // of a literal
	}
	return data
}

// startUpload returns the address of a new upload.
func (c *client) startUpload(repo string) (string, error) {
	r, err := c.do("POST", "/v2/"+repo+"/blobs/uploads/", nil)
	if err != nil {
		return "", err
	}
	if r.status != http.StatusAccepted {
		return "", &statusError{r}
	}
	return r.header.Get("Location"), nil
}

// A statusError is an answer that is not the one that was wanted.
type statusError struct{ reply reply }

func (e *statusError) Error() string {
	return fmt.Sprintf("status %d: %.200s", e.reply.status, e.reply.body)
}

func (c *client) patch(location string, off int, data []byte) (string, error) {
	r, err := c.do("PATCH", location, data, "Content-Type", "application/octet-stream",
		"Content-Range", fmt.Sprintf("%d-%d", off, off+len(data)-1))
	if err != nil {
		return "", err
	}
	if r.status != http.StatusAccepted {
		return "", &statusError{r}
	}
	return r.header.Get("Location"), nil
}

// finish ends an upload with the last of its bytes.
func (c *client) finish(location, digest string, rest []byte) (reply, error) {
	u, err := url.Parse(location)
	if err != nil {
		return reply{}, err
	}
	q := u.Query()
	q.Set("digest", digest)
	u.RawQuery = q.Encode()
	return c.do("PUT", u.String(), rest, "Content-Type", "application/octet-stream")
}

// uploaded returns how many bytes an upload holds; ok is false where there is
// none.
func (c *client) uploaded(location string) (n int, ok bool, err error) {
	r, err := c.do("GET", location, nil)
	if err != nil {
		return 0, false, err
	}
	switch r.status {
	case http.StatusNotFound:
		return 0, false, nil
	case http.StatusNoContent:
		_, last, _ := strings.Cut(r.header.Get("Range"), "-")
		n, err := strconv.Atoi(last)
		if n > 0 {
			n++
		}
		return n, true, err
	}
	return 0, false, &statusError{r}
}

// pushBlob sends a blob in two requests.
func (c *client) pushBlob(repo string, data []byte) (reply, error) {
	location, err := c.startUpload(repo)
	if err != nil {
		return reply{}, err
	}
	return c.finish(location, digestOf(data), data)
}
