package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"berth/oci"
	"berth/registry"
)

// A memory is a registry in memory, as simple as one can be.
type memory struct {
	mu      sync.Mutex
	repos   map[oci.Name]*memoryRepo
	uploads map[string]*memoryUpload
	next    int
	// files, when set, gives each blob a file in that folder; otherwise content
	// is read through Open, which ends with broken, when set, before its end.
	files  string
	short  int      // bytes that each file lacks
	opened []string // what was asked of Open
	broken error
	fail   error // what every call returns, when set
	rule   error // what every push of a manifest and every mount returns, when set
	// failTags, when set, is the page of tags that does not come.
	failTags int
	// mostReferrers is the largest page of referrers that was asked for.
	mostReferrers int
}

type memoryRepo struct {
	blobs     map[oci.Digest][]byte
	manifests map[oci.Digest]registry.ManifestContent
	tags      map[oci.Tag]oci.Digest
}

func newMemory() *memory {
	return &memory{repos: make(map[oci.Name]*memoryRepo), uploads: make(map[string]*memoryUpload)}
}

// repo returns a repository, which is made when it is not there.
func (m *memory) repo(name oci.Name) *memoryRepo {
	r := m.repos[name]
	if r == nil {
		r = &memoryRepo{
			blobs:     make(map[oci.Digest][]byte),
			manifests: make(map[oci.Digest]registry.ManifestContent),
			tags:      make(map[oci.Tag]oci.Digest),
		}
		m.repos[name] = r
	}
	return r
}

// addBlob puts data into a repository and returns its digest.
func (m *memory) addBlob(name oci.Name, data []byte) oci.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := oci.DigestOf(oci.SHA256, data)
	m.repo(name).blobs[d] = data
	return d
}

// addManifest puts an image without layers under a tag and returns its digest.
func (m *memory) addManifest(name oci.Name, tag oci.Tag) oci.Digest {
	data := imageManifest("", string(tag))
	parsed, err := oci.ParseManifest("", data)
	if err != nil {
		panic(err)
	}
	d := oci.DigestOf(oci.SHA256, data)
	_, err = m.PutManifest(context.Background(), name, registry.ManifestContent{Manifest: parsed, Digest: d, Bytes: data}, registry.PutOptions{Tags: []oci.Tag{tag}})
	if err != nil {
		panic(err)
	}
	return d
}

// imageManifest returns a manifest without layers. The note makes it one of its
// own; a subject, when given, is what it refers to.
func imageManifest(subject oci.Digest, note string) []byte {
	empty := oci.DigestOf(oci.SHA256, []byte("{}"))
	text := `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeManifest + `","artifactType":"application/x-note","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + string(empty) + `","size":2},"layers":[]`
	if subject != "" {
		text += `,"subject":{"mediaType":"` + oci.MediaTypeManifest + `","digest":"` + string(subject) + `","size":1}`
	}
	return []byte(text + `,"annotations":{"note":` + strconv.Quote(note) + `}}`)
}

func (m *memory) Blob(_ context.Context, name oci.Name, d oci.Digest) (registry.Content, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.repos[name]; r != nil && m.fail == nil {
		if data, ok := r.blobs[d]; ok {
			return m.content(oci.Descriptor{MediaType: oci.MediaTypeOctetStream, Digest: d, Size: int64(len(data))}, data)
		}
	}
	return nil, cmp.Or(m.fail, error(oci.Errorf(oci.BlobUnknown, "there is no such blob")))
}

func (m *memory) Manifest(_ context.Context, name oci.Name, ref oci.Reference) (registry.Content, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.repos[name]; r != nil && m.fail == nil {
		if mc, ok := r.manifests[cmp.Or(ref.Digest, r.tags[ref.Tag])]; ok {
			return m.content(oci.Descriptor{MediaType: mc.MediaType, Digest: mc.Digest, Size: int64(len(mc.Bytes))}, mc.Bytes)
		}
	}
	return nil, cmp.Or(m.fail, error(oci.Errorf(oci.ManifestUnknown, "there is no such manifest")))
}

func (m *memory) content(d oci.Descriptor, data []byte) (registry.Content, error) {
	c := &memoryContent{m: m, d: d, data: data, broken: m.broken}
	if m.files == "" {
		return c, nil
	}
	path := m.files + "/" + d.Digest.Encoded()
	if err := os.WriteFile(path, data[:len(data)-m.short], 0o600); err != nil {
		return nil, err
	}
	var err error
	c.file, err = os.Open(path)
	return c, err
}

type memoryContent struct {
	m      *memory
	d      oci.Descriptor
	data   []byte
	file   *os.File
	broken error
}

func (c *memoryContent) Descriptor() oci.Descriptor          { return c.d }
func (c *memoryContent) File() (*os.File, bool)              { return c.file, c.file != nil }
func (c *memoryContent) URL(context.Context) (string, error) { return "", nil }

func (c *memoryContent) Close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

func (c *memoryContent) Open(_ context.Context, off, n int64) (io.ReadCloser, error) {
	c.m.mu.Lock()
	c.m.opened = append(c.m.opened, fmt.Sprintf("%d+%d", off, n))
	c.m.mu.Unlock()
	data := c.data[off:]
	if n >= 0 {
		data = data[:n]
	}
	if c.broken != nil {
		half := bytes.NewReader(data[:len(data)/2])
		return io.NopCloser(io.MultiReader(half, failingReader{c.broken})), nil
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

// A memoryUpload is an upload between requests and during one.
type memoryUpload struct {
	m     *memory
	id    string
	name  oci.Name
	owner string
	data  []byte
}

func (m *memory) StartUpload(_ context.Context, name oci.Name, o registry.UploadOptions) (registry.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	u := &memoryUpload{m: m, id: "upload-" + strconv.Itoa(m.next), name: name, owner: o.Owner}
	m.uploads[u.id] = u
	return u, m.fail
}

func (m *memory) ResumeUpload(_ context.Context, name oci.Name, id string, o registry.UploadOptions) (registry.Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.uploads[id]
	if u == nil || u.name != name || u.owner != o.Owner {
		return nil, cmp.Or(m.fail, error(oci.Errorf(oci.BlobUploadUnknown, "there is no such upload")))
	}
	return u, m.fail
}

func (m *memory) UploadStatus(ctx context.Context, name oci.Name, id string, o registry.UploadOptions) (int64, error) {
	u, err := m.ResumeUpload(ctx, name, id, o)
	if err != nil {
		return 0, err
	}
	return u.Size(), nil
}

func (u *memoryUpload) Write(p []byte) (int, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	u.data = append(u.data, p...)
	return len(p), nil
}

func (u *memoryUpload) Size() int64 {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	return int64(len(u.data))
}

func (u *memoryUpload) ID() string                      { return u.id }
func (u *memoryUpload) Close(ctx context.Context) error { return ctx.Err() }

func (u *memoryUpload) Cancel(context.Context) error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	delete(u.m.uploads, u.id)
	return nil
}

func (u *memoryUpload) Commit(_ context.Context, d oci.Digest) (oci.Descriptor, error) {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	delete(u.m.uploads, u.id)
	if got := oci.DigestOf(d.Algorithm(), u.data); got != d {
		return oci.Descriptor{}, oci.Errorf(oci.DigestInvalid, "the digest of the upload is %s", got)
	}
	u.m.repo(u.name).blobs[d] = u.data
	return oci.Descriptor{Digest: d, Size: int64(len(u.data))}, nil
}

func (m *memory) MountBlob(_ context.Context, name, from oci.Name, d oci.Digest) (oci.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rule != nil {
		return oci.Descriptor{}, m.rule
	}
	for other, r := range m.repos {
		if data, ok := r.blobs[d]; ok && from == other {
			m.repo(name).blobs[d] = data
			return oci.Descriptor{Digest: d, Size: int64(len(data))}, nil
		}
	}
	return oci.Descriptor{}, oci.Errorf(oci.BlobUnknown, "there is no such blob")
}

func (m *memory) PutManifest(_ context.Context, name oci.Name, mc registry.ManifestContent, o registry.PutOptions) (oci.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rule != nil {
		return oci.Descriptor{}, m.rule
	}
	r := m.repo(name)
	for _, tag := range o.Tags {
		now, exists := r.tags[tag]
		switch {
		case o.IfNoneMatch && exists, len(o.IfMatch) > 0 && !slices.Contains(o.IfMatch, now):
			return oci.Descriptor{}, oci.Errorf(oci.Conflict, "the tag is another")
		case o.CreateOnly && exists && now != mc.Digest:
			return oci.Descriptor{}, oci.Errorf(oci.Denied, "tag %s is there already, and may not be moved", tag)
		}
	}
	for _, tag := range o.Tags {
		r.tags[tag] = mc.Digest
	}
	mc.Bytes = bytes.Clone(mc.Bytes)
	r.manifests[mc.Digest] = mc
	return oci.Descriptor{MediaType: mc.MediaType, Digest: mc.Digest, Size: int64(len(mc.Bytes))}, m.fail
}

func (m *memory) DeleteBlob(_ context.Context, name oci.Name, d oci.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	r := m.repo(name)
	if _, ok := r.blobs[d]; !ok {
		return oci.Errorf(oci.BlobUnknown, "there is no such blob")
	}
	delete(r.blobs, d)
	return nil
}

func (m *memory) DeleteManifest(_ context.Context, name oci.Name, d oci.Digest) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	r := m.repo(name)
	if _, ok := r.manifests[d]; !ok {
		return oci.Errorf(oci.ManifestUnknown, "there is no such manifest")
	}
	delete(r.manifests, d)
	maps.DeleteFunc(r.tags, func(_ oci.Tag, to oci.Digest) bool { return to == d })
	return nil
}

func (m *memory) DeleteTag(_ context.Context, name oci.Name, t oci.Tag) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	r := m.repo(name)
	if _, ok := r.tags[t]; !ok {
		return oci.Errorf(oci.ManifestUnknown, "there is no such tag")
	}
	delete(r.tags, t)
	return nil
}

func (m *memory) DeleteRepository(context.Context, oci.Name) error { return oci.Unsupported }

func (m *memory) Repos(_ context.Context, q registry.RepoQuery) ([]registry.Repo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var repos []registry.Repo
	for _, name := range slices.Sorted(maps.Keys(m.repos)) {
		seen := q.Visible == nil || q.Visible.Match == nil || q.Visible.Match(name)
		if name > q.After && seen && strings.Contains(string(name), q.Contains) && len(repos) < q.Limit && len(m.repos[name].manifests) > 0 {
			repos = append(repos, registry.Repo{Name: name})
		}
	}
	return repos, m.fail
}

func (m *memory) BlobRepos(_ context.Context, d oci.Digest, q registry.RepoQuery) ([]registry.Repo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var repos []registry.Repo
	for _, name := range slices.Sorted(maps.Keys(m.repos)) {
		_, holds := m.repos[name].blobs[d]
		if holds && (q.Visible == nil || q.Visible.Match == nil || q.Visible.Match(name)) {
			repos = append(repos, registry.Repo{Name: name})
		}
	}
	return repos, m.fail
}

func (m *memory) Tags(_ context.Context, name oci.Name, q registry.TagQuery) ([]registry.TagInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.repos[name]
	if r == nil {
		return nil, oci.Errorf(oci.NameUnknown, "there is no such repository")
	}
	if m.failTags == 1 {
		return nil, errors.New("the disk is gone")
	}
	m.failTags = max(m.failTags-1, 0)
	var tags []registry.TagInfo
	for _, tag := range slices.Sorted(maps.Keys(r.tags)) {
		if tag > q.After && len(tags) < q.Limit {
			tags = append(tags, registry.TagInfo{Tag: tag, Digest: r.tags[tag]})
		}
	}
	return tags, m.fail
}

func (m *memory) Referrers(_ context.Context, name oci.Name, d oci.Digest, q registry.ReferrerQuery) ([]oci.Descriptor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mostReferrers = max(m.mostReferrers, q.Limit)
	r := m.repos[name]
	if r == nil {
		return nil, oci.Errorf(oci.NameUnknown, "there is no such repository")
	}
	var found []oci.Descriptor
	for _, digest := range slices.Sorted(maps.Keys(r.manifests)) {
		mc := r.manifests[digest]
		wanted := len(q.ArtifactTypes) == 0 || slices.Contains(q.ArtifactTypes, mc.ArtifactType)
		if mc.Subject != nil && mc.Subject.Digest == d && wanted && digest > q.After && len(found) < q.Limit {
			found = append(found, oci.Descriptor{MediaType: mc.MediaType, Digest: digest, Size: int64(len(mc.Bytes)), ArtifactType: mc.ArtifactType, Annotations: mc.Annotations})
		}
	}
	return found, nil
}
