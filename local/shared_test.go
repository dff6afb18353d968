package local

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/blob/memory"
	"berth/meta"
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

// TestTagsAreCurrent on every node, whatever it has heard.
func TestTagsAreCurrent(t *testing.T) {
	a, b := twoNodes(t)
	for _, layer := range []string{"one", "two"} {
		push(t, a, repo, layer)
		m := image(t, a, repo, layer)
		putManifest(t, a, repo, m, "v1")
		for _, r := range []*Registry{a, b} {
			got, err := readManifest(r, repo, oci.Reference{Tag: "v1"})
			if err != nil || string(got) != string(m.Bytes) {
				t.Errorf("%s: %v", layer, err)
			}
		}
	}
	if err := b.DeleteTag(t.Context(), repo, "v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := readManifest(a, repo, oci.Reference{Tag: "v1"}); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("a deleted tag: %v", err)
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

// TestNodesHearOfEachOther: what is deleted on one node is gone on another, by
// what PostgreSQL tells it, and by a look that follows where it may have missed
// something.
func TestNodesHearOfEachOther(t *testing.T) {
	s := sharedPostgres.Server(t)
	url := s.URL(s.Database(t))
	store, db := memory.New(), openPostgres(t, url)
	a := openRegistry(t, store, openPostgres(t, url), Options{Shared: true})
	b := openRegistry(t, store, db, Options{Shared: true})
	ready := make(chan struct{}, 100)
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		db.Listen(ctx, func(_, payload string) { b.Heard(meta.ParseChange(payload)) }, func() {
			b.Forget()
			ready <- struct{}{}
		})
	}()
	defer func() {
		stop()
		<-done
	}()
	<-ready

	push(t, a, repo, "layer")
	push(t, a, repo, "other")
	m := image(t, a, repo, "layer")
	putManifest(t, a, repo, m, "v1")
	ref := oci.Reference{Digest: m.Digest}
	gone := func(what string, read func() error, delete error) {
		t.Helper()
		if delete != nil {
			t.Fatal(what, delete)
		}
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			err := read()
			if errors.Is(err, oci.ManifestUnknown) || errors.Is(err, oci.BlobUnknown) || errors.Is(err, oci.NameUnknown) {
				return
			}
			if err != nil || time.Now().After(end) {
				t.Fatalf("%s: still there, or %v", what, err)
			}
		}
	}
	manifest := func() error { _, err := readManifest(b, repo, ref); return err }
	blob := func(s string) func() error {
		return func() error { _, err := read(b, repo, digest(s), 0, -1); return err }
	}
	for _, read := range []func() error{manifest, blob("layer"), blob("other")} {
		if err := read(); err != nil {
			t.Fatal(err)
		}
	}
	gone("blob", blob("other"), a.DeleteBlob(t.Context(), repo, digest("other")))
	gone("manifest", manifest, a.DeleteManifest(t.Context(), repo, m.Digest))
	gone("repository", blob("layer"), a.DeleteRepository(t.Context(), repo))
}
