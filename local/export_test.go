package local

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/layout"
	"berth/oci"
	"berth/registry"
)

func contextThatEnds(t testing.TB) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithCancel(t.Context())
}

func export(t testing.TB, r *Registry, dir string, prune bool) (registry.Transfer, map[string]registry.Finding) {
	t.Helper()
	found := make(map[string]registry.Finding)
	total, err := r.Export(t.Context(), registry.ExportOptions{Dir: dir, Prune: prune, Watch: registry.Watch{
		Found: func(f registry.Finding) { found[f.Path] = f },
	}})
	if err != nil {
		t.Fatal(err)
	}
	return total, found
}

// pushTo pushes a blob and returns what it holds.
func pushTo(t testing.TB, r *Registry, repo oci.Name, content string) string {
	t.Helper()
	push(t, r, repo, content)
	return content
}

// contents returns what stands below dir in Distribution's layout, by path.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, path := range files(t, dir) {
		if !strings.HasPrefix(path, "docker/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(data)
	}
	return all
}

// TestExport: what was adopted is written as it was, and what was pushed as
// Distribution would have written it.
func TestExport(t *testing.T) {
	f := newTree(t)
	f.image("a", "V1", "one", "two")
	f.image("a/b", "", "two", large)
	r := f.open(openDB(t))
	adopt(t, r, false)
	pushed := image(t, r, "c", pushTo(t, r, "c", "three"))
	putManifest(t, r, "c", pushed, "v1")
	dir := filepath.Join(t.TempDir(), "new")
	total, found := export(t, r, dir, false)
	if len(found) > 0 || total.Copied != total.Blobs-3 { // "{}" is held by three repositories, "two" by two
		t.Errorf("%+v, %v", total, found)
	}
	f.image("c", "v1", "three")
	f.remove(layout.Repositories + "c/_manifests")
	f.manifest("c", string(pushed.Bytes), "v1")
	f.remove(layout.BlobPath(digest(imageDocument("three"))))
	if diff := cmp.Diff(contents(t, f.dir), contents(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if total, found = export(t, r, dir, false); len(found) > 0 || total.Copied != 0 {
		t.Errorf("again: %+v, %v", total, found)
	}
}

// TestExportOfSHA512: the bytes stand under their canonical digest, and are found
// under both.
func TestExportOfSHA512(t *testing.T) {
	r, _ := onDisk(t, Options{})
	d := oci.DigestOf(oci.SHA512, []byte("layer"))
	u, err := r.StartUpload(t.Context(), "a", registry.UploadOptions{Owner: "alice", Algorithm: oci.SHA512})
	if err != nil {
		t.Fatal(err)
	}
	write(t, u, "layer")
	if _, err := u.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	document := imageDocument()
	m, err := oci.ParseManifest("", []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	push(t, r, "a", "{}")
	long := oci.DigestOf(oci.SHA512, []byte(document))
	putManifest(t, r, "a", registry.ManifestContent{Manifest: m, Digest: long, Bytes: []byte(document)}, "v1")
	dir := t.TempDir()
	if _, found := export(t, r, dir, false); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	short := digest("layer")
	want := map[string]string{
		layout.BlobPath(short):                     "layer",
		layout.LayerPath("a", short):               string(short),
		layout.LayerPath("a", d):                   string(short),
		layout.BlobPath(digest("{}")):              "{}",
		layout.LayerPath("a", digest("{}")):        string(digest("{}")),
		layout.BlobPath(digest(document)):          document,
		layout.RevisionPath("a", digest(document)): string(digest(document)),
		layout.RevisionPath("a", long):             string(digest(document)),
		layout.TagPath("a", "v1"):                  string(long),
		layout.TagIndexPath("a", "v1", long):       string(long),
	}
	if diff := cmp.Diff(want, contents(t, dir)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again := tree{t, dir}.open(openDB(t))
	if _, found := adopt(t, again, true); len(found) > 0 {
		t.Errorf("adopted again: %v", found)
	}
	wantManifest(t, again, "a", tagged("v1"), document)
	if got, err := read(again, "a", d, 0, -1); got != "layer" || err != nil {
		t.Errorf("adopted again: %q, %v", got, err)
	}
}

// TestExportInPlace: back to where it was adopted, nothing is copied, and what was
// deleted here is told of, or goes.
func TestExportInPlace(t *testing.T) {
	f := newTree(t)
	kept := f.image("a", "kept", "one")
	deleted := f.image("a", "deleted", "two")
	f.image("gone/repo", "v1", "one")
	f.write(layout.Repositories+"gone/repo/_uploads/u/data", "half")
	r := f.open(openDB(t))
	adopt(t, r, false)
	if err := r.DeleteManifest(t.Context(), "a", digest(deleted)); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteRepository(t.Context(), "gone/repo"); err != nil {
		t.Fatal(err)
	}
	total, found := export(t, r, f.dir, false)
	if total.Copied != 0 || total.Blobs != 4 || total.Lost != 4 {
		t.Errorf("%+v", total)
	}
	for _, path := range []string{
		layout.TagsFolder("a") + "deleted", strings.TrimSuffix(layout.RevisionPath("a", digest(deleted)), "/link"),
		layout.Repositories + "gone/repo/_layers", layout.Repositories + "gone/repo/_manifests",
	} {
		if !strings.Contains(found[path].Reason, "--prune") {
			t.Errorf("%s: %v", path, found)
		}
	}
	if total, found = export(t, r, f.dir, true); total.Lost != 0 || len(found) != 0 {
		t.Errorf("pruned: %+v, %v", total, found)
	}
	if _, err := os.Stat(filepath.Join(f.dir, layout.Repositories, "gone/repo/_uploads/u/data")); err != nil {
		t.Error(err)
	}
	f.remove(instanceKey)
	again := f.open(openDB(t))
	adopt(t, again, false)
	if diff := cmp.Diff([]oci.Tag{"kept"}, tagsOf(t, again, "a")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantManifest(t, again, "a", tagged("kept"), kept)
}

// TestExportOfDamage: what cannot be written is told of, with the tags that need
// it; what an export that was killed has left is replaced.
func TestExportOfDamage(t *testing.T) {
	r, from := onDisk(t, Options{})
	good, bad := image(t, r, "a", pushTo(t, r, "a", "one")), image(t, r, "a", pushTo(t, r, "a", "two"))
	putManifest(t, r, "a", good, "good")
	putManifest(t, r, "a", bad, "bad")
	damage(t, r, from, digest("two"), damages["flipped last"])
	damage(t, r, from, bad.Digest, damages["flipped last"])
	f := newTree(t)
	f.write(layout.BlobPath(digest("one"))+".tmp", "a half that is longer than the whole")
	f.write(layout.TagPath("a", "good"), "")
	total, found := export(t, r, f.dir, false)
	if total.Lost != 3 {
		t.Errorf("%+v, %v", total, found)
	}
	for _, path := range []string{layout.BlobPath(digest("two")), layout.BlobPath(bad.Digest), layout.TagPath("a", "bad")} {
		if !found[path].Lost {
			t.Errorf("%s is not told of: %v", path, found)
		}
	}
	again := f.open(openDB(t))
	if _, found := adopt(t, again, true); len(found) != 0 {
		t.Errorf("adopted again: %v", found)
	}
	wantManifest(t, again, "a", tagged("good"), string(good.Bytes))
	wantBlob(t, again, "a", "one")
}
