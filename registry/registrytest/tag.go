package registrytest

import (
	"fmt"
	"slices"

	"berth/oci"
	"berth/registry"
)

func tagOf(t registry.TagInfo) oci.Tag { return t.Tag }

// tagNames returns the first page of tags.
func (c *client) tagNames(name oci.Name, q registry.TagQuery) []oci.Tag {
	c.Helper()
	tags, err := c.Tags(c.Context(), name, q)
	if err != nil {
		c.Fatalf("Tags of %s: %v", name, err)
	}
	return mapped(tags, tagOf)
}

// allTags returns all tags of q, in pages of limit.
func (c *client) allTags(name oci.Name, q registry.TagQuery, limit int) []oci.Tag {
	c.Helper()
	q.Limit = limit
	return mapped(pages(c, limit, tagOf, func(after oci.Tag) ([]registry.TagInfo, error) {
		q.After = after
		return c.Tags(c.Context(), name, q)
	}), tagOf)
}

func testTags(c *client) {
	_, err := c.Tags(c.Context(), repo, registry.TagQuery{Limit: 10})
	c.wantCode("Tags of no repository", err, oci.NameUnknown)
	// In byte order, capitals first.
	want := []oci.Tag{"0", "1.0", "1.10", "1.9", "A", "B", "_", "a", "a-1", "a.1", "a1", "b"}
	one, two := c.image(repo, "one"), c.image(repo, "two")
	for i := range want {
		tag := want[(i*5)%len(want)]
		c.put(repo, one, tag)
	}
	c.put(repo, two, "a")
	c.putImage(other, "one", "elsewhere")
	for _, limit := range []int{1, 5, len(want), registry.MaxPage} {
		c.wantList("tags", c.allTags(repo, registry.TagQuery{}, limit), want)
	}
	for _, after := range []oci.Tag{"0", "1.1", "Z", "a", "a-", "zz"} {
		rest := slices.DeleteFunc(slices.Clone(want), func(t oci.Tag) bool { return t <= after })
		c.wantList("tags after "+string(after), c.tagNames(repo, registry.TagQuery{After: after, Limit: 100}), rest)
	}
	tags, err := c.Tags(c.Context(), repo, registry.TagQuery{Limit: 100})
	if err != nil {
		c.Fatal(err)
	}
	for _, info := range tags {
		d := one.Digest
		if info.Tag == "a" {
			d = two.Digest
		}
		if info.Digest != d || info.Pushed.IsZero() {
			c.Errorf("tag %s is %s since %v, want %s", info.Tag, info.Digest, info.Pushed, d)
		}
	}
}

func testReaching(c *client) {
	imageDoc := c.imageDocument(repo, "image")
	image := c.manifest(imageDoc)
	c.put(repo, image, "image")
	c.putImage(repo, "stranger", "stranger")
	inner := c.index(descriptor(image))
	c.put(repo, inner, "inner", "inner2")
	outer := c.index(descriptor(inner))
	c.put(repo, outer, "outer")
	signature := c.referrer(repo, descriptor(image), "application/x-signature", "")
	c.put(repo, signature, "signature")
	c.imageDocument(other, "image")
	c.put(other, image, "elsewhere")

	every := []oci.Tag{"image", "inner", "inner2", "outer"}
	tests := []struct {
		name string
		d    oci.Digest
		want []oci.Tag
	}{
		{"the outer index", outer.Digest, []oci.Tag{"outer"}},
		{"the inner index", inner.Digest, []oci.Tag{"inner", "inner2", "outer"}},
		{"the image", image.Digest, every},
		{"the config", imageDoc.Config.Digest, every},
		{"a layer", imageDoc.Layers[0].Digest, every},
		{"an unknown digest", oci.DigestOf(oci.SHA256, []byte("unknown")), nil},
	}
	for _, test := range tests {
		for _, limit := range []int{1, 2, 100} {
			c.wantList("tags that reach "+test.name, c.allTags(repo, registry.TagQuery{Reaching: test.d}, limit), test.want)
		}
	}
	got := c.allTags(repo, registry.TagQuery{Reaching: signature.Digest}, 100)
	for _, want := range []oci.Tag{"image", "signature"} {
		if !slices.Contains(got, want) {
			c.Errorf("tags that reach a signature are %v, without %s", got, want)
		}
	}
	if slices.Contains(got, "stranger") {
		c.Errorf("tags that reach a signature are %v", got)
	}
	c.wantList("a page in the middle", c.tagNames(repo, registry.TagQuery{Reaching: image.Digest, After: "inner", Limit: 1}), []oci.Tag{"inner2"})
}

// allReferrers returns the referrers of d, in pages of limit.
func (c *client) allReferrers(d oci.Digest, limit int, artifactTypes ...string) []oci.Descriptor {
	c.Helper()
	digest := func(d oci.Descriptor) oci.Digest { return d.Digest }
	return pages(c, limit, digest, func(after oci.Digest) ([]oci.Descriptor, error) {
		return c.Referrers(c.Context(), repo, d, registry.ReferrerQuery{ArtifactTypes: artifactTypes, After: after, Limit: limit})
	})
}

// inOrder returns the digests of ms in order.
func inOrder(ms ...registry.ManifestContent) []oci.Digest {
	return slices.Sorted(slices.Values(mapped(ms, func(m registry.ManifestContent) oci.Digest { return m.Digest })))
}

func digests(ds []oci.Descriptor) []oci.Digest {
	return mapped(ds, func(d oci.Descriptor) oci.Digest { return d.Digest })
}

func testReferrers(c *client) {
	_, err := c.Referrers(c.Context(), repo, oci.DigestOf(oci.SHA256, nil), registry.ReferrerQuery{Limit: 10})
	c.wantCode("Referrers in no repository", err, oci.NameUnknown)

	image, bystander := c.image(repo, "image"), c.image(repo, "bystander")
	c.put(repo, image, "v1")
	c.put(repo, bystander, "v2")
	c.put(repo, c.referrer(repo, descriptor(bystander), "application/x-note", "of another"))
	c.imageDocument(other, "image")
	c.put(other, c.referrer(other, descriptor(image), "application/x-note", "elsewhere"))
	c.wantList("referrers of what has none", c.allReferrers(image.Digest, 10), []oci.Descriptor{})

	var notes []registry.ManifestContent
	for i := range 7 {
		m := c.referrer(repo, descriptor(image), "application/x-note", fmt.Sprint(i))
		c.put(repo, m)
		c.put(repo, m)
		notes = append(notes, m)
	}
	for _, limit := range []int{1, 3, 7, 100} {
		got := c.allReferrers(image.Digest, limit)
		c.wantList("referrers", digests(got), inOrder(notes...))
		for _, d := range got {
			i := slices.IndexFunc(notes, func(m registry.ManifestContent) bool { return m.Digest == d.Digest })
			want := descriptor(notes[i])
			want.ArtifactType, want.Annotations = "application/x-note", map[string]string{"note": fmt.Sprint(i)}
			c.wantList("a referrer", d, want)
		}
	}
	if err := c.DeleteManifest(c.Context(), repo, notes[0].Digest); err != nil {
		c.Fatal(err)
	}
	c.wantList("referrers after one was deleted", digests(c.allReferrers(image.Digest, 100)), inOrder(notes[1:]...))
}

func testReferrerTypes(c *client) {
	image := c.image(repo, "image")
	c.put(repo, image)
	subject := descriptor(image)
	sbom := c.referrer(repo, subject, "application/x-sbom", "")
	signature := c.referrer(repo, subject, "application/x-signature", "")
	index := c.manifest(document{MediaType: oci.MediaTypeIndex, ArtifactType: "application/x-sbom", Manifests: []oci.Descriptor{subject}, Subject: &subject})
	doc := c.imageDocument(repo, "typed by its config")
	doc.Subject = &subject
	byConfig := c.manifest(doc)
	for _, m := range []registry.ManifestContent{sbom, signature, index, byConfig} {
		c.put(repo, m)
	}
	tests := []struct {
		types []string
		want  []oci.Digest
	}{
		{nil, inOrder(sbom, signature, index, byConfig)},
		{[]string{"application/x-sbom"}, inOrder(sbom, index)},
		{[]string{"application/x-signature", "application/x-sbom"}, inOrder(sbom, signature, index)},
		{[]string{configType}, inOrder(byConfig)},
		{[]string{"application/x"}, nil},
		{[]string{"application/x-SBOM"}, nil},
	}
	for _, test := range tests {
		for _, limit := range []int{1, 2, 100} {
			c.wantList(fmt.Sprintf("referrers of types %q", test.types), digests(c.allReferrers(image.Digest, limit, test.types...)), test.want)
		}
	}
}

// testNoSubject attaches to what comes later, and lets it go again.
func testNoSubject(c *client) {
	image := c.image(repo, "image")
	note := c.referrer(repo, descriptor(image), "application/x-note", "")
	c.put(repo, note)
	want := inOrder(note)
	c.wantNoManifest(repo, string(image.Digest))
	c.wantList("referrers before the subject is there", digests(c.allReferrers(image.Digest, 10)), want)
	c.put(repo, image)
	c.wantList("referrers of the subject", digests(c.allReferrers(image.Digest, 10)), want)
	if err := c.DeleteManifest(c.Context(), repo, image.Digest); err != nil {
		c.Fatal(err)
	}
	c.wantManifest(repo, string(note.Digest), note.Digest)
	c.wantList("referrers after the subject has gone", digests(c.allReferrers(image.Digest, 10)), want)
	c.wantList("referrers of a digest never seen", digests(c.allReferrers(oci.DigestOf(oci.SHA256, []byte("never seen")), 10)), []oci.Digest{})
}
