package registrytest

import (
	"slices"
	"strings"

	"berth/oci"
	"berth/registry"
)

// names are repositories in byte order, in which '-' and '.' come before '/'.
var names = []oci.Name{"a", "a--b", "a-b", "a.b", "a/b", "a/b/c", "a/bc", "a0", "a_b", "ab", "b", "z/a"}

func nameOf(r registry.Repo) oci.Name { return r.Name }

// repoNames returns the first page of repositories.
func (c *client) repoNames(q registry.RepoQuery) []oci.Name {
	c.Helper()
	repos, err := c.Repos(c.Context(), q)
	if err != nil {
		c.Fatalf("Repos: %v", err)
	}
	return mapped(repos, nameOf)
}

func mapped[T, U any](from []T, f func(T) U) []U {
	to := make([]U, len(from))
	for i, v := range from {
		to[i] = f(v)
	}
	return to
}

// allRepos returns all repositories of q, in pages of limit.
func (c *client) allRepos(q registry.RepoQuery, limit int) []oci.Name {
	c.Helper()
	q.Limit = limit
	return mapped(pages(c, limit, nameOf, func(after oci.Name) ([]registry.Repo, error) {
		q.After = after
		return c.Repos(c.Context(), q)
	}), nameOf)
}

// putNames puts an image in every repository of names.
func (c *client) putNames() {
	c.Helper()
	for i := range names {
		c.putImage(names[(i*5)%len(names)], "one", "v1")
	}
}

func testRepos(c *client) {
	c.wantList("repositories of an empty registry", c.repoNames(registry.RepoQuery{Limit: 10}), []oci.Name{})
	c.putNames()
	c.pushBlob("only/blobs", []byte("abc"))
	c.close(c.start("only/upload"))
	for _, limit := range []int{1, 2, 5, len(names), registry.MaxPage} {
		c.wantList("repositories", c.allRepos(registry.RepoQuery{}, limit), names)
	}
	for _, after := range []oci.Name{"a", "a-", "a/", "a/b", "a/b/", "a0", "aa", "zz"} {
		want := slices.DeleteFunc(slices.Clone(names), func(n oci.Name) bool { return n <= after })
		c.wantList("repositories after "+string(after), c.repoNames(registry.RepoQuery{After: after, Limit: 100}), want)
	}

	d := c.putImage("emptied", "one")
	if err := c.DeleteManifest(c.Context(), "emptied", d); err != nil {
		c.Fatal(err)
	}
	c.wantList("repositories after one lost its manifest", c.allRepos(registry.RepoQuery{}, 100), names)
	tagged := c.putImage("untagged", "one", "v1")
	if err := c.DeleteTag(c.Context(), "untagged", "v1"); err != nil {
		c.Fatal(err)
	}
	if got := c.allRepos(registry.RepoQuery{}, 100); !slices.Contains(got, "untagged") {
		c.Errorf("a repository with %s and without a tag is not listed", tagged)
	}
}

func testReposContain(c *client) {
	c.putNames()
	// '_' and '%' stand for others in SQL's patterns, and case may not count there.
	for _, part := range []string{"b", "a/b", "_", "-", ".", "%", "B", "c", "/", "z/a", "\\", "'", "nowhere"} {
		want := slices.DeleteFunc(slices.Clone(names), func(n oci.Name) bool { return !strings.Contains(string(n), part) })
		for _, limit := range []int{1, 100} {
			c.wantList("repositories that contain "+part, c.allRepos(registry.RepoQuery{Contains: part}, limit), want)
		}
	}
}

func testReposVisible(c *client) {
	c.putNames()
	even := func(n oci.Name) bool { return slices.Index(names, n)%2 == 0 }
	spans := func(s ...registry.Span) []registry.Span { return s }
	tests := []struct {
		name     string
		visible  registry.Visibility
		contains string
		want     []oci.Name
	}{
		{"nothing", registry.Visibility{}, "", nil},
		{"everything", registry.Visibility{Spans: spans(registry.Span{})}, "", names},
		{"one", registry.Visibility{Spans: spans(registry.Span{From: "a/b", To: "a/b\x00"})}, "", names[4:5]},
		{"below a prefix", registry.Visibility{Spans: spans(registry.Span{From: "a/", To: "a0"})}, "", names[4:7]},
		{"from one on", registry.Visibility{Spans: spans(registry.Span{From: "a_b"})}, "", names[8:]},
		{"two spans", registry.Visibility{Spans: spans(registry.Span{From: "a", To: "a-b"}, registry.Span{From: "ab", To: "b"})}, "", []oci.Name{"a", "a--b", "ab"}},
		{"three spans, one is empty", registry.Visibility{Spans: spans(registry.Span{From: "a", To: "a-"}, registry.Span{From: "a1", To: "a2"}, registry.Span{From: "b"})}, "", []oci.Name{"a", "b", "z/a"}},
		{"what matches", registry.Visibility{Spans: spans(registry.Span{}), Match: even}, "", []oci.Name{"a", "a-b", "a/b", "a/bc", "a_b", "b"}},
		{"spans and what matches", registry.Visibility{Spans: spans(registry.Span{From: "a-", To: "a/c"}, registry.Span{From: "b"}), Match: even}, "", []oci.Name{"a-b", "a/b", "a/bc", "b"}},
		{"all of it", registry.Visibility{Spans: spans(registry.Span{From: "a-", To: "a/c"}, registry.Span{From: "b"}), Match: even}, "/", []oci.Name{"a/b", "a/bc"}},
	}
	for _, test := range tests {
		for _, limit := range []int{1, 2, 100} {
			got := c.allRepos(registry.RepoQuery{Visible: &test.visible, Contains: test.contains}, limit)
			c.wantList(test.name, got, test.want)
		}
	}
}

func testBlobRepos(c *client) {
	d := oci.DigestOf(oci.SHA256, []byte("abc"))
	holders := []oci.Name{"a", "a-b", "a/b", "b", "z/a"}
	for _, name := range names {
		if slices.Contains(holders, name) {
			c.pushBlob(name, []byte("abc"))
		} else {
			c.putImage(name, "one")
		}
	}
	find := func(d oci.Digest, q registry.RepoQuery, limit int) []oci.Name {
		c.Helper()
		q.Limit = limit
		return mapped(pages(c, limit, nameOf, func(after oci.Name) ([]registry.Repo, error) {
			q.After = after
			return c.BlobRepos(c.Context(), d, q)
		}), nameOf)
	}
	visible := &registry.Visibility{
		Spans: []registry.Span{{From: "a-"}},
		Match: func(n oci.Name) bool { return n != "b" },
	}
	for _, limit := range []int{1, 2, 100} {
		c.wantList("repositories of a blob", find(d, registry.RepoQuery{}, limit), holders)
		c.wantList("with a part", find(d, registry.RepoQuery{Contains: "/"}, limit), []oci.Name{"a/b", "z/a"})
		c.wantList("that are visible", find(d, registry.RepoQuery{Visible: visible}, limit), []oci.Name{"a-b", "a/b", "z/a"})
		c.wantList("none visible", find(d, registry.RepoQuery{Visible: &registry.Visibility{}}, limit), []oci.Name{})
		c.wantList("of an unknown blob", find(oci.DigestOf(oci.SHA256, []byte("unknown")), registry.RepoQuery{}, limit), []oci.Name{})
	}
	c.delete("a/b", d)
	c.wantList("after it was deleted in one", find(d, registry.RepoQuery{Contains: "/"}, 100), []oci.Name{"z/a"})
}
