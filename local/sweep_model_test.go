package local

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/oci"
	"berth/registry"
)

// A sweepModel is what pushes, mounts and deletes have left, and until when the
// grace of what somebody was told of lasts.
type sweepModel struct {
	tb   testing.TB
	t    *rapid.T
	r    *Registry
	c    *turning
	told map[blobName]time.Time         // that a blob is there, last
	has  map[manifestName]modelManifest // by digest
	tags map[manifestName]oci.Digest
}

type modelManifest struct {
	m      registry.ManifestContent
	layers []string
}

var modelRepos = []oci.Name{"a", "b/c"}

var modelLayers = []string{"", "1", "2", "3", "4"}

func (m *sweepModel) repo() oci.Name { return rapid.SampledFrom(modelRepos).Draw(m.t, "repo") }
func (m *sweepModel) layer() string  { return rapid.SampledFrom(modelLayers).Draw(m.t, "layer") }

// tell notes that somebody was told of a blob.
func (m *sweepModel) tell(repo oci.Name, s string) { m.told[blobName{repo, digest(s)}] = m.c.Now() }

// mustHave reports whether a blob must be there: somebody was told so within the
// grace, or a manifest names it.
func (m *sweepModel) mustHave(repo oci.Name, s string) bool {
	at, ok := m.told[blobName{repo, digest(s)}]
	return ok && m.c.Now().Sub(at) < m.r.o.Grace || m.named(repo, s)
}

func (m *sweepModel) named(repo oci.Name, s string) bool {
	for name, has := range m.has {
		if name.repo == repo && (s == "{}" || slices.Contains(has.layers, s)) {
			return true
		}
	}
	return false
}

func (m *sweepModel) push(t *rapid.T) {
	repo, s := m.repo(), m.layer()
	push(m.tb, m.r, repo, s)
	m.tell(repo, s)
}

func (m *sweepModel) read(t *rapid.T) {
	repo, s := m.repo(), m.layer()
	_, err := read(m.r, repo, digest(s), 0, -1)
	switch {
	case err == nil:
		m.tell(repo, s)
	case m.mustHave(repo, s):
		t.Fatalf("blob %q of %s: %v", s, repo, err)
	}
}

func (m *sweepModel) mount(t *rapid.T) {
	repo, from, s := m.repo(), m.repo(), m.layer()
	_, err := m.r.MountBlob(t.Context(), repo, from, digest(s))
	switch {
	case err == nil:
		m.tell(repo, s)
	case !errors.Is(err, oci.BlobUnknown) || m.mustHave(from, s):
		t.Fatalf("mount of %q from %s to %s: %v", s, from, repo, err)
	}
}

// putManifest pushes an image of layers that should be there; it must not be
// refused then.
func (m *sweepModel) putManifest(t *rapid.T) {
	repo := m.repo()
	layers := rapid.SliceOfN(rapid.SampledFrom(modelLayers), 0, 2).Draw(t, "layers")
	sure := true
	for _, s := range layers {
		sure = sure && m.mustHave(repo, s)
	}
	img := image(m.tb, m.r, repo, layers...) // pushes the config
	m.tell(repo, "{}")
	tag := rapid.SampledFrom([]oci.Tag{"", "x", "y"}).Draw(t, "tag")
	var o registry.PutOptions
	if tag != "" {
		o.Tags = []oci.Tag{tag}
	}
	_, err := m.r.PutManifest(t.Context(), repo, img, o)
	if errors.Is(err, oci.ManifestBlobUnknown) && !sure {
		return
	}
	if err != nil {
		t.Fatalf("push of %q to %s: %v", layers, repo, err)
	}
	m.has[manifestName{repo, oci.Reference{Digest: img.Digest}}] = modelManifest{img, layers}
	if tag != "" {
		m.tags[manifestName{repo, oci.Reference{Tag: tag}}] = img.Digest
	}
}

func (m *sweepModel) deleteTag(t *rapid.T) {
	name, ok := sample(t, m.tags)
	if !ok {
		return
	}
	if err := m.r.DeleteTag(t.Context(), name.repo, name.ref.Tag); err != nil {
		t.Fatal(err)
	}
	delete(m.tags, name)
}

func (m *sweepModel) deleteManifest(t *rapid.T) {
	name, ok := sample(t, m.has)
	if !ok {
		return
	}
	if err := m.r.DeleteManifest(t.Context(), name.repo, name.ref.Digest); err != nil {
		t.Fatal(err)
	}
	for _, s := range append(m.has[name].layers, "{}") {
		m.tell(name.repo, s) // who was told of it when the manifest named it
	}
	delete(m.has, name)
	maps.DeleteFunc(m.tags, func(tag manifestName, d oci.Digest) bool { return tag.repo == name.repo && d == name.ref.Digest })
}

// deleteBlob takes a blob away that no manifest names: of the others, the registry
// would serve manifests without them.
func (m *sweepModel) deleteBlob(t *rapid.T) {
	repo, s := m.repo(), m.layer()
	if m.named(repo, s) {
		return
	}
	err := m.r.DeleteBlob(t.Context(), repo, digest(s))
	if err != nil && (!errors.Is(err, oci.BlobUnknown) || m.mustHave(repo, s)) {
		t.Fatal(err)
	}
	delete(m.told, blobName{repo, digest(s)})
}

func (m *sweepModel) sweep(t *rapid.T) {
	_, err := m.r.Sweep(t.Context(), SweepOptions{SweepRequest: registry.SweepRequest{DryRun: rapid.Bool().Draw(t, "dry")}})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *sweepModel) wait(t *rapid.T) { m.c.hours(rapid.IntRange(1, 40).Draw(t, "hours")) }

// check reads every tag and every manifest.
func (m *sweepModel) check(t *rapid.T) {
	for name, d := range m.tags {
		if data, err := readManifest(m.r, name.repo, name.ref); err != nil || oci.DigestOf(oci.SHA256, data) != d {
			t.Fatalf("tag %v: %v", name, err)
		}
	}
	for name := range m.has {
		if _, err := readManifest(m.r, name.repo, name.ref); err != nil {
			t.Fatalf("manifest %v: %v", name, err)
		}
	}
}

// settle lets every grace end, and looks whether exactly what manifests need is
// left.
func (m *sweepModel) settle(t *rapid.T) {
	m.c.hours(31)
	m.tidy(t)
	var want []string
	need := make(map[oci.Digest]bool)
	for name, has := range m.has {
		for _, s := range append(has.layers, "{}") {
			if got, err := read(m.r, name.repo, digest(s), 0, -1); err != nil || got != s {
				t.Fatalf("layer %q of %v: %v", s, name, err)
			}
			need[digest(s)] = true
		}
		need[name.ref.Digest] = true
	}
	for d := range need {
		want = append(want, row(m.tb, m.r, d).Key)
	}
	slices.Sort(want)
	if got := keys(m.tb, m.r.store); !slices.Equal(got, want) {
		t.Fatalf("the store holds %q, want %q", got, want)
	}
}

func (m *sweepModel) tidy(t *rapid.T) {
	if _, err := m.r.Sweep(t.Context(), SweepOptions{}); err != nil {
		t.Fatal(err)
	}
}

// sample returns one of the keys, in an order that does not depend on the map's.
func sample[V any](t *rapid.T, from map[manifestName]V) (manifestName, bool) {
	if len(from) == 0 {
		return manifestName{}, false
	}
	names := slices.SortedFunc(maps.Keys(from), func(a, b manifestName) int {
		return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return rapid.SampledFrom(names).Draw(t, "name"), true
}

func TestSweepModel(t *testing.T) {
	r, c := swept(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &sweepModel{tb: t, t: rt, r: r, c: c, told: make(map[blobName]time.Time),
			has: make(map[manifestName]modelManifest), tags: make(map[manifestName]oci.Digest)}
		rt.Repeat(map[string]func(*rapid.T){
			"push": m.push, "read": m.read, "mount": m.mount, "manifest": m.putManifest,
			"delete tag": m.deleteTag, "delete manifest": m.deleteManifest, "delete blob": m.deleteBlob,
			"sweep": m.sweep, "wait": m.wait, "": m.check,
		})
		m.settle(rt)
		wantRightTotals(rt, r)
		for _, name := range modelRepos { // for the next story
			if err := r.DeleteRepository(rt.Context(), name); err != nil && !errors.Is(err, oci.NameUnknown) {
				rt.Fatal(err)
			}
		}
		c.hours(31)
		m.tidy(rt)
		if left := keys(t, r.store); len(left) > 0 {
			rt.Fatalf("after all repositories were deleted, the store holds %q", left)
		}
	})
}
