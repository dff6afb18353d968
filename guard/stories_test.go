package guard

import (
	"context"
	"errors"
	"strings"
	"testing"

	"berth/access"
	"berth/auth"
	"berth/oci"
	"berth/registry"
)

func repos(names ...string) []string { return names }

// rules are those of a site with two teams.
func rules(t *testing.T) *access.Policy {
	t.Helper()
	on := func(name string, repositories []string, actions ...string) access.Rule {
		return access.Rule{Names: []string{name}, Type: access.TypeRepository, Repositories: repositories, Actions: actions}
	}
	tagged := func(r access.Rule, deny bool, tags ...string) access.Rule {
		r.Tags, r.Deny = tags, deny
		return r
	}
	p, err := access.Compile([]access.Rule{
		on("alice", repos("team-a/*"), "pull", "push"),
		on("bob", repos("team-b/*"), "*"),
		on("carol", repos("team-a/app"), "pull"),
		on("dave", repos("team-a/app"), "create"),
		on("r-a", repos("team-a/app"), "pull"),
		on("pusher", repos("team-a/app"), "push"),
		on("lister", repos("team-a/app"), "list"),
		tagged(on("dev", repos("team-a/app", "team-a/gone"), "pull", "push", "delete"), false, "dev-*"),
		on("dev", repos("team-a/other"), "push"),
		on("ops", repos("team-a/*"), "*"),
		tagged(on("ops", repos("team-a/*"), "*"), true, "prod-*"),
		on("anonymous", repos("public/**"), "pull"),
		{Names: []string{"root"}, Type: access.TypeRegistry, Actions: []string{"*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// content is what the site holds. The digests are short: nothing here reads
// them.
func content() *fake {
	return &fake{repos: map[oci.Name]*fakeRepo{
		"team-a/app": {
			blobs: []oci.Digest{"base", "devlayer", "prodlayer", "loose"},
			manifests: map[oci.Digest][]oci.Digest{
				"m-dev": {"base", "devlayer"}, "m-prod": {"base", "prodlayer"}, "m-index": {"m-child"}, "m-child": nil, "m-both": nil, "m-none": nil,
				"sig-dev": nil, "sig-prod": nil,
			},
			subjects: map[oci.Digest]oci.Digest{"sig-dev": "m-dev", "sig-prod": "m-prod"},
			tags:     map[oci.Tag]oci.Digest{"dev-1": "m-dev", "prod-1": "m-prod", "prod-2": "m-index", "dev-2": "m-both", "prod-3": "m-both", "v1": "m-dev"},
		},
		"team-a/other":  {},
		"team-b/secret": {blobs: []oci.Digest{"S"}, manifests: map[oci.Digest][]oci.Digest{"m-s": {"S"}}, tags: map[oci.Tag]oci.Digest{"v1": "m-s"}},
		"public/x":      {blobs: []oci.Digest{"pub"}, manifests: map[oci.Digest][]oci.Digest{"m-pub": {"pub"}}, tags: map[oci.Tag]oci.Digest{"v1": "m-pub"}},
	}}
}

func caller(name string) access.Caller {
	if name == "anonymous" {
		return access.Caller{}
	}
	return access.Caller{Identity: auth.Identity{Subject: auth.Subject{Provider: "accounts", Name: name}}}
}

// do does one thing, said in words, and returns what came of it.
func do(g registry.Registry, words string) string {
	listed, err := attempt(g, words)
	var denied *access.DeniedError
	var told *oci.Error
	switch {
	case errors.As(err, &denied):
		return "denied"
	case errors.As(err, &told):
		return string(told.Code)
	case err != nil:
		return err.Error()
	}
	return listed
}

func attempt(g registry.Registry, words string) (listed string, err error) {
	ctx := context.Background()
	w := append(strings.Fields(words), "", "")
	repo, arg := oci.Name(w[1]), w[2]
	d := oci.Digest(arg)
	switch w[0] {
	case "blob":
		var c registry.Content
		if c, err = g.Blob(ctx, repo, d); err == nil {
			_, err = c.Open(ctx, 0, -1)
		}
	case "head":
		_, err = g.Blob(ctx, repo, d)
	case "tag":
		_, err = g.Manifest(ctx, repo, oci.Reference{Tag: oci.Tag(arg)})
	case "manifest":
		_, err = g.Manifest(ctx, repo, oci.Reference{Digest: d})
	case "upload":
		_, err = g.StartUpload(ctx, repo, registry.UploadOptions{Owner: "accounts/root"})
	case "resume":
		_, err = g.ResumeUpload(ctx, repo, "id", registry.UploadOptions{Owner: "accounts/root"})
	case "status":
		_, err = g.UploadStatus(ctx, repo, "id", registry.UploadOptions{Owner: "accounts/root"})
	case "mount":
		from, digest, _ := strings.Cut(arg, "@")
		_, err = g.MountBlob(ctx, repo, oci.Name(from), oci.Digest(digest))
	case "put":
		var o registry.PutOptions
		digest, tags, tagged := strings.Cut(arg, ":")
		if tagged {
			for tag := range strings.SplitSeq(tags, ",") {
				o.Tags = append(o.Tags, oci.Tag(tag))
			}
		}
		_, err = g.PutManifest(ctx, repo, registry.ManifestContent{Digest: oci.Digest(digest)}, o)
	case "delete-blob":
		err = g.DeleteBlob(ctx, repo, d)
	case "delete-manifest":
		err = g.DeleteManifest(ctx, repo, d)
	case "delete-tag":
		err = g.DeleteTag(ctx, repo, oci.Tag(arg))
	case "delete-repo":
		err = g.DeleteRepository(ctx, repo)
	case "repos":
		return names(g.Repos(ctx, registry.RepoQuery{Limit: 100}))
	case "holders":
		return names(g.BlobRepos(ctx, oci.Digest(w[1]), registry.RepoQuery{Limit: 100}))
	case "tags":
		return names(g.Tags(ctx, repo, registry.TagQuery{Limit: 100}))
	case "referrers":
		return names(g.Referrers(ctx, repo, d, registry.ReferrerQuery{Limit: 100}))
	default:
		panic(words)
	}
	return "ok", err
}

func names[T any](entries []T, err error) (string, error) {
	var names []string
	for _, e := range entries {
		switch e := any(e).(type) {
		case registry.Repo:
			names = append(names, string(e.Name))
		case registry.TagInfo:
			names = append(names, string(e.Tag))
		case oci.Descriptor:
			names = append(names, string(e.Digest))
		}
	}
	return strings.Join(names, " "), err
}

func TestStories(t *testing.T) {
	for _, story := range []struct {
		name, user string
		steps      []string
	}{
		{"alice works in team-a", "alice", []string{
			"blob team-a/app base = ok",
			"blob team-a/app nothing = BLOB_UNKNOWN",
			"tag team-a/app v1 = ok",
			"tag team-a/app v9 = MANIFEST_UNKNOWN",
			"manifest team-a/app m-dev = ok",
			"tag team-a/new v1 = NAME_UNKNOWN",
			"upload team-a/new = ok",
			"put team-a/app m-dev:prod-1,v7 = ok",
			"put team-a/app m-dev = ok",
			"delete-tag team-a/app v1 = denied",
			"delete-manifest team-a/app m-dev = denied",
			"delete-blob team-a/app base = denied",
			"delete-repo team-a/app = denied",
			"repos = public/x team-a/app team-a/other",
			"tags team-a/app = dev-1 dev-2 prod-1 prod-2 prod-3 v1",
			"referrers team-a/app m-prod = sig-prod",
			"mount team-a/other team-a/app@base = ok",
			"mount team-a/other public/x@pub = ok",
			"mount team-a/other @base = ok",
		}},
		{"alice looks for what is not hers", "alice", []string{
			"blob team-a/app S = BLOB_UNKNOWN",
			"blob team-b/secret S = denied",
			"head team-b/secret S = denied",
			"blob team-b/missing S = denied",
			"tag team-b/secret v1 = denied",
			"tag team-b/missing v1 = denied",
			"manifest team-b/secret m-s = denied",
			"manifest team-b/missing m-s = denied",
			"tags team-b/secret = denied",
			"tags team-b/missing = denied",
			"referrers team-b/secret m-s = denied",
			"upload team-b/secret = denied",
			"resume team-b/secret = denied",
			"put team-b/secret m-s:v1 = denied",
			"delete-repo team-b/missing = denied",
			"mount team-a/app team-b/secret@S = BLOB_UNKNOWN",
			"mount team-a/app team-b/missing@S = BLOB_UNKNOWN",
			"mount team-a/app team-a/other@S = BLOB_UNKNOWN",
			"mount team-a/app @S = BLOB_UNKNOWN",
			"mount team-b/secret team-a/app@base = denied",
			"holders S = ",
			"holders base = team-a/app",
		}},
		{"bob has team-b", "bob", []string{
			"blob team-b/secret S = ok",
			"delete-blob team-b/secret S = ok",
			"delete-repo team-b/secret = ok",
			"mount team-b/new @base = BLOB_UNKNOWN",
			"mount team-b/new @S = ok",
			"repos = public/x team-b/secret",
			"tag team-a/app v1 = denied",
		}},
		{"carol reads one repository", "carol", []string{
			"tag team-a/app v1 = ok",
			"tag team-a/other v1 = denied",
			"upload team-a/app = denied",
			"status team-a/app = denied",
			"put team-a/app m-dev:v1 = denied",
			"put team-a/app m-dev = denied",
			"mount team-a/app public/x@pub = denied",
			"repos = public/x team-a/app",
		}},
		{"dave adds to one repository", "dave", []string{
			"upload team-a/app = ok",
			"resume team-a/app = ok",
			"head team-a/app base = ok",
			"upload team-a/other = denied",
			"tag team-a/app v1 = denied",
			"delete-tag team-a/app v1 = denied",
		}},
		{"the robot reads one repository", "r-a", []string{"manifest team-a/app m-prod = ok", "upload team-a/app = denied", "tag team-b/secret v1 = denied"}},
		{"a pusher learns what is there", "pusher", []string{
			"head team-a/app base = ok",
			"head team-a/app nothing = BLOB_UNKNOWN",
			"blob team-a/app base = denied",
			"tag team-a/app v1 = denied",
			"tags team-a/app = denied",
			"head team-a/other base = denied",
			"mount team-a/app team-a/app@base = BLOB_UNKNOWN",
			"mount team-a/app @base = BLOB_UNKNOWN",
		}},
		{"a lister sees names", "lister", []string{
			"tags team-a/app = dev-1 dev-2 prod-1 prod-2 prod-3 v1",
			"tag team-a/app v1 = denied",
			"blob team-a/app base = denied",
			"referrers team-a/app m-dev = denied",
			"repos = public/x team-a/app",
		}},
		{"nobody", "anonymous", []string{
			"tag public/x v1 = ok",
			"blob public/x pub = ok",
			"repos = public/x",
			"tag team-a/app v1 = denied",
			"upload public/x = denied",
			"mount public/x @pub = denied",
			"holders base = ",
			"holders pub = public/x",
		}},
		{"dev has the tags dev-*", "dev", []string{
			"tag team-a/app dev-1 = ok",
			"tag team-a/app dev-9 = MANIFEST_UNKNOWN",
			"tag team-a/app prod-1 = denied",
			"tag team-a/app prod-9 = denied",
			"manifest team-a/app m-dev = ok",
			"manifest team-a/app m-prod = denied",
			"manifest team-a/app m-both = ok",
			"manifest team-a/app m-none = denied",
			"manifest team-a/app m-missing = denied",
			"manifest team-a/gone m-missing = denied",
			"tag team-a/gone dev-1 = NAME_UNKNOWN",
			"manifest team-a/app sig-dev = ok",
			"manifest team-a/app sig-prod = denied",
			"blob team-a/app devlayer = ok",
			"blob team-a/app base = ok",
			"blob team-a/app prodlayer = denied",
			"head team-a/app prodlayer = ok", // he may push
			"blob team-a/app loose = denied",
			"tags team-a/app = dev-1 dev-2",
			"referrers team-a/app m-dev = sig-dev",
			"referrers team-a/app m-prod = ",
			"referrers team-a/app m-missing = ",
			"upload team-a/app = ok",
			"put team-a/app m-new = ok",
			"put team-a/app m-new:dev-3 = ok",
			"put team-a/app m-new:dev-3,prod-1 = denied",
			"put team-a/app m-new:v1 = denied",
			"delete-tag team-a/app dev-1 = ok",
			"delete-tag team-a/app prod-1 = denied",
			"delete-manifest team-a/app m-dev = denied", // v1 would go too
			"delete-manifest team-a/app m-none = denied",
			"delete-repo team-a/app = denied",
			"mount team-a/other team-a/app@devlayer = ok",
			"mount team-a/other team-a/app@prodlayer = BLOB_UNKNOWN",
			"mount team-a/other @devlayer = ok",
			"mount team-a/other @prodlayer = BLOB_UNKNOWN",
			"holders devlayer = team-a/app",
			"holders prodlayer = ",
		}},
		{"ops may not touch the tags prod-*", "ops", []string{
			"tag team-a/app prod-1 = denied",
			"manifest team-a/app m-prod = denied",
			"manifest team-a/app m-both = denied",
			"manifest team-a/app m-dev = ok",
			"manifest team-a/app m-missing = MANIFEST_UNKNOWN",
			"put team-a/app m-new:prod-1 = denied",
			"put team-a/app m-prod = denied",
			"put team-a/app m-new = ok",
			"delete-manifest team-a/app m-prod = denied",
			"delete-manifest team-a/app m-child = denied",
			"delete-manifest team-a/app m-none = ok",
			"delete-manifest team-a/app m-dev = ok",
			"delete-blob team-a/app prodlayer = denied",
			"delete-blob team-a/app devlayer = ok",
			"delete-repo team-a/app = denied",
			"tags team-a/app = dev-1 dev-2 v1",
			"referrers team-a/app m-dev = sig-dev",
		}},
		{"root", "root", []string{"delete-repo team-a/app = ok", "tag team-a/app prod-1 = ok", "blob team-b/secret S = ok", "repos = public/x team-a/app team-a/other team-b/secret"}},
	} {
		g := New(content(), caller(story.user), rules(t))
		for _, step := range story.steps {
			words, want, _ := strings.Cut(step, " = ")
			if got := do(g, words); got != want {
				t.Errorf("%s: %s: got %q, want %q", story.name, words, got, want)
			}
		}
	}
}
