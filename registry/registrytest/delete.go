package registrytest

import (
	"berth/oci"
	"berth/registry"
)

func testDeleteBlob(c *client) {
	data := []byte("abc")
	d := c.pushBlob(repo, data)
	c.pushBlob(other, data)
	c.delete(repo, d)
	c.wantNoBlob(repo, d)
	c.wantBlob(other, d, data)
	c.wantCode("DeleteBlob again", c.DeleteBlob(c.Context(), repo, d), oci.BlobUnknown)
	c.wantCode("DeleteBlob where nothing is", c.DeleteBlob(c.Context(), "none", d), oci.BlobUnknown, oci.NameUnknown)
	c.pushBlob(repo, data)
	c.wantBlob(repo, d, data)
}

func testDeleteManifest(c *client) {
	first := c.putImage(repo, "one", "v1", "latest")
	second := c.putImage(repo, "two", "v2")
	if err := c.DeleteManifest(c.Context(), repo, first); err != nil {
		c.Fatalf("DeleteManifest: %v", err)
	}
	for _, ref := range []string{"v1", "latest", string(first)} {
		c.wantNoManifest(repo, ref)
	}
	c.wantManifest(repo, "v2", second)
	c.wantList("tags", c.tagNames(repo, registry.TagQuery{Limit: 10}), []oci.Tag{"v2"})
	c.wantCode("DeleteManifest again", c.DeleteManifest(c.Context(), repo, first), oci.ManifestUnknown)
	c.wantCode("DeleteManifest where nothing is", c.DeleteManifest(c.Context(), "none", second), oci.ManifestUnknown, oci.NameUnknown)
	c.putImage(repo, "one")
	c.wantManifest(repo, string(first), first)
	c.wantNoManifest(repo, "v1")
}

func testDeleteTag(c *client) {
	d := c.putImage(repo, "one", "v1", "v2")
	if err := c.DeleteTag(c.Context(), repo, "v1"); err != nil {
		c.Fatalf("DeleteTag: %v", err)
	}
	c.wantNoManifest(repo, "v1")
	c.wantManifest(repo, "v2", d)
	c.wantCode("DeleteTag again", c.DeleteTag(c.Context(), repo, "v1"), oci.ManifestUnknown)
	c.wantCode("DeleteTag where nothing is", c.DeleteTag(c.Context(), "none", "v2"), oci.ManifestUnknown, oci.NameUnknown)
	if err := c.DeleteTag(c.Context(), repo, "v2"); err != nil {
		c.Fatalf("DeleteTag: %v", err)
	}
	c.wantManifest(repo, string(d), d)
	c.wantList("tags", c.tagNames(repo, registry.TagQuery{Limit: 10}), []oci.Tag{})
}

func testDeleteRepository(c *client) {
	m := c.image(repo, "one")
	c.put(repo, m, "v1")
	referrer := c.put(repo, c.referrer(repo, descriptor(m), "application/x", ""))
	d := c.pushBlob(repo, []byte("abc"))
	for _, neighbour := range []oci.Name{repo + "/below", repo + "-beside", "team"} {
		c.putImage(neighbour, "one", "v1")
	}
	if err := c.DeleteRepository(c.Context(), repo); err != nil {
		c.Fatalf("DeleteRepository: %v", err)
	}
	for _, ref := range []string{"v1", string(m.Digest), string(referrer)} {
		c.wantNoManifest(repo, ref)
	}
	c.wantNoBlob(repo, d)
	c.wantList("repositories", c.repoNames(registry.RepoQuery{Limit: 10}), []oci.Name{"team", repo + "-beside", repo + "/below"})
	c.wantManifest(repo+"/below", "v1", m.Digest)
	c.wantCode("DeleteRepository again", c.DeleteRepository(c.Context(), repo), oci.NameUnknown)

	again := c.putImage(repo, "two", "v2")
	c.wantManifest(repo, "v2", again)
	c.wantNoManifest(repo, "v1")
	c.wantNoBlob(repo, d)
	if got, err := c.Referrers(c.Context(), repo, m.Digest, registry.ReferrerQuery{Limit: 10}); err != nil || len(got) != 0 {
		c.Errorf("referrers of before = %v, %v", got, err)
	}
}
