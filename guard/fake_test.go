package guard

import (
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"berth/oci"
	"berth/registry"
)

// A fake is a registry in memory. It does what is asked of it, and keeps what
// that was.
type fake struct {
	repos map[oci.Name]*fakeRepo
	calls []string                  // methods, in order
	owner string                    // of the last upload
	put   registry.PutOptions       // of the last manifest
	query registry.RepoQuery        // of the last list of repositories
	fail  func(method string) error // instead of doing anything
}

type fakeRepo struct {
	blobs     []oci.Digest
	manifests map[oci.Digest][]oci.Digest // what each holds
	subjects  map[oci.Digest]oci.Digest
	tags      map[oci.Tag]oci.Digest
}

func (f *fake) enter(method string) error {
	f.calls = append(f.calls, method)
	if f.fail != nil {
		return f.fail(method)
	}
	return nil
}

func (f *fake) repo(name oci.Name) (*fakeRepo, error) {
	if r := f.repos[name]; r != nil {
		return r, nil
	}
	return nil, oci.Errorf(oci.NameUnknown, "no such repository")
}

type fakeContent oci.Digest

func (c fakeContent) Descriptor() oci.Descriptor {
	return oci.Descriptor{Digest: oci.Digest(c), Size: 1}
}
func (c fakeContent) Open(context.Context, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("x")), nil
}
func (c fakeContent) File() (*os.File, bool)              { return os.Stdin, true }
func (c fakeContent) URL(context.Context) (string, error) { return "https://store.example.org", nil }
func (c fakeContent) Close() error                        { return nil }

func (f *fake) Blob(_ context.Context, repo oci.Name, d oci.Digest) (registry.Content, error) {
	if err := f.enter("Blob"); err != nil {
		return nil, err
	}
	r, err := f.repo(repo)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(r.blobs, d) {
		return nil, oci.Errorf(oci.BlobUnknown, "no such blob")
	}
	return fakeContent(d), nil
}

func (f *fake) Manifest(_ context.Context, repo oci.Name, ref oci.Reference) (registry.Content, error) {
	if err := f.enter("Manifest"); err != nil {
		return nil, err
	}
	r, err := f.repo(repo)
	if err != nil {
		return nil, err
	}
	d := cmp.Or(ref.Digest, r.tags[ref.Tag])
	if _, ok := r.manifests[d]; !ok {
		return nil, oci.Errorf(oci.ManifestUnknown, "no such manifest")
	}
	return fakeContent(d), nil
}

func (f *fake) StartUpload(_ context.Context, _ oci.Name, o registry.UploadOptions) (registry.Upload, error) {
	f.owner = o.Owner
	return nil, f.enter("StartUpload")
}

func (f *fake) ResumeUpload(_ context.Context, _ oci.Name, _ string, o registry.UploadOptions) (registry.Upload, error) {
	f.owner = o.Owner
	return nil, f.enter("ResumeUpload")
}

func (f *fake) UploadStatus(_ context.Context, _ oci.Name, _ string, o registry.UploadOptions) (int64, error) {
	f.owner = o.Owner
	return 0, f.enter("UploadStatus")
}

func (f *fake) MountBlob(_ context.Context, _, from oci.Name, d oci.Digest) (oci.Descriptor, error) {
	if err := f.enter("MountBlob"); err != nil {
		return oci.Descriptor{}, err
	}
	r, err := f.repo(from)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if !slices.Contains(r.blobs, d) {
		return oci.Descriptor{}, oci.Errorf(oci.BlobUnknown, "no such blob in %s", from)
	}
	return oci.Descriptor{Digest: d}, nil
}

func (f *fake) PutManifest(_ context.Context, _ oci.Name, m registry.ManifestContent, o registry.PutOptions) (oci.Descriptor, error) {
	f.put = o
	return oci.Descriptor{Digest: m.Digest}, f.enter("PutManifest")
}

func (f *fake) DeleteBlob(context.Context, oci.Name, oci.Digest) error { return f.enter("DeleteBlob") }

func (f *fake) DeleteManifest(context.Context, oci.Name, oci.Digest) error {
	return f.enter("DeleteManifest")
}

func (f *fake) DeleteTag(context.Context, oci.Name, oci.Tag) error { return f.enter("DeleteTag") }

func (f *fake) DeleteRepository(context.Context, oci.Name) error { return f.enter("DeleteRepository") }

func (f *fake) Repos(_ context.Context, q registry.RepoQuery) ([]registry.Repo, error) {
	if err := f.enter("Repos"); err != nil {
		return nil, err
	}
	f.query = q
	return f.search(q, func(*fakeRepo) bool { return true }), nil
}

func (f *fake) BlobRepos(_ context.Context, d oci.Digest, q registry.RepoQuery) ([]registry.Repo, error) {
	if err := f.enter("BlobRepos"); err != nil {
		return nil, err
	}
	return f.search(q, func(r *fakeRepo) bool { return slices.Contains(r.blobs, d) }), nil
}

func (f *fake) search(q registry.RepoQuery, holds func(*fakeRepo) bool) []registry.Repo {
	var found []registry.Repo
	for _, name := range slices.Sorted(maps.Keys(f.repos)) {
		if name > q.After && holds(f.repos[name]) && within(q.Visible, name) && len(found) < q.Limit {
			found = append(found, registry.Repo{Name: name})
		}
	}
	return found
}

func within(v *registry.Visibility, name oci.Name) bool {
	return v == nil || (v.Match == nil || v.Match(name)) && slices.ContainsFunc(v.Spans, func(s registry.Span) bool {
		return s.From <= string(name) && (s.To == "" || string(name) < s.To)
	})
}

func (f *fake) Tags(_ context.Context, repo oci.Name, q registry.TagQuery) ([]registry.TagInfo, error) {
	if err := f.enter("Tags"); err != nil {
		return nil, err
	}
	r, err := f.repo(repo)
	if err != nil {
		return nil, err
	}
	var found []registry.TagInfo
	for _, tag := range slices.Sorted(maps.Keys(r.tags)) {
		d := r.tags[tag]
		if tag > q.After && (q.Reaching == "" || r.reaches(d, q.Reaching)) && len(found) < q.Limit {
			found = append(found, registry.TagInfo{Tag: tag, Digest: d})
		}
	}
	return found, nil
}

func (r *fakeRepo) reaches(from, to oci.Digest) bool {
	return from == to || r.subjects[to] == from ||
		slices.ContainsFunc(r.manifests[from], func(d oci.Digest) bool { return r.reaches(d, to) })
}

func (f *fake) Referrers(_ context.Context, repo oci.Name, d oci.Digest, q registry.ReferrerQuery) ([]oci.Descriptor, error) {
	if err := f.enter("Referrers"); err != nil {
		return nil, err
	}
	r, err := f.repo(repo)
	if err != nil {
		return nil, err
	}
	var found []oci.Descriptor
	for _, from := range slices.Sorted(maps.Keys(r.subjects)) {
		if from > q.After && r.subjects[from] == d && len(found) < q.Limit {
			found = append(found, oci.Descriptor{Digest: from})
		}
	}
	return found, nil
}
