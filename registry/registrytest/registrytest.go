// Package registrytest checks that a registry.Registry does what package
// registry says.
package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"berth/oci"
	"berth/registry"
)

// Run checks the registries that open returns, each of which is empty and lets
// everything be done.
func Run(t *testing.T, open func(t *testing.T) registry.Registry) {
	tests := []struct {
		name string
		test func(*client)
	}{
		{"blob", testBlob},
		{"content", testContent},
		{"upload in one write", testUpload},
		{"upload in chunks", testChunks},
		{"upload cancelled", testCancel},
		{"upload of another", testOtherOwner},
		{"upload with the wrong digest", testWrongDigest},
		{"upload that is over", testOver},
		{"upload overtaken", testOvertaken},
		{"digest algorithms", testAlgorithms},
		{"mount", testMount},
		{"manifest by tag and digest", testManifest},
		{"manifest again", testManifestAgain},
		{"manifest with sha512", testManifestSHA512},
		{"manifest with missing content", testMissingContent},
		{"manifest with wrong size", testWrongSize},
		{"manifest that may lack content", testLackingContent},
		{"index", testIndex},
		{"tag moves", testTagMoves},
		{"create only", testCreateOnly},
		{"if match", testIfMatch},
		{"if none match", testIfNoneMatch},
		{"delete blob", testDeleteBlob},
		{"delete manifest", testDeleteManifest},
		{"delete tag", testDeleteTag},
		{"delete repository", testDeleteRepository},
		{"repositories", testRepos},
		{"repositories that contain", testReposContain},
		{"repositories that are visible", testReposVisible},
		{"repositories of a blob", testBlobRepos},
		{"tags", testTags},
		{"tags that reach", testReaching},
		{"referrers", testReferrers},
		{"referrers by type", testReferrerTypes},
		{"referrers without a subject", testNoSubject},
		{"attached at once", testAttach},
		{"pushed at once", testPushTogether},
		{"tagged at once", testTagTogether},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.test(&client{t, open(t)}) })
	}
}

const (
	repo  oci.Name = "team/app"
	other oci.Name = "team/other"
	owner          = "alice"
)

const (
	layerType  = "application/vnd.oci.image.layer.v1.tar+gzip"
	configType = "application/vnd.oci.image.config.v1+json"
)

// A client does to a registry what a test asks for. Its methods without an
// error among their results end the test where something fails.
type client struct {
	*testing.T
	registry.Registry
}

// content returns n bytes that differ with the seed.
func content(seed uint64, n int) []byte {
	data := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

func (c *client) start(name oci.Name) registry.Upload {
	c.Helper()
	u, err := c.StartUpload(c.Context(), name, registry.UploadOptions{Owner: owner})
	if err != nil {
		c.Fatalf("StartUpload: %v", err)
	}
	return u
}

func (c *client) resume(name oci.Name, id string) registry.Upload {
	c.Helper()
	u, err := c.ResumeUpload(c.Context(), name, id, registry.UploadOptions{Owner: owner})
	if err != nil {
		c.Fatalf("ResumeUpload: %v", err)
	}
	return u
}

func (c *client) write(u registry.Upload, data []byte) {
	c.Helper()
	if n, err := u.Write(data); n != len(data) || err != nil {
		c.Fatalf("Write of %d bytes = %d, %v", len(data), n, err)
	}
}

func (c *client) close(u registry.Upload) {
	c.Helper()
	if err := u.Close(c.Context()); err != nil {
		c.Fatalf("Close of an upload: %v", err)
	}
}

// pushBlob makes data a blob of name.
func (c *client) pushBlob(name oci.Name, data []byte) oci.Digest {
	c.Helper()
	d := oci.DigestOf(oci.SHA256, data)
	u := c.start(name)
	c.write(u, data)
	if _, err := u.Commit(c.Context(), d); err != nil {
		c.Fatalf("Commit: %v", err)
	}
	return d
}

// put stores m under the tags.
func (c *client) put(name oci.Name, m registry.ManifestContent, tags ...oci.Tag) oci.Digest {
	c.Helper()
	if _, err := c.PutManifest(c.Context(), name, m, registry.PutOptions{Tags: tags}); err != nil {
		c.Fatalf("PutManifest in %s: %v", name, err)
	}
	return m.Digest
}

// putImage makes an image with a config and a layer that differ with the note,
// and stores it under the tags.
func (c *client) putImage(name oci.Name, note string, tags ...oci.Tag) oci.Digest {
	c.Helper()
	return c.put(name, c.image(name, note), tags...)
}

// read returns all of content and closes it.
func (c *client) read(content registry.Content) []byte {
	c.Helper()
	defer content.Close()
	data, err := readRange(c, content, 0, -1)
	if err != nil {
		c.Fatalf("read %s: %v", content.Descriptor().Digest, err)
	}
	return data
}

func readRange(c *client, content registry.Content, off, n int64) ([]byte, error) {
	r, err := content.Open(c.Context(), off, n)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func (c *client) wantBlob(name oci.Name, d oci.Digest, want []byte) {
	c.Helper()
	content, err := c.Blob(c.Context(), name, d)
	if err != nil {
		c.Fatalf("Blob of %s: %v", name, err)
	}
	got := content.Descriptor()
	if got.Digest != d || got.Size != int64(len(want)) {
		c.Errorf("blob is %s of %d bytes, want %s of %d", got.Digest, got.Size, d, len(want))
	}
	if data := c.read(content); !bytes.Equal(data, want) {
		c.Errorf("blob holds %d bytes that are not those that were pushed", len(data))
	}
}

func (c *client) wantNoBlob(name oci.Name, d oci.Digest) {
	c.Helper()
	content, err := c.Blob(c.Context(), name, d)
	c.wantCode("Blob", err, oci.BlobUnknown, oci.NameUnknown)
	if err == nil {
		content.Close()
	}
}

// wantManifest checks that ref, a tag or a digest, names the manifest of d.
func (c *client) wantManifest(name oci.Name, ref string, d oci.Digest) {
	c.Helper()
	content, err := c.Manifest(c.Context(), name, reference(ref))
	if err != nil {
		c.Fatalf("Manifest %s of %s: %v", ref, name, err)
	}
	defer content.Close()
	if got := content.Descriptor().Digest; got != d {
		c.Errorf("%s of %s is %s, want %s", ref, name, got, d)
	}
}

func (c *client) wantNoManifest(name oci.Name, ref string) {
	c.Helper()
	content, err := c.Manifest(c.Context(), name, reference(ref))
	c.wantCode("Manifest "+ref, err, oci.ManifestUnknown, oci.NameUnknown)
	if err == nil {
		content.Close()
	}
}

func reference(s string) oci.Reference {
	r, err := oci.ParseReference(s)
	if err != nil {
		panic(err)
	}
	return r
}

// wantCode checks that err is an *oci.Error of one of the codes.
func (c *client) wantCode(what string, err error, codes ...oci.Code) {
	c.Helper()
	e, ok := errors.AsType[*oci.Error](err)
	if !ok || !slices.Contains(codes, e.Code) {
		c.Errorf("%s: %v, want an error of code %v", what, err, codes)
	}
}

// pages gathers what page returns, limit entries at a time, and checks that
// every page but the last is full.
func pages[T any, K any](c *client, limit int, key func(T) K, page func(after K) ([]T, error)) []T {
	c.Helper()
	var all []T
	var after K
	for range 1000 {
		got, err := page(after)
		if err != nil {
			c.Fatalf("page after %v: %v", after, err)
		}
		if len(got) > limit {
			c.Fatalf("page after %v has %d entries, more than %d", after, len(got), limit)
		}
		all = append(all, got...)
		if len(got) < limit {
			return all
		}
		after = key(got[len(got)-1])
	}
	c.Fatalf("paging does not end")
	return nil
}

func (c *client) wantList(what string, got, want any) {
	c.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		c.Errorf("%s: got %s, want %s", what, g, w)
	}
}
