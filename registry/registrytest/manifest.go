package registrytest

import (
	"bytes"
	"strconv"

	"berth/oci"
	"berth/registry"
)

func testManifest(c *client) {
	c.wantNoManifest(repo, "v1")
	m := c.image(repo, "one")
	c.wantNoManifest(repo, string(m.Digest))
	got, err := c.PutManifest(c.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"v1", "latest", "V1"}})
	if err != nil || got.Digest != m.Digest || got.Size != int64(len(m.Bytes)) || got.MediaType != m.MediaType {
		c.Fatalf("PutManifest = %+v, %v", got, err)
	}
	byDigest := c.put(repo, c.image(repo, "two"))

	for _, ref := range []string{"v1", "latest", "V1", string(m.Digest)} {
		content, err := c.Manifest(c.Context(), repo, reference(ref))
		if err != nil {
			c.Fatalf("Manifest %s: %v", ref, err)
		}
		if d := content.Descriptor(); d.Digest != m.Digest || d.Size != int64(len(m.Bytes)) || d.MediaType != m.MediaType {
			c.Errorf("%s is described as %+v", ref, d)
		}
		if data := c.read(content); !bytes.Equal(data, m.Bytes) {
			c.Errorf("%s holds other bytes than were pushed", ref)
		}
	}
	c.wantManifest(repo, string(byDigest), byDigest)
	c.wantNoManifest(repo, "v2")
	c.wantNoManifest(other, "v1")
	c.wantNoManifest(other, string(m.Digest))
	c.wantNoManifest(repo, string(oci.DigestOf(oci.SHA256, []byte("unknown"))))
}

func testManifestAgain(c *client) {
	m := c.image(repo, "one")
	for range 2 {
		c.put(repo, m, "v1")
		c.put(repo, m)
	}
	c.put(repo, m, "v2")
	c.wantList("tags", c.tagNames(repo, registry.TagQuery{Limit: 10}), []oci.Tag{"v1", "v2"})
	c.wantManifest(repo, "v1", m.Digest)

	// The same bytes in another repository are that repository's own.
	c.imageDocument(other, "one")
	c.put(other, m, "v9")
	c.wantManifest(other, "v9", m.Digest)
	c.wantNoManifest(repo, "v9")
}

func testManifestSHA512(c *client) {
	m := c.image(repo, "one")
	m.Digest = oci.DigestOf(oci.SHA512, m.Bytes)
	got, err := c.PutManifest(c.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"v1"}})
	if err != nil || got.Digest != m.Digest {
		c.Fatalf("PutManifest = %+v, %v", got, err)
	}
	c.wantManifest(repo, "v1", m.Digest)
	c.wantManifest(repo, string(m.Digest), m.Digest)
}

// wantRefused checks that m is refused with the code and leaves nothing behind.
func (c *client) wantRefused(what string, m registry.ManifestContent, code oci.Code) {
	c.Helper()
	_, err := c.PutManifest(c.Context(), repo, m, registry.PutOptions{Tags: []oci.Tag{"refused"}})
	c.wantCode(what, err, code)
	c.wantNoManifest(repo, "refused")
	c.wantNoManifest(repo, string(m.Digest))
}

func testMissingContent(c *client) {
	c.putImage(repo, "there", "v1")
	elsewhere := c.image(other, "elsewhere")
	c.put(other, elsewhere)
	missing := describe(layerType, []byte("missing"))

	doc := c.imageDocument(repo, "config")
	doc.Config = &missing
	c.wantRefused("config missing", c.manifest(doc), oci.ManifestBlobUnknown)
	doc = c.imageDocument(repo, "layer")
	doc.Layers = append(doc.Layers, missing)
	c.wantRefused("layer missing", c.manifest(doc), oci.ManifestBlobUnknown)
	doc = c.imageDocument(repo, "in another repository")
	doc.Layers = append(doc.Layers, c.blob(other, layerType, []byte("over there")))
	c.wantRefused("layer in another repository", c.manifest(doc), oci.ManifestBlobUnknown)
	c.wantRefused("child missing", c.index(describe(oci.MediaTypeManifest, []byte("missing"))), oci.ManifestBlobUnknown)
	c.wantRefused("child in another repository", c.index(descriptor(elsewhere)), oci.ManifestBlobUnknown)
	c.wantNoManifest(repo, string(elsewhere.Digest))

	doc = c.imageDocument(repo, "deleted")
	c.delete(repo, doc.Layers[0].Digest)
	c.wantRefused("layer deleted", c.manifest(doc), oci.ManifestBlobUnknown)

	doc = c.imageDocument(repo, "many")
	for i := range 1500 {
		foreign := describe(layerType, []byte(strconv.Itoa(i)))
		foreign.URLs = []string{"https://example.org/layer"}
		doc.Layers = append(doc.Layers, foreign)
	}
	doc.Layers = append(doc.Layers, missing)
	c.wantRefused("the last of many layers missing", c.manifest(doc), oci.ManifestBlobUnknown)
}

func testWrongSize(c *client) {
	for _, off := range []int64{-1, 1} {
		doc := c.imageDocument(repo, "layer")
		doc.Layers[0].Size += off
		c.wantRefused("size of a layer", c.manifest(doc), oci.ManifestInvalid)
		doc = c.imageDocument(repo, "config")
		doc.Config.Size += off
		c.wantRefused("size of the config", c.manifest(doc), oci.ManifestInvalid)
	}
}

// testLackingContent stores what refers to content that need not be there.
func testLackingContent(c *client) {
	doc := c.imageDocument(repo, "foreign")
	foreign := describe(layerType, []byte("on another server"))
	foreign.URLs = []string{"https://example.org/layer"}
	doc.Layers = append(doc.Layers, foreign)
	c.wantManifest(repo, "foreign", c.put(repo, c.manifest(doc), "foreign"))
	c.wantNoBlob(repo, foreign.Digest)

	subject := describe(oci.MediaTypeManifest, []byte("not yet pushed"))
	c.wantManifest(repo, "early", c.put(repo, c.referrer(repo, subject, "application/x-early", ""), "early"))
	c.wantNoManifest(repo, string(subject.Digest))
}

func testIndex(c *client) {
	child := c.image(repo, "child")
	c.put(repo, child)
	inner := c.index(descriptor(child))
	c.put(repo, inner)
	outer := c.index(descriptor(inner), descriptor(child))
	c.wantManifest(repo, "outer", c.put(repo, outer, "outer"))

	// Caches of BuildKit are an index of blobs.
	cache := c.index(c.blob(repo, layerType, []byte("cached layer")), c.blob(repo, "application/vnd.buildkit.cacheconfig.v0", []byte("{}")))
	c.wantManifest(repo, "cache", c.put(repo, cache, "cache"))
}

func testTagMoves(c *client) {
	first := c.putImage(repo, "one", "v1", "keep")
	second := c.putImage(repo, "two", "v1")
	c.wantManifest(repo, "v1", second)
	c.wantManifest(repo, "keep", first)
	c.wantManifest(repo, string(first), first)
	c.putImage(repo, "one", "v1")
	c.wantManifest(repo, "v1", first)
	c.wantManifest(repo, string(second), second)
}

// putWith stores m under the tags with the conditions of o.
func (c *client) putWith(o registry.PutOptions, m registry.ManifestContent, tags ...oci.Tag) error {
	o.Tags = tags
	_, err := c.PutManifest(c.Context(), repo, m, o)
	return err
}

func testCreateOnly(c *client) {
	createOnly := registry.PutOptions{CreateOnly: true}
	one, two := c.image(repo, "one"), c.image(repo, "two")
	if err := c.putWith(createOnly, one, "v1"); err != nil {
		c.Errorf("a new tag: %v", err)
	}
	c.wantCode("a tag that would move", c.putWith(createOnly, two, "v1"), oci.Denied)
	c.wantCode("one tag of three would move", c.putWith(createOnly, two, "a", "v1", "b"), oci.Denied)
	c.wantManifest(repo, "v1", one.Digest)
	c.wantNoManifest(repo, string(two.Digest))
	c.wantList("tags", c.tagNames(repo, registry.TagQuery{Limit: 10}), []oci.Tag{"v1"})
	for _, tags := range [][]oci.Tag{{"v1"}, {"v1", "v2"}, nil} {
		if err := c.putWith(createOnly, one, tags...); err != nil {
			c.Errorf("what is there already, as %v: %v", tags, err)
		}
	}
	if err := c.putWith(createOnly, two); err != nil {
		c.Errorf("new content by digest: %v", err)
	}
	c.wantManifest(repo, "v2", one.Digest)
	c.wantManifest(repo, string(two.Digest), two.Digest)
}

func testIfMatch(c *client) {
	one, two, three := c.image(repo, "one"), c.image(repo, "two"), c.image(repo, "three")
	match := func(digests ...oci.Digest) registry.PutOptions { return registry.PutOptions{IfMatch: digests} }
	c.wantCode("the tag is not there", c.putWith(match(one.Digest), two, "v1"), oci.Conflict)
	c.wantNoManifest(repo, "v1")
	c.put(repo, one, "v1")
	c.wantCode("the tag names another", c.putWith(match(two.Digest, three.Digest), two, "v1"), oci.Conflict)
	c.wantManifest(repo, "v1", one.Digest)
	c.wantNoManifest(repo, string(two.Digest))
	if err := c.putWith(match(three.Digest, one.Digest), two, "v1"); err != nil {
		c.Errorf("the tag names one of those: %v", err)
	}
	c.wantManifest(repo, "v1", two.Digest)
}

func testIfNoneMatch(c *client) {
	none := registry.PutOptions{IfNoneMatch: true}
	one, two := c.image(repo, "one"), c.image(repo, "two")
	if err := c.putWith(none, one, "v1"); err != nil {
		c.Errorf("a new tag: %v", err)
	}
	c.wantCode("the tag is there", c.putWith(none, two, "v1"), oci.Conflict)
	c.wantManifest(repo, "v1", one.Digest)
	c.wantNoManifest(repo, string(two.Digest))
}
