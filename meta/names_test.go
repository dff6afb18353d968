package meta

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"berth/oci"
	"berth/registry"
)

func digest(s string) oci.Digest { return oci.DigestOf(oci.SHA256, []byte(s)) }

// putManifest stores a manifest whose bytes are its name, with layers and a
// subject that are named likewise.
func putManifest(t *testing.T, db *DB, repo oci.Name, name string, m Manifest, children ...Child) RepositoryID {
	t.Helper()
	var id RepositoryID
	mustUpdate(t, db, func(tx *Tx) (err error) {
		if id, err = tx.PutRepository(repo, day); err != nil {
			return err
		}
		m.Digest = digest(name)
		m.Size = int64(len(name))
		if m.Blob, err = tx.PutBlob(Blob{Digest: m.Digest, Size: m.Size, Key: name, Stamp: "s"}, "", day); err != nil {
			return err
		}
		return tx.PutManifest(id, m, children, day)
	})
	return id
}

func TestRepositoriesAreThoseWithManifests(t *testing.T) {
	onEach(t, testRepositoriesAreThoseWithManifests)
}

func testRepositoriesAreThoseWithManifests(t *testing.T, db *DB) {
	for _, name := range []oci.Name{"a/b", "a", "a-b", "b", "c/d"} {
		putManifest(t, db, name, "m", Manifest{})
		putManifest(t, db, name, "m", Manifest{}) // again: counted once
	}
	mustUpdate(t, db, func(tx *Tx) error {
		if _, err := tx.PutRepository("empty", day); err != nil {
			return err
		}
		id, err := tx.Repository("b")
		if err != nil {
			return err
		}
		_, err = tx.DeleteManifest(id, digest("m"))
		return errors.Join(err, tx.DeleteRepository("c/d"))
	})
	tests := []struct {
		r    RepositoryRange
		want []oci.Name
	}{
		{RepositoryRange{Limit: 10}, []oci.Name{"a", "a-b", "a/b"}},
		{RepositoryRange{Limit: 2}, []oci.Name{"a", "a-b"}},
		{RepositoryRange{Limit: 2, After: "a-b"}, []oci.Name{"a/b"}},
		{RepositoryRange{Limit: 2, After: "a", Span: registry.Span{From: "a"}}, []oci.Name{"a-b", "a/b"}},
		{RepositoryRange{Limit: 10, Span: registry.Span{From: "a/", To: "a0"}}, []oci.Name{"a/b"}},
		{RepositoryRange{Limit: 10, Span: registry.Span{From: "a", To: "a/b"}}, []oci.Name{"a", "a-b"}},
		{RepositoryRange{Limit: 10, Contains: "/"}, []oci.Name{"a/b"}},
		{RepositoryRange{Limit: 10, Contains: "%"}, nil},
	}
	mustView(t, db, func(tx *Tx) error {
		for _, test := range tests {
			got, err := tx.Repositories(test.r)
			if err != nil || !cmp.Equal(got, test.want) {
				t.Errorf("Repositories(%+v) = %v, %v; want %v", test.r, got, err, test.want)
			}
		}
		return nil
	})
}

func TestDeletedRepositoryLeavesOthers(t *testing.T) { onEach(t, testDeletedRepositoryLeavesOthers) }

func testDeletedRepositoryLeavesOthers(t *testing.T, db *DB) {
	for _, name := range []oci.Name{"a", "b"} {
		id := putManifest(t, db, name, "m", Manifest{Subject: digest("s")}, Child{digest("l"), KindLayer})
		mustUpdate(t, db, func(tx *Tx) error {
			b, err := tx.PutBlob(Blob{Digest: digest("l"), Key: "l"}, "", day)
			return errors.Join(err, tx.LinkBlob(name, b, day), tx.PutTag(id, "t", digest("m"), day))
		})
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.DeleteRepository("a") })
	mustView(t, db, func(tx *Tx) error {
		if _, err := tx.TaggedManifest("a", "t"); !errors.Is(err, ErrNotExist) {
			t.Errorf("manifest of the deleted repository: %v", err)
		}
		if p, err := tx.BlobPlace("a", digest("l")); !p.Exists || p.Linked || p.Repository || err != nil {
			t.Errorf("blob of the deleted repository: %+v, %v", p, err)
		}
		m, err := tx.TaggedManifest("b", "t")
		if err != nil || m.Digest != digest("m") || m.Blob.Key != "m" {
			t.Errorf("manifest of the other: %+v, %v", m, err)
		}
		repos, err := tx.BlobRepositories(digest("l"), RepositoryRange{Limit: 10})
		if err != nil || !cmp.Equal(repos, []oci.Name{"b"}) {
			t.Errorf("repositories of the blob: %v, %v", repos, err)
		}
		return nil
	})
}

func TestBlobPointsAtOtherBytes(t *testing.T) { onEach(t, testBlobPointsAtOtherBytes) }

func testBlobPointsAtOtherBytes(t *testing.T, db *DB) {
	mustUpdate(t, db, func(tx *Tx) error {
		old, err := tx.PutBlob(Blob{Digest: digest("x"), Size: 1, Key: "k1", Stamp: "s1"}, "", day)
		kept, err2 := tx.PutBlob(Blob{Digest: digest("x"), Size: 1, Key: "k3", Stamp: "s3"}, "k2", day)
		if kept != old {
			t.Errorf("blob %+v in the place of %+v, whose bytes are whole", kept, old)
		}
		healed, err3 := tx.PutBlob(Blob{Digest: digest("x"), Size: 1, Key: "k2", Stamp: "s2"}, "k1", day)
		if old.ID != healed.ID {
			t.Errorf("IDs %d and %d of one digest", old.ID, healed.ID)
		}
		if err := tx.SetBlobStamp(digest("x"), "k1", "s3"); !errors.Is(err, ErrNotExist) {
			t.Errorf("the stamp of bytes that are no longer named was set: %v", err)
		}
		return errors.Join(err, err2, err3, tx.LinkBlob("a", old, day), tx.LinkBlob("a", old, day))
	})
	mustView(t, db, func(tx *Tx) error {
		p, err := tx.BlobPlace("a", digest("x"))
		got := p.Blob
		got.ID = 0
		if want := (Blob{Digest: digest("x"), Size: 1, Key: "k2", Stamp: "s2"}); err != nil || got != want {
			t.Errorf("blob %+v, %v; want %+v", got, err, want)
		}
		return nil
	})
}

func TestSizesOfManyDigests(t *testing.T) { onEach(t, testSizesOfManyDigests) }

func testSizesOfManyDigests(t *testing.T, db *DB) {
	const n = chunkSize + 300
	var asked []oci.Digest
	mustUpdate(t, db, func(tx *Tx) error {
		if _, err := tx.PutRepository("a", day); err != nil {
			return err
		}
		for i := range n {
			d := digest(fmt.Sprint(i))
			asked = append(asked, d)
			b, err := tx.PutBlob(Blob{Digest: d, Size: int64(i), Key: fmt.Sprint(i)}, "", day)
			if err != nil {
				return err
			}
			if i%2 == 0 {
				if err := tx.LinkBlob("a", b, day); err != nil {
					return err
				}
			}
		}
		return nil
	})
	mustView(t, db, func(tx *Tx) error {
		found, err := tx.BlobSizes("a", asked)
		if err != nil || len(found) != n/2 {
			t.Fatalf("%d digests found, %v; want %d", len(found), err, n/2)
		}
		for i := 0; i < n; i += 2 {
			if size, ok := found[digest(fmt.Sprint(i))]; !ok || size != int64(i) {
				t.Fatalf("digest %d: %d, %v", i, size, ok)
			}
		}
		return nil
	})
}

func TestDeleteManifestTakesItsTags(t *testing.T) { onEach(t, testDeleteManifestTakesItsTags) }

func testDeleteManifestTakesItsTags(t *testing.T, db *DB) {
	id := putManifest(t, db, "a", "one", Manifest{})
	putManifest(t, db, "a", "two", Manifest{})
	mustUpdate(t, db, func(tx *Tx) error {
		err := errors.Join(tx.PutTag(id, "x", digest("one"), day), tx.PutTag(id, "y", digest("one"), day), tx.PutTag(id, "z", digest("two"), day))
		if err != nil {
			return err
		}
		tags, err := tx.DeleteManifest(id, digest("one"))
		if !cmp.Equal(tags, []oci.Tag{"x", "y"}) {
			t.Errorf("tags of the deleted manifest: %v", tags)
		}
		return err
	})
	mustView(t, db, func(tx *Tx) error {
		got, err := tx.Tags(id, registry.TagQuery{Limit: 10})
		want := []registry.TagInfo{{Tag: "z", Digest: digest("two"), Pushed: day}}
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("tags = %v, %v; want %v", got, err, want)
		}
		return nil
	})
	err := db.Update(t.Context(), func(tx *Tx) error {
		_, err := tx.DeleteManifest(id, digest("one"))
		return err
	})
	if !errors.Is(err, ErrNotExist) {
		t.Errorf("deleted again: %v", err)
	}
}

func TestTagsAreInByteOrder(t *testing.T) { onEach(t, testTagsAreInByteOrder) }

func testTagsAreInByteOrder(t *testing.T, db *DB) {
	id := putManifest(t, db, "a", "m", Manifest{})
	want := strings.Fields("0.1.2 0.1.20 V1 _a v1 v1-a v1.a v1_a")
	mustUpdate(t, db, func(tx *Tx) error {
		for _, name := range want {
			if err := tx.PutTag(id, oci.Tag(name), digest("m"), day); err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	for after := oci.Tag(""); ; {
		var page []registry.TagInfo
		mustView(t, db, func(tx *Tx) (err error) {
			page, err = tx.Tags(id, registry.TagQuery{After: after, Limit: 3})
			return err
		})
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			got = append(got, string(info.Tag))
			after = info.Tag
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTagsReaching(t *testing.T) { onEach(t, testTagsReaching) }

func testTagsReaching(t *testing.T, db *DB) {
	putManifest(t, db, "a", "image", Manifest{}, Child{digest("config"), KindConfig}, Child{digest("layer"), KindLayer})
	putManifest(t, db, "a", "index", Manifest{}, Child{digest("image"), KindManifest})
	putManifest(t, db, "a", "other", Manifest{}, Child{digest("layer"), KindLayer})
	id := putManifest(t, db, "a", "signature", Manifest{Subject: digest("index")}, Child{digest("payload"), KindLayer})
	elsewhere := putManifest(t, db, "b", "image", Manifest{}, Child{digest("layer"), KindLayer})
	mustUpdate(t, db, func(tx *Tx) error {
		return errors.Join(tx.PutTag(id, "index", digest("index"), day), tx.PutTag(id, "other", digest("other"), day),
			tx.PutTag(id, "also-other", digest("other"), day), tx.PutTag(elsewhere, "elsewhere", digest("image"), day))
	})
	tests := map[string][]oci.Tag{
		"index": {"index"}, "image": {"index"}, "config": {"index"}, "layer": {"also-other", "index", "other"},
		"signature": {"index"}, "payload": {"index"}, "other": {"also-other", "other"}, "nothing": nil,
	}
	mustView(t, db, func(tx *Tx) error {
		for name, want := range tests {
			page, err := tx.Tags(id, registry.TagQuery{Reaching: digest(name), Limit: 10})
			var got []oci.Tag
			for _, info := range page {
				got = append(got, info.Tag)
			}
			if err != nil || !cmp.Equal(got, want) {
				t.Errorf("tags that reach %s: %v, %v; want %v", name, got, err, want)
			}
		}
		return nil
	})
}

// TestReferrersOutliveTheirSubject: it may be pushed again.
func TestReferrersOutliveTheirSubject(t *testing.T) { onEach(t, testReferrersOutliveTheirSubject) }

func testReferrersOutliveTheirSubject(t *testing.T, db *DB) {
	putManifest(t, db, "a", "signature", Manifest{Subject: digest("image")})
	id := putManifest(t, db, "a", "image", Manifest{})
	mustUpdate(t, db, func(tx *Tx) error { _, err := tx.DeleteManifest(id, digest("image")); return err })
	putManifest(t, db, "a", "image", Manifest{})
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutTag(id, "latest", digest("image"), day) })
	mustView(t, db, func(tx *Tx) error {
		referrers, err := tx.Referrers(id, digest("image"), "", nil, 10)
		tags, err2 := tx.Tags(id, registry.TagQuery{Reaching: digest("signature"), Limit: 10})
		if len(referrers) != 1 || len(tags) != 1 {
			t.Errorf("referrers %v, tags %v", referrers, tags)
		}
		return errors.Join(err, err2)
	})
	mustUpdate(t, db, func(tx *Tx) error { _, err := tx.DeleteManifest(id, digest("signature")); return err })
	mustView(t, db, func(tx *Tx) error {
		tags, err := tx.Tags(id, registry.TagQuery{Reaching: digest("signature"), Limit: 10})
		if len(tags) != 0 {
			t.Errorf("tags that reach what is deleted: %v", tags)
		}
		return err
	})
}

func TestReferrers(t *testing.T) { onEach(t, testReferrers) }

func testReferrers(t *testing.T, db *DB) {
	var id RepositoryID
	want := make(map[oci.Digest]oci.Descriptor)
	for i := range 6 {
		name := fmt.Sprint("r", i)
		m := Manifest{MediaType: "m", ArtifactType: fmt.Sprint("t", i%3), Subject: digest("s"), Annotations: map[string]string{"n": name}}
		id = putManifest(t, db, "a", name, m)
		want[digest(name)] = oci.Descriptor{MediaType: "m", Digest: digest(name), Size: 2, ArtifactType: m.ArtifactType, Annotations: m.Annotations}
	}
	putManifest(t, db, "a", "no referrer", Manifest{})
	list := func(subject string, types []string) map[oci.Digest]oci.Descriptor {
		got := make(map[oci.Digest]oci.Descriptor)
		for after := oci.Digest(""); ; {
			var page []oci.Descriptor
			mustView(t, db, func(tx *Tx) (err error) {
				page, err = tx.Referrers(id, digest(subject), after, types, 2)
				return err
			})
			for _, d := range page {
				if d.Digest <= after {
					t.Errorf("%s comes after %s", d.Digest, after)
				}
				got[d.Digest], after = d, d.Digest
			}
			if len(page) == 0 {
				return got
			}
		}
	}
	if diff := cmp.Diff(want, list("s", nil)); diff != "" {
		t.Error(diff)
	}
	if got := list("s", []string{"t0", "t2", "none"}); len(got) != 4 {
		t.Errorf("referrers of two types: %v", got)
	}
	if got := list("x", nil); len(got) != 0 {
		t.Errorf("referrers of nothing: %v", got)
	}
}

func TestUploads(t *testing.T) { onEach(t, testUploads) }

func testUploads(t *testing.T, db *DB) {
	u := Upload{ID: "u", Repository: "a", Owner: "me", Key: "k", Algorithm: oci.SHA256, Created: day, Updated: day}
	mustUpdate(t, db, func(tx *Tx) error { return tx.CreateUpload(u) })
	var overtaken Upload
	mustUpdate(t, db, func(tx *Tx) (err error) {
		overtaken, err = tx.OvertakeUpload("u", day.Add(1e6))
		return err
	})
	u.Epoch, u.Updated = 1, day.Add(1e6)
	if diff := cmp.Diff(u, overtaken); diff != "" {
		t.Error(diff)
	}
	stale := u
	stale.Epoch = 0
	for _, fn := range []func(*Tx) error{
		func(tx *Tx) error { return tx.SuspendUpload(stale) },
		func(tx *Tx) error { return tx.DeleteUpload("u", 0) },
	} {
		if err := db.Update(t.Context(), fn); !errors.Is(err, ErrNotExist) {
			t.Errorf("an older epoch: %v, want %v", err, ErrNotExist)
		}
	}
	u.Key, u.HashState, u.StoreState, u.Size, u.Updated = "k2", []byte("h"), []byte("s"), 5, day.Add(1e9)
	mustUpdate(t, db, func(tx *Tx) error { return tx.SuspendUpload(u) })
	mustUpdate(t, db, func(tx *Tx) (err error) {
		overtaken, err = tx.OvertakeUpload("u", day.Add(2e9))
		return err
	})
	u.Epoch, u.Updated = 2, day.Add(2e9)
	if diff := cmp.Diff(u, overtaken); diff != "" {
		t.Error(diff)
	}
	mustView(t, db, func(tx *Tx) error {
		mine, err := tx.CountUploads("me", 10)
		idle, err2 := tx.IdleUploads(u.Updated.Add(1e3), 10)
		busy, err3 := tx.IdleUploads(u.Updated, 10)
		if mine != 1 || len(idle) != 1 || len(busy) != 0 {
			t.Errorf("%d uploads are mine, %d idle, %d of them at the time", mine, len(idle), len(busy))
		}
		return errors.Join(err, err2, err3)
	})
	mustUpdate(t, db, func(tx *Tx) error { return tx.DeleteUpload("u", 2) })
	if err := db.View(t.Context(), func(tx *Tx) error { _, err := tx.Upload("u"); return err }); !errors.Is(err, ErrNotExist) {
		t.Errorf("deleted upload: %v", err)
	}
}
