package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/blob/memory"
	"berth/layout"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// A tree is a folder that Distribution could have written.
type tree struct {
	t   testing.TB
	dir string
}

func newTree(t testing.TB) tree { return tree{t, t.TempDir()} }

func (f tree) write(path, text string) {
	f.t.Helper()
	path = filepath.Join(f.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f tree) remove(path string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, path)); err != nil {
		f.t.Fatal(err)
	}
}

// layer writes a blob of the repository.
func (f tree) layer(repo oci.Name, content string) oci.Digest {
	d := digest(content)
	f.write(layout.BlobPath(d), content)
	f.write(layout.LayerPath(repo, d), string(d))
	return d
}

// manifest writes a manifest of the repository, and its tags.
func (f tree) manifest(repo oci.Name, document string, tags ...oci.Tag) oci.Digest {
	d := digest(document)
	f.write(layout.BlobPath(d), document)
	f.write(layout.RevisionPath(repo, d), string(d))
	for _, t := range tags {
		f.tag(repo, t, d)
	}
	return d
}

func (f tree) tag(repo oci.Name, t oci.Tag, d oci.Digest) {
	f.write(layout.TagIndexPath(repo, t, d), string(d))
	f.write(layout.TagPath(repo, t), string(d))
}

// imageDocument is a manifest of layers.
func imageDocument(layers ...string) string {
	list := make([]string, 0, len(layers))
	for _, l := range layers {
		list = append(list, descriptor(oci.MediaTypeOctetStream, l))
	}
	return fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`,
		oci.MediaTypeManifest, descriptor("application/vnd.oci.image.config.v1+json", "{}"), strings.Join(list, ","))
}

func descriptor(mediaType, content string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest(content), len(content))
}

func indexDocument(children ...string) string {
	list := make([]string, 0, len(children))
	for _, c := range children {
		list = append(list, descriptor(oci.MediaTypeManifest, c))
	}
	return fmt.Sprintf(`{"schemaVersion":2,"manifests":[%s]}`, strings.Join(list, ","))
}

// image writes an image of layers, and returns the manifest.
func (f tree) image(repo oci.Name, tag oci.Tag, layers ...string) string {
	f.layer(repo, "{}")
	for _, l := range layers {
		f.layer(repo, l)
	}
	document := imageDocument(layers...)
	if tag == "" {
		f.manifest(repo, document)
	} else {
		f.manifest(repo, document, tag)
	}
	return document
}

// open opens the folder for Adopt.
func (f tree) open(db *meta.DB) *Registry {
	f.t.Helper()
	return openRegistry(f.t, openDisk(f.t, f.dir), db, Options{Adopting: true})
}

// adopt adopts all, and returns what was found, by path.
func adopt(t testing.TB, r *Registry, verify bool) (registry.Transfer, map[string]registry.Finding) {
	t.Helper()
	found := make(map[string]registry.Finding)
	total, err := r.Adopt(t.Context(), registry.AdoptOptions{Verify: verify, Watch: registry.Watch{
		Found: func(f registry.Finding) { found[f.Path] = f },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return total, found
}

func wantManifest(t testing.TB, r *Registry, repo oci.Name, ref oci.Reference, document string) {
	t.Helper()
	got, err := readManifest(r, repo, ref)
	if err != nil || string(got) != document {
		t.Errorf("%s %s: %q, %v, want %q", repo, ref, got, err, document)
	}
}

func tagged(t oci.Tag) oci.Reference         { return oci.Reference{Tag: t} }
func byDigest(document string) oci.Reference { return oci.Reference{Digest: digest(document)} }
func tagsOf(t testing.TB, r *Registry, repo oci.Name) (tags []oci.Tag) {
	t.Helper()
	list, err := r.Tags(t.Context(), repo, registry.TagQuery{Limit: registry.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		tags = append(tags, info.Tag)
	}
	return tags
}

// TestAdopt: what Distribution serves is served, where it is, and nothing is
// copied. What nobody has verified is when it is read.
func TestAdopt(t *testing.T) {
	f := newTree(t)
	app := f.image("a", "V1", "one", "two")
	other := f.image("a/b", "latest", "two", large)
	untagged := f.image("a-b", "", "three")
	index := indexDocument(app)
	f.manifest("a", index, "multi")
	f.write(layout.BlobPath(digest("garbage")), "garbage")
	if err := os.Chtimes(filepath.Join(f.dir, layout.TagPath("a", "V1")), time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	before := files(t, f.dir)

	if _, err := Open(t.Context(), openDisk(t, f.dir), openDB(t), Options{}); !errors.Is(err, ErrNotAdopted) {
		t.Fatalf("Open: %v, want %v", err, ErrNotAdopted)
	}
	r := f.open(openDB(t))
	total, found := adopt(t, r, false)
	if len(found) > 0 {
		t.Errorf("left out: %v", found)
	}
	want := registry.Transfer{Blobs: 10, Repositories: 3, Links: 8, Manifests: 4, Tags: 3, New: 7}
	total.Bytes = 0
	if diff := cmp.Diff(want, total); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if after := files(t, f.dir); !slices.Equal(before, slices.DeleteFunc(after, func(p string) bool { return p == instanceKey })) {
		t.Errorf("files before and after:\n%s\n%s", before, after)
	}
	wantManifest(t, r, "a", tagged("V1"), app)
	wantManifest(t, r, "a", tagged("multi"), index)
	wantManifest(t, r, "a/b", tagged("latest"), other)
	wantManifest(t, r, "a-b", byDigest(untagged), untagged)
	list, err := r.Tags(t.Context(), "a", registry.TagQuery{Limit: 10})
	if err != nil || len(list) != 2 || !list[0].Pushed.Equal(time.Unix(1e9, 0)) {
		t.Errorf("tags: %v, %v", list, err)
	}
	if stamp := row(t, r, digest(large)).Stamp; stamp != "" {
		t.Errorf("the stamp of what was not read is %q", stamp)
	}
	if c, err := r.Blob(t.Context(), "a/b", digest(large)); err != nil {
		t.Error(err)
	} else if _, ok := c.File(); ok || c.Close() != nil {
		t.Error("the file of what was not verified is served")
	}
	wantBlob(t, r, "a/b", large)
	if row(t, r, digest(large)).Stamp == "" {
		t.Error("what was read has no stamp")
	}
	if _, err := r.Blob(t.Context(), "a", digest("three")); !errors.Is(err, oci.BlobUnknown) {
		t.Errorf("a blob of another repository: %v", err)
	}
	again := total
	again.New = 0
	total, _ = adopt(t, r, false)
	total.Bytes = 0
	if diff := cmp.Diff(again, total); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
}

// files returns the files below dir.
func files(t testing.TB, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			path, err = filepath.Rel(dir, path)
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestAdoptTolerates: each thing that may be wrong in a registry that has run for
// years, beside an image that is not touched by it.
func TestAdoptTolerates(t *testing.T) {
	const upper = layout.Repositories + "Team/app"
	gone, sha512 := digest("gone"), oci.DigestOf(oci.SHA512, []byte("layer"))
	schema1 := `{"schemaVersion": 1, "name": "a", "fsLayers": []}`
	foreign := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":%q,"size":4,"urls":["https://example.org/gone"]}]}`,
		oci.MediaTypeDocker, descriptor("application/vnd.docker.container.image.v1+json", "{}"), gone)
	odd := `{"schemaVersion": 2, "mediaType": "application/vnd.example.thing"}`
	loose := `{"schemaVersion": 2, "config": ` + descriptor("", "{}") + `, "layers": null}`
	for _, tt := range []struct {
		name   string
		spoil  func(f tree)
		path   string // of the finding, "" for none
		reason string
		lost   bool
		check  func(t *testing.T, r *Registry)
	}{
		{"upload in flight", func(f tree) {
			f.write(layout.Repositories+"a/_uploads/u1/data", "half")
			f.write(layout.Repositories+"a/_uploads/u1/startedat", "2026-01-01T00:00:00Z")
			f.write(layout.Repositories+"a/_uploads/u1/hashstates/sha256/0", "x")
		}, layout.Repositories + "a/_uploads/u1", "in flight", false, nil},
		{"empty link of a layer", func(f tree) { f.layer("a", "x"); f.write(layout.LayerPath("a", digest("x")), "") },
			layout.LayerPath("a", digest("x")), "empty", false, func(t *testing.T, r *Registry) {
				if _, err := r.Blob(t.Context(), "a", digest("x")); !errors.Is(err, oci.BlobUnknown) {
					t.Errorf("the blob: %v", err)
				}
			}},
		{"zeros in a link", func(f tree) { f.write(layout.LayerPath("a", gone), strings.Repeat("\x00", 71)) },
			layout.LayerPath("a", gone), "no digest", false, nil},
		{"a link to another digest", func(f tree) { f.write(layout.LayerPath("a", gone), string(digest("layer"))) },
			layout.LayerPath("a", gone), "another digest", false, nil},
		{"a long link", func(f tree) { f.write(layout.LayerPath("a", gone), strings.Repeat(string(gone), 100)) },
			layout.LayerPath("a", gone), "no digest", false, nil},
		{"a link that was appended to", func(f tree) {
			d := f.layer("a", "x")
			f.write(layout.LayerPath("a", d), string(d+d))
		}, "", "", false, func(t *testing.T, r *Registry) { wantBlob(t, r, "a", "x") }},
		{"empty link of a manifest", func(f tree) { f.write(layout.RevisionPath("a", gone), "") }, layout.RevisionPath("a", gone), "empty", false, nil},
		{"empty link of a tag", func(f tree) { f.write(layout.TagPath("a", "t"), "") }, layout.TagPath("a", "t"), "empty", false, nil},
		{"a blob that is missing", func(f tree) { f.write(layout.LayerPath("a", gone), string(gone)) },
			layout.LayerPath("a", gone), "blob is missing", false, nil},
		{"a manifest that is missing", func(f tree) { f.write(layout.RevisionPath("a", gone), string(gone)) },
			layout.RevisionPath("a", gone), "manifest is missing", false, nil},
		{"a manifest that is damaged", func(f tree) {
			f.manifest("a", odd)
			f.write(layout.BlobPath(digest(odd)), odd+" ")
		}, layout.RevisionPath("a", digest(odd)), "damaged", false, nil},
		{"a tag whose manifest was deleted", func(f tree) { f.tag("a", "t", gone) }, layout.TagPath("a", "t"), "not in the repository", false, nil},
		{"a tag that was interrupted", func(f tree) {
			f.tag("a", "t", digest("x"))
			f.remove(layout.TagPath("a", "t"))
		}, layout.TagsFolder("a") + "t", "names nothing", false, nil},
		{"a tag that was deleted", func(f tree) {
			f.tag("a", "t", digest("x"))
			f.remove(layout.TagsFolder("a") + "t")
		}, "", "", false, nil},
		{"schema 1", func(f tree) {
			d := f.manifest("a", schema1)
			f.write(strings.TrimSuffix(layout.RevisionPath("a", d), "link")+"signatures/sha256/"+gone.Encoded()+"/link", string(gone))
		}, layout.RevisionPath("a", digest(schema1)), "schema 1", true, nil},
		{"a tag of schema 1", func(f tree) { f.manifest("a", schema1, "old") }, layout.TagPath("a", "old"), "left out", false, nil},
		{"an unknown media type", func(f tree) { f.manifest("a", odd) }, layout.RevisionPath("a", digest(odd)), "media type", true, nil},
		{"a manifest that is too large", func(f tree) { f.manifest("a", strings.Repeat(" ", oci.MaxManifestSize)+odd) },
			layout.RevisionPath("a", digest(strings.Repeat(" ", oci.MaxManifestSize)+odd)), "larger", true, nil},
		{"a foreign layer", func(f tree) { f.manifest("a", foreign, "windows") }, "", "", false, func(t *testing.T, r *Registry) {
			wantManifest(t, r, "a", tagged("windows"), foreign)
		}},
		{"a manifest that a push of today would not pass", func(f tree) { f.manifest("a", loose, "loose") }, "", "", false, func(t *testing.T, r *Registry) {
			wantManifest(t, r, "a", tagged("loose"), loose)
		}},
		{"an image without its layer", func(f tree) { f.manifest("a", imageDocument("gone"), "broken") },
			layout.RevisionPath("a", digest(imageDocument("gone"))), "cannot be pulled", false, func(t *testing.T, r *Registry) {
				wantManifest(t, r, "a", tagged("broken"), imageDocument("gone"))
			}},
		{"an index of what is not there", func(f tree) { f.manifest("a", indexDocument("gone"), "sparse") }, "", "", false, func(t *testing.T, r *Registry) {
			wantManifest(t, r, "a", tagged("sparse"), indexDocument("gone"))
		}},
		{"a manifest that is linked as a layer", func(f tree) {
			d := f.layer("a", indexDocument())
			f.tag("a", "v21", d)
		}, "", "", false, func(t *testing.T, r *Registry) { wantManifest(t, r, "a", tagged("v21"), indexDocument()) }},
		{"capital letters", func(f tree) {
			d := f.manifest("b", odd)
			f.write(upper+"/_manifests/revisions/sha256/"+d.Encoded()+"/link", string(d))
			f.remove(layout.Repositories + "b")
		}, upper, "no such name", true, nil},
		{"capital letters, and nothing in it", func(f tree) { f.write(upper+"/_layers/sha256/"+gone.Encoded()+"/link", string(gone)) },
			upper, "no such name", false, nil},
		{"a tag that is none", func(f tree) { f.tag("a", "-t", digest(imageDocument("layer"))) }, layout.TagPath("a", "-t"), "no such tag", true, nil},
		{"sha512", func(f tree) { f.write(layout.LayerPath("a", sha512), string(digest("layer"))) }, "", "", false, func(t *testing.T, r *Registry) {
			if got, err := read(r, "a", sha512, 0, -1); got != "layer" || err != nil {
				t.Errorf("by its SHA-512: %q, %v", got, err)
			}
		}},
		{"a wrong sha512", func(f tree) {
			f.write(layout.LayerPath("a", oci.DigestOf(oci.SHA512, nil)), string(digest("layer")))
		}, layout.LayerPath("a", oci.DigestOf(oci.SHA512, nil)), "other bytes", false, nil},
		{"sha512 of what is missing", func(f tree) { f.write(layout.LayerPath("a", sha512), string(gone)) },
			layout.LayerPath("a", sha512), "blob is missing", false, nil},
		{"bytes under their sha512", func(f tree) {
			f.write(layout.BlobPath(sha512), "layer")
			f.write(layout.LayerPath("a", sha512), string(sha512))
		}, "", "", false, func(t *testing.T, r *Registry) {
			if got, err := read(r, "a", sha512, 0, -1); got != "layer" || err != nil {
				t.Errorf("by its SHA-512: %q, %v", got, err)
			}
		}},
		{"a write that was interrupted", func(f tree) { f.write(layout.LayerPath("a", gone)+".17.tmp", "") },
			layout.LayerPath("a", gone) + ".17.tmp", "interrupted", false, nil},
		{"bytes that were interrupted", func(f tree) { f.write(layout.BlobPath(gone)+".17.tmp", "") },
			layout.BlobPath(gone) + ".17.tmp", "interrupted", false, nil},
		{"an empty repository", func(f tree) {
			if err := os.MkdirAll(filepath.Join(f.dir, layout.TagsFolder("empty")), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "", "", false, nil},
		{"the schedule of a proxy", func(f tree) { f.write("scheduler-state.json", "{}") }, "", "", false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newTree(t)
			good := f.image("a", "good", "layer")
			f.t = t
			tt.spoil(f)
			r := f.open(openDB(t))
			total, found := adopt(t, r, false)
			got := found[tt.path]
			if tt.path != "" && (!strings.Contains(got.Reason, tt.reason) || got.Lost != tt.lost) || tt.path == "" && len(found) > 0 {
				t.Errorf("found %v", found)
			}
			if lost := total.Lost > 0; lost != tt.lost && tt.name != "a tag of schema 1" {
				t.Errorf("%+v", total)
			}
			wantManifest(t, r, "a", tagged("good"), good)
			wantBlob(t, r, "a", "layer")
			if tt.check != nil {
				tt.check(t, r)
			}
			if _, again := adopt(t, r, true); tt.path != "" && again[tt.path] == (registry.Finding{}) && tt.reason != "cannot be pulled" {
				t.Errorf("again: %v", again)
			}
		})
	}
}

// TestAdoptAgain: what is new comes along, and nothing that was done here is
// undone.
func TestAdoptAgain(t *testing.T) {
	f := newTree(t)
	first := f.image("a", "moves", "one")
	deleted := f.image("a", "deleted", "deleted")
	f.tag("a", "untagged", digest(first))
	r := f.open(openDB(t))
	adopt(t, r, false)
	if err := r.DeleteManifest(t.Context(), "a", digest(deleted)); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteTag(t.Context(), "a", "untagged"); err != nil {
		t.Fatal(err)
	}
	ours := image(t, r, "a", "one")
	putManifest(t, r, "a", ours, "ours", "both")

	second := f.image("a", "moves", "two")
	f.image("a", "new", "two")
	f.tag("a", "both", digest(first))
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(f.dir, layout.TagPath("a", "both")), old, old); err != nil {
		t.Fatal(err)
	}
	total, found := adopt(t, r, false)
	if len(found) != 1 || !strings.Contains(found[layout.TagPath("a", "both")].Reason, "pushed to berth later") || total.Lost != 0 {
		t.Errorf("found %v", found)
	}
	if diff := cmp.Diff([]oci.Tag{"both", "moves", "new", "ours"}, tagsOf(t, r, "a")); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	wantManifest(t, r, "a", tagged("moves"), second)
	wantManifest(t, r, "a", tagged("both"), string(ours.Bytes))
	wantManifest(t, r, "a", byDigest(first), first)
	if _, err := readManifest(r, "a", byDigest(deleted)); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("what was deleted here is back: %v", err)
	}

	f.tag("a", "both", digest(second)) // now it is the later one
	if _, found := adopt(t, r, false); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	wantManifest(t, r, "a", tagged("both"), second)
}

// TestAdoptDamage: damage is found when it is asked for, or when it is read, and
// a file that is mended counts.
func TestAdoptDamage(t *testing.T) {
	f := newTree(t)
	f.image("a", "v1", "good", "bad", "short")
	f.write(layout.BlobPath(digest("bad")), "BAD")
	f.write(layout.BlobPath(digest("short")), "")
	r := f.open(openDB(t))
	total, found := adopt(t, r, true)
	if total.Verified != 5 || len(found) != 2 || !strings.Contains(found[layout.BlobPath(digest("bad"))].Reason, "damaged") {
		t.Errorf("%+v: %v", total, found)
	}
	wantBlob(t, r, "a", "good")
	if got, err := read(r, "a", digest("bad"), 0, -1); err == nil {
		t.Errorf("damaged bytes are served: %q", got)
	}
	f.write(layout.BlobPath(digest("bad")), "bad")
	f.write(layout.BlobPath(digest("short")), "short")
	total, found = adopt(t, r, true)
	if total.Verified != 2 || len(found) != 0 {
		t.Errorf("mended: %+v: %v", total, found)
	}
	wantBlob(t, r, "a", "bad")
	wantBlob(t, r, "a", "short")
}

// TestPushOfWhatWasAdopted: bytes that nobody has verified are read before they
// are replaced.
func TestPushOfWhatWasAdopted(t *testing.T) {
	f := newTree(t)
	f.image("a", "v1", "good", "bad")
	f.write(layout.BlobPath(digest("bad")), "BAD")
	r := f.open(openDB(t))
	adopt(t, r, false)
	push(t, r, "b", "good")
	push(t, r, "b", "bad")
	if key := row(t, r, digest("good")).Key; key != layout.BlobPath(digest("good")) {
		t.Errorf("good bytes were replaced by those at %s", key)
	}
	if key := row(t, r, digest("bad")).Key; !strings.HasPrefix(key, blobs) {
		t.Errorf("damaged bytes stay, at %s", key)
	}
	wantBlob(t, r, "a", "bad")
}

// TestAdoptRefuses: where there is nothing, and where there is not all.
func TestAdoptRefuses(t *testing.T) {
	f := newTree(t)
	r := f.open(openDB(t))
	if _, err := r.Adopt(t.Context(), registry.AdoptOptions{}); !errors.Is(err, errNothing) {
		t.Errorf("an empty folder: %v", err)
	}
	f.image("a", "v1", "one")
	f.write(layout.ForeignDatabase, "")
	if _, err := r.Adopt(t.Context(), registry.AdoptOptions{}); err == nil || !strings.Contains(err.Error(), "GitLab") {
		t.Errorf("GitLab's: %v", err)
	}
	f.remove(layout.ForeignDatabase)
	adopt(t, r, false)
}

// TestAdoptInterrupted: an adoption that has not come to its end is refused by
// Open, and is taken up again.
func TestAdoptInterrupted(t *testing.T) {
	f := newTree(t)
	document := f.image("a", "v1", "one")
	f.image("b", "v1", "one")
	db := openDB(t)
	r := f.open(db)
	ctx, cancel := contextThatEnds(t)
	_, err := r.Adopt(ctx, registry.AdoptOptions{Watch: registry.Watch{Progress: func(p registry.Transfer) {
		if p.Repositories == 1 {
			cancel()
		}
	}}})
	if err == nil {
		t.Fatal("the adoption came to its end")
	}
	if _, err := Open(t.Context(), openDisk(t, f.dir), db, Options{}); !errors.Is(err, ErrNotAdopted) {
		t.Errorf("Open: %v, want %v", err, ErrNotAdopted)
	}
	r = f.open(db)
	adopt(t, r, false)
	r = openRegistry(t, openDisk(t, f.dir), db, Options{})
	wantManifest(t, r, "b", tagged("v1"), document)
}

// TestAdoptFromMemory: a store without folders, such as a bucket.
func TestAdoptFromMemory(t *testing.T) {
	f := newTree(t)
	document := f.image("a/b", "V1", "one")
	store := memory.New()
	for _, path := range files(t, f.dir) {
		data, err := os.ReadFile(filepath.Join(f.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		w, err := store.Create(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Clone(data)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r := openRegistry(t, store, openDB(t), Options{Adopting: true})
	if total, found := adopt(t, r, true); total.Tags != 1 || len(found) != 0 {
		t.Errorf("%+v, %v", total, found)
	}
	wantManifest(t, r, "a/b", tagged("V1"), document)
	wantBlob(t, r, "a/b", "one")
}

// TestBytesThatHaveToGoAreNotAdopted: between the row of an adopted blob and its
// bytes the sweep may be interrupted.
func TestBytesThatHaveToGoAreNotAdopted(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	b := meta.Blob{Digest: digest("b"), Size: 1, Key: layout.BlobPath(digest("b"))}
	a := &adoption{r: r}
	err := r.db.Update(t.Context(), func(tx *meta.Tx) error {
		if err := tx.DeleteObject(b.Key, 1, r.o.Now()); err != nil {
			return err
		}
		if _, err := a.putBlob(tx, b); !errors.Is(err, meta.ErrNotExist) {
			t.Errorf("putBlob = %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
