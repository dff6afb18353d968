package local

import (
	"context"
	"errors"
	"testing"

	"berth/blob/memory"
	"berth/oci"
	"berth/registry"
	"berth/registry/registrytest"
)

func TestRegistryThatIsShared(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registry.Registry {
		return openRegistry(t, memory.New(), openDB(t), Options{Shared: true, KeptUploads: 2})
	})
}

// twoNodes are registries on one store and one database, which tell each other
// nothing.
func twoNodes(t *testing.T) (a, b *Registry) {
	t.Helper()
	store, db, o := memory.New(), openDB(t), Options{Shared: true, KeptUploads: 2, MaxOpenUploads: 3}
	return openRegistry(t, store, db, o), openRegistry(t, store, db, o)
}

// last says that a commit follows.
var last = registry.UploadOptions{Owner: mine.Owner, Last: true}

// TestUploadGoesFromNodeToNode: any node answers any request of an upload.
func TestUploadGoesFromNodeToNode(t *testing.T) {
	a, b := twoNodes(t)
	u := start(t, a, repo)
	suspend(t, u)
	for _, r := range []*Registry{b, a} {
		v := resume(t, r, u.ID())
		write(t, v, "abc")
		suspend(t, v)
		if n, err := a.UploadStatus(t.Context(), repo, u.ID(), mine); n != v.Size() || err != nil {
			t.Errorf("UploadStatus = %d, %v, want %d", n, err, v.Size())
		}
	}
	v, err := b.ResumeUpload(t.Context(), repo, u.ID(), last)
	if err != nil {
		t.Fatal(err)
	}
	write(t, v, "def")
	if _, err := v.Commit(t.Context(), digest("abcabcdef")); err != nil {
		t.Fatal(err)
	}
	wantBlob(t, a, repo, "abcabcdef")
	if _, err := a.UploadStatus(t.Context(), repo, u.ID(), mine); !errors.Is(err, oci.BlobUploadUnknown) {
		t.Errorf("after the commit: %v", err)
	}
}

// TestSmallUploadIsTwoCommits: that it began, and that it ended.
func TestSmallUploadIsTwoCommits(t *testing.T) {
	a, b := twoNodes(t)
	before := a.db.Stats().Commits
	u := start(t, a, repo)
	suspend(t, u)
	v, err := b.ResumeUpload(t.Context(), repo, u.ID(), last)
	if err != nil {
		t.Fatal(err)
	}
	write(t, v, "abc")
	if _, err := v.Commit(t.Context(), digest("abc")); err != nil {
		t.Fatal(err)
	}
	if n := a.db.Stats().Commits - before; n != 2 {
		t.Errorf("%d commits", n)
	}
}

// TestWriterIsOvertakenOnAnotherNode: who stood still changes nothing, and learns
// so, whatever he does and however far the other has come.
func TestWriterIsOvertakenOnAnotherNode(t *testing.T) {
	for name, end := range map[string]func(registry.Upload) error{
		"close":  func(u registry.Upload) error { return u.Close(context.Background()) },
		"cancel": func(u registry.Upload) error { return u.Cancel(context.Background()) },
		"commit": func(u registry.Upload) error {
			_, err := u.Commit(context.Background(), digest("abcslow"))
			return err
		},
	} {
		for _, first := range []string{"", "abc"} {
			a, b := twoNodes(t)
			u := start(t, a, repo)
			write(t, u, first)
			suspend(t, u)
			slow := resume(t, a, u.ID())
			quick := resume(t, b, u.ID())
			write(t, quick, "quick")
			suspend(t, quick)
			if err := end(slow); err == nil {
				t.Errorf("%s after %q: nobody says that it was overtaken", name, first)
			}
			v, err := a.ResumeUpload(t.Context(), repo, u.ID(), last)
			if err != nil {
				t.Fatalf("%s after %q: %v", name, first, err)
			}
			if _, err := v.Commit(t.Context(), digest(first+"quick")); err != nil {
				t.Errorf("%s after %q: %v", name, first, err)
			}
			wantBlob(t, b, repo, first+"quick")
		}
	}
}

// TestNamesAreCurrent on every node.
func TestNamesAreCurrent(t *testing.T) {
	a, b := twoNodes(t)
	var m registry.ManifestContent
	for _, layer := range []string{"one", "two"} {
		push(t, a, repo, layer)
		m = image(t, a, repo, layer)
		putManifest(t, a, repo, m, "v1")
		for _, ref := range []oci.Reference{{Tag: "v1"}, {Digest: m.Digest}} {
			got, err := readManifest(b, repo, ref)
			if err != nil || string(got) != string(m.Bytes) {
				t.Errorf("%s: %v", layer, err)
			}
		}
		wantBlob(t, b, repo, layer)
	}
	if err := errors.Join(a.DeleteManifest(t.Context(), repo, m.Digest), a.DeleteBlob(t.Context(), repo, digest("two"))); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []oci.Reference{{Tag: "v1"}, {Digest: m.Digest}} {
		if _, err := readManifest(b, repo, ref); !errors.Is(err, oci.ManifestUnknown) {
			t.Errorf("deleted elsewhere: %v", err)
		}
	}
	if _, err := read(b, repo, digest("two"), 0, -1); !errors.Is(err, oci.BlobUnknown) {
		t.Errorf("deleted elsewhere: %v", err)
	}
}

// TestLimitIsForAllNodes: uploads count that were begun elsewhere.
func TestLimitIsForAllNodes(t *testing.T) {
	a, b := twoNodes(t)
	for range 3 {
		suspend(t, start(t, a, repo))
	}
	if _, err := b.StartUpload(t.Context(), repo, mine); !errors.Is(err, oci.TooManyRequests) {
		t.Errorf("one too many: %v", err)
	}
}
