package guard

import (
	"context"
	"errors"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

// mountCandidates is how many repositories are tried for a mount that names
// none. The answer to finding nothing is an upload.
const mountCandidates = 16

// write decides r, a push, and says whether it may only create. An expired
// token writes nothing new.
func (g *guard) write(ctx context.Context, r access.Request, d oci.Digest) (createOnly bool, err error) {
	if g.caller.Expired {
		return false, g.denied(r)
	}
	return g.writeBegun(ctx, r, d)
}

// writeBegun is write for an upload that was begun before.
func (g *guard) writeBegun(ctx context.Context, r access.Request, d oci.Digest) (createOnly bool, err error) {
	ok, err := g.allowed(ctx, r, d)
	if ok || err != nil {
		return false, err
	}
	r.Action = access.Create
	return true, g.require(ctx, r, d)
}

// owner is whose uploads the caller may go on with: his own, and for nobody
// those that nobody began.
func (g *guard) owner() string {
	if g.caller.Anonymous() {
		return ""
	}
	return g.caller.Provider + "/" + g.caller.Name
}

// StartUpload needs push or create. The upload is the caller's, whatever o says.
func (g *guard) StartUpload(ctx context.Context, repo oci.Name, o registry.UploadOptions) (registry.Upload, error) {
	if _, err := g.write(ctx, g.byTag(access.Push, repo), ""); err != nil {
		return nil, err
	}
	o.Owner = g.owner()
	return g.reg.StartUpload(ctx, repo, o)
}

// ResumeUpload needs push or create, for which an expired token will do, and
// goes on with uploads of the caller only.
func (g *guard) ResumeUpload(ctx context.Context, repo oci.Name, id string, o registry.UploadOptions) (registry.Upload, error) {
	if _, err := g.writeBegun(ctx, g.byTag(access.Push, repo), ""); err != nil {
		return nil, err
	}
	o.Owner = g.owner()
	return g.reg.ResumeUpload(ctx, repo, id, o)
}

// UploadStatus needs what ResumeUpload needs.
func (g *guard) UploadStatus(ctx context.Context, repo oci.Name, id string, o registry.UploadOptions) (int64, error) {
	if _, err := g.writeBegun(ctx, g.byTag(access.Push, repo), ""); err != nil {
		return 0, err
	}
	o.Owner = g.owner()
	return g.reg.UploadStatus(ctx, repo, id, o)
}

// MountBlob needs push or create on repo, and pull of the blob from the other.
// What may not be pulled is as good as not there.
func (g *guard) MountBlob(ctx context.Context, repo, from oci.Name, d oci.Digest) (oci.Descriptor, error) {
	if _, err := g.write(ctx, g.byTag(access.Push, repo), ""); err != nil {
		return oci.Descriptor{}, err
	}
	sources := []oci.Name{from}
	if from == "" {
		found, err := g.BlobRepos(ctx, d, registry.RepoQuery{Limit: mountCandidates})
		if err != nil {
			return oci.Descriptor{}, err
		}
		sources = sources[:0]
		for _, r := range found {
			sources = append(sources, r.Name)
		}
	}
	for _, source := range sources {
		mounted, err := g.mountFrom(ctx, repo, source, d)
		if err == nil || !errors.Is(err, oci.BlobUnknown) && !errors.Is(err, oci.NameUnknown) {
			return mounted, err
		}
	}
	return oci.Descriptor{}, oci.Errorf(oci.BlobUnknown, "no such blob to be mounted")
}

func (g *guard) mountFrom(ctx context.Context, repo, from oci.Name, d oci.Digest) (oci.Descriptor, error) {
	ok, err := g.readable(ctx, from, d)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if !ok {
		return oci.Descriptor{}, oci.BlobUnknown
	}
	return g.reg.MountBlob(ctx, repo, from, d)
}

// PutManifest needs push on every tag, or else create, and then moves none.
func (g *guard) PutManifest(ctx context.Context, repo oci.Name, m registry.ManifestContent, o registry.PutOptions) (oci.Descriptor, error) {
	r := g.byDigest(access.Push, repo)
	if len(o.Tags) > 0 {
		r = g.byTag(access.Push, repo, o.Tags...)
	}
	createOnly, err := g.write(ctx, r, m.Digest)
	if err != nil {
		return oci.Descriptor{}, err
	}
	o.CreateOnly = o.CreateOnly || createOnly
	return g.reg.PutManifest(ctx, repo, m, o)
}

// DeleteBlob needs delete.
func (g *guard) DeleteBlob(ctx context.Context, repo oci.Name, d oci.Digest) error {
	if err := g.require(ctx, g.byDigest(access.Delete, repo), d); err != nil {
		return err
	}
	return g.reg.DeleteBlob(ctx, repo, d)
}

// DeleteManifest needs delete.
func (g *guard) DeleteManifest(ctx context.Context, repo oci.Name, d oci.Digest) error {
	if err := g.require(ctx, g.byDigest(access.Delete, repo), d); err != nil {
		return err
	}
	return g.reg.DeleteManifest(ctx, repo, d)
}

// DeleteTag needs delete of the tag.
func (g *guard) DeleteTag(ctx context.Context, repo oci.Name, t oci.Tag) error {
	if err := g.require(ctx, g.byTag(access.Delete, repo, t), ""); err != nil {
		return err
	}
	return g.reg.DeleteTag(ctx, repo, t)
}

// DeleteRepository needs delete, unlimited by tags.
func (g *guard) DeleteRepository(ctx context.Context, repo oci.Name) error {
	if err := g.require(ctx, g.byTag(access.Delete, repo), ""); err != nil {
		return err
	}
	return g.reg.DeleteRepository(ctx, repo)
}
