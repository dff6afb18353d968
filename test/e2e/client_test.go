package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

const (
	mediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeEmpty    = "application/vnd.oci.empty.v1+json"
	mediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"

	// What clients accept of manifests.
	mediaTypes = mediaTypeManifest + ", application/vnd.oci.image.index.v1+json, " +
		"application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"
)

// A client speaks the distribution API as one user: with Basic if there is a
// password, with Bearer if there is a token, else as nobody.
type client struct {
	base           string
	user, password string
	token          string
}

type response struct {
	status int
	header http.Header
	body   []byte
}

// send does one request. A path may be a whole URL, as in Location.
func (c *client) send(method, path string, body []byte, header map[string]string) (*response, error) {
	if !strings.Contains(path, "://") {
		path = c.base + path
	}
	req, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	switch {
	case c.token != "":
		req.Header.Set("Authorization", "Bearer "+c.token)
	case c.password != "":
		req.SetBasicAuth(c.user, c.password)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &response{resp.StatusCode, resp.Header, data}, nil
}

// do is send in a test that ends when there is no answer at all.
func (c *client) do(t testing.TB, method, path string, body []byte, header map[string]string) *response {
	t.Helper()
	resp, err := c.send(method, path, body, header)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp
}

// expect does a request without a body and checks the status of its answer.
func (c *client) expect(t testing.TB, status int, method, path string) *response {
	t.Helper()
	resp := c.do(t, method, path, nil, nil)
	if resp.status != status {
		t.Errorf("%s %s as %q: %d, want %d: %s", method, path, c.user, resp.status, status, resp.body)
	}
	return resp
}

// bearer returns the same user with a token for the scopes, as clients get it.
func (c *client) bearer(t testing.TB, scopes ...string) *client {
	t.Helper()
	q := url.Values{"scope": scopes}
	resp := c.do(t, "GET", "/auth/token?"+q.Encode(), nil, nil)
	var answer struct{ Token string }
	if err := json.Unmarshal(resp.body, &answer); err != nil || resp.status != http.StatusOK || answer.Token == "" {
		t.Fatalf("token for %q: %d %s", c.user, resp.status, resp.body)
	}
	return &client{base: c.base, user: c.user, token: answer.Token}
}

// An image is a manifest with one layer.
type image struct {
	layer    []byte
	manifest []byte
}

// newImage returns an image that holds text; the same text, the same image.
func newImage(text string) image {
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	layer := []byte(text)
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     mediaTypeManifest,
		"config":        descriptor{mediaTypeEmpty, digestOf([]byte("{}")), 2},
		"layers":        []descriptor{{mediaTypeLayer, digestOf(layer), len(layer)}},
	})
	if err != nil {
		panic(err) // of a literal
	}
	return image{layer, manifest}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// push pushes an image under a tag and returns the first answer that is not a
// success, or that to the manifest.
func (c *client) push(repo, tag string, img image) (*response, error) {
	for _, blob := range [][]byte{[]byte("{}"), img.layer} {
		resp, err := c.pushBlob(repo, blob)
		if err != nil || resp.status != http.StatusCreated {
			return resp, err
		}
	}
	return c.send("PUT", "/v2/"+repo+"/manifests/"+tag, img.manifest, map[string]string{"Content-Type": mediaTypeManifest})
}

func (c *client) pushBlob(repo string, blob []byte) (*response, error) {
	resp, err := c.send("POST", "/v2/"+repo+"/blobs/uploads/", nil, nil)
	if err != nil || resp.status != http.StatusAccepted {
		return resp, err
	}
	location, err := url.Parse(resp.header.Get("Location"))
	if err != nil {
		return nil, err
	}
	q := location.Query()
	q.Set("digest", digestOf(blob))
	location.RawQuery = q.Encode()
	return c.send("PUT", location.String(), blob, map[string]string{"Content-Type": "application/octet-stream"})
}

// pull checks that a tag or digest of a repository answers with img, layer and
// all.
func (c *client) pull(repo, reference string, img image) error {
	manifest, err := c.send("GET", "/v2/"+repo+"/manifests/"+reference, nil, map[string]string{"Accept": mediaTypeManifest})
	if err != nil {
		return err
	}
	if manifest.status != http.StatusOK || !bytes.Equal(manifest.body, img.manifest) {
		return fmt.Errorf("manifest %s:%s: %d %s", repo, reference, manifest.status, manifest.body)
	}
	blob, err := c.send("GET", "/v2/"+repo+"/blobs/"+digestOf(img.layer), nil, nil)
	if err != nil {
		return err
	}
	if blob.status != http.StatusOK || !bytes.Equal(blob.body, img.layer) {
		return fmt.Errorf("layer of %s:%s: %d, %d bytes", repo, reference, blob.status, len(blob.body))
	}
	return nil
}

// mustPush is push in a test that ends if it is refused. It returns the digest.
func (c *client) mustPush(t testing.TB, repo, tag string, img image) string {
	t.Helper()
	resp, err := c.push(repo, tag, img)
	if err != nil {
		t.Fatalf("push %s:%s as %q: %v", repo, tag, c.user, err)
	}
	if resp.status != http.StatusCreated {
		t.Fatalf("push %s:%s as %q: %d %s", repo, tag, c.user, resp.status, resp.body)
	}
	return resp.header.Get("Docker-Content-Digest")
}
