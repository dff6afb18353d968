package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	azblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"berth/test/azurite"
	"berth/test/gcs"
	"berth/test/versity"
)

// clouds prepare a folder for berth with an object store, and return what the
// environment has to say.
var clouds = map[string]func(*testing.T, string) []string{"s3": prepareS3, "gcs": prepareGCS, "azure": prepareAzure}

// serveCloud runs berth in a folder that was prepared.
func serveCloud(t *testing.T, name, dir string, env ...string) *server {
	t.Helper()
	s, err := launch(dir, []string{"serve", filepath.Join(dir, name+".yml")}, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("the server said:\n%s", s.log)
		}
	})
	return s
}

// TestCloud keeps blobs in object stores. What their drivers do is tested with
// them; here a client pushes and pulls, with redirects and without, and an upload
// goes on after the server was stopped.
func TestCloud(t *testing.T) {
	for name, prepareCloud := range clouds {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			env := prepareCloud(t, dir)
			for _, redirect := range []bool{true, false} {
				s := serveCloud(t, name, dir, append(env, fmt.Sprintf("REGISTRY_STORAGE_REDIRECT_DISABLE=%t", !redirect))...)
				cloudPush(t, s, redirect)
				cloudUpload(t, s)
				cloudCrane(t, s)
				s.stop()
			}
		})
	}
}

// prepareS3 starts a store that speaks S3.
func prepareS3(t *testing.T, dir string) []string {
	s := versity.Start(t)
	s.NewBucket("berth")
	if err := prepare(dir, "s3.yml", "$ACCESSKEY", versity.AccessKey, "$SECRETKEY", versity.SecretKey, "$ENDPOINT", s.Endpoint); err != nil {
		t.Fatal(err)
	}
	return nil
}

// prepareGCS starts a Google Cloud Storage and returns what berth has to know.
func prepareGCS(t *testing.T, dir string) []string {
	s := gcs.Start(t)
	if err := os.WriteFile(filepath.Join(dir, "key.json"), s.KeyFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepare(dir, "gcs.yml"); err != nil {
		t.Fatal(err)
	}
	return []string{"STORAGE_EMULATOR_HOST=" + s.URL}
}

func prepareAzure(t *testing.T, dir string) []string {
	s := azurite.Start(t)
	key, err := azblob.NewSharedKeyCredential(azurite.Account, azurite.Key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := container.NewClientWithSharedKeyCredential(s.URL+"/berth", key, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := prepare(dir, "azure.yml", "$ACCOUNT", azurite.Account, "$ACCESSKEY", azurite.Key, "$SERVICE", s.URL); err != nil {
		t.Fatal(err)
	}
	return nil
}

// cloudPush pushes an image, and pulls it: from the store itself where there are
// redirects.
func cloudPush(t *testing.T, s *server, redirect bool) {
	t.Helper()
	c := &client{base: s.url()}
	img := newImage(strings.Repeat(fmt.Sprint("redirect ", redirect, " "), 100_000))
	c.mustPush(t, "cloud/app", "v1", img)
	if err := c.pull("cloud/app", "v1", img); err != nil {
		t.Error(err)
	}
	direct := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := direct.Get(s.url() + "/v2/cloud/app/blobs/" + digestOf(img.layer))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch location := resp.Header.Get("Location"); {
	case err != nil:
		t.Error(err)
	case redirect && (resp.StatusCode != http.StatusTemporaryRedirect || location == "" || strings.HasPrefix(location, s.url())):
		t.Errorf("with redirects a blob answers %d to %q", resp.StatusCode, location)
	case !redirect && (resp.StatusCode != http.StatusOK || !bytes.Equal(data, img.layer)):
		t.Errorf("without redirects a blob answers %d with %d bytes", resp.StatusCode, len(data))
	}
	part := c.do(t, "GET", "/v2/cloud/app/blobs/"+digestOf(img.layer), nil, map[string]string{"Range": "bytes=10-19"})
	if part.status != http.StatusPartialContent || !bytes.Equal(part.body, img.layer[10:20]) {
		t.Errorf("ten bytes of a blob: %d with %q", part.status, part.body)
	}
}

// cloudUpload uploads a blob in pieces, between which the server is restarted.
func cloudUpload(t *testing.T, s *server) {
	t.Helper()
	c := &client{base: s.url()}
	data := bytes.Repeat([]byte(s.addr), 100_000)
	location := c.do(t, "POST", "/v2/cloud/pieces/blobs/uploads/", nil, nil).header.Get("Location")
	for at := 0; at < len(data); {
		n := min(700_001, len(data)-at)
		resp := c.do(t, "PATCH", location, data[at:at+n], map[string]string{"Content-Type": "application/octet-stream", "Content-Range": fmt.Sprintf("%d-%d", at, at+n-1)})
		if resp.status != http.StatusAccepted {
			t.Fatalf("PATCH at %d: %d %s", at, resp.status, resp.body)
		}
		location = resp.header.Get("Location")
		at += n
		s.stop()
		if err := s.restart(); err != nil {
			t.Fatal(err)
		}
	}
	resp := c.do(t, "PUT", location+"?digest="+digestOf(data), nil, nil)
	if resp.status != http.StatusCreated {
		t.Fatalf("PUT: %d %s", resp.status, resp.body)
	}
	if got := c.expect(t, http.StatusOK, "GET", "/v2/cloud/pieces/blobs/"+digestOf(data)); !bytes.Equal(got.body, data) {
		t.Errorf("%d bytes came back of %d", len(got.body), len(data))
	}
}

// cloudCrane has a client of another's do the same.
func cloudCrane(t *testing.T, s *server) {
	t.Helper()
	if missing("crane") != "" && !inCI() {
		t.Logf("without crane: %s", missing("crane"))
		return
	}
	dir := t.TempDir()
	layer, err := layerOf("hello.txt", strings.Repeat("hello\n", 200_000))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "layer.tar"), layer, 0o600); err != nil {
		t.Fatal(err)
	}
	name := s.addr + "/cloud/crane:v1"
	for _, args := range [][]string{
		{"append", "--insecure", "-f", filepath.Join(dir, "layer.tar"), "-t", name},
		{"validate", "--insecure", "--remote", name},
		{"pull", "--insecure", name, filepath.Join(dir, "image.tar")},
	} {
		if out, err := exec.Command("crane", args...).CombinedOutput(); err != nil {
			t.Errorf("crane %s: %v\n%s", args[0], err, out)
		}
	}
}
