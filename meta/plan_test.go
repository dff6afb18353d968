package meta

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/oci"
	"berth/registry"
)

var parameter = regexp.MustCompile(`\$\d+`)

// TestQueriesSearch calls every method that reads or writes rows, and asks
// SQLite how it would run each statement that they prepared.
func TestQueriesSearch(t *testing.T) {
	db := open(t)
	allowed := []string{
		"SCAN one", "SCAN some", "SCAN CONSTANT ROW", "SCAN blobs USING COVERING INDEX", // of at most so many rows
		"SCAN r", "SCAN reaching", // the digests that were met
		"SCAN 2-ROW VALUES CLAUSE", // what is inserted
	}
	mustUpdate(t, db, func(tx *Tx) error {
		callAll(t, tx)
		for _, query := range slices.Collect(maps.Keys(tx.conn.stmts)) {
			if strings.HasPrefix(query, "BEGIN") || strings.HasPrefix(query, "SAVEPOINT") {
				continue
			}
			for _, step := range plan(t, tx, query) {
				ok := !strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "TEMP B-TREE FOR ORDER BY") || query == tagsReaching
				for _, prefix := range allowed {
					ok = ok || strings.HasPrefix(step, prefix)
				}
				ok = ok && (!readsRepository(step) || strings.HasPrefix(query, "DELETE") && !strings.Contains(query, "digest"))
				if !ok {
					t.Errorf("%s\n\t%s", query, step)
				}
			}
		}
		for _, step := range plan(t, tx, tagsReaching) {
			if strings.HasPrefix(step, "SCAN t") || strings.HasPrefix(step, "SCAN m") {
				t.Errorf("tags by what they reach: %s", step)
			}
		}
		return tx.err
	})
}

// readsRepository reports whether a step reads all tags, blobs or references of
// a repository, of which there may be a million.
func readsRepository(step string) bool {
	for _, search := range []string{
		"PRIMARY KEY (repository_id=?)", "repository_blobs_repository (repository=?)", "manifests_1 (repository_id=?)", "tags_digest (repository_id=?)",
	} {
		if strings.HasSuffix(step, search) {
			return true
		}
	}
	return false
}

// callAll calls every method of tx, with what there is and what there is not.
func callAll(t *testing.T, tx *Tx) {
	t.Helper()
	d, e := oci.DigestOf(oci.SHA256, nil), oci.DigestOf(oci.SHA512, nil)
	plain, filtered := RepositoryRange{Limit: 10}, RepositoryRange{After: "b", Contains: "a", Limit: 10}
	id, err := tx.PutRepository("a", day)
	if err != nil {
		t.Fatal(err)
	}
	b, err := tx.PutBlob(Blob{Digest: d, Key: "a"}, "", day)
	if err != nil {
		t.Fatal(err)
	}
	check := func(_ any, err error) {
		if err != nil && !errors.Is(err, ErrNotExist) {
			t.Error(err)
		}
	}
	check(nil, tx.LinkBlob("a", b, day))
	check(nil, tx.PutManifest(id, Manifest{Digest: d, Blob: b, Subject: e}, []Child{{e, KindLayer}}, day))
	check(nil, tx.PutTag(id, "t", d, day))
	check(nil, tx.CreateUpload(Upload{ID: "u"}))
	check(tx.Repositories(plain))
	check(tx.Repositories(filtered))
	check(tx.BlobRepositories(d, plain))
	check(tx.BlobRepositories(d, filtered))
	check(tx.Blob(d))
	check(tx.BlobPlace("a", d))
	check(tx.HasBlobs())
	check(tx.BlobSizes("a", []oci.Digest{d, e}))
	check(tx.ManifestSizes(id, []oci.Digest{d, e}))
	check(tx.Manifest("a", d))
	check(tx.TaggedManifest("a", "t"))
	check(tx.Referrers(id, e, "", nil, 10))
	check(tx.Referrers(id, e, d, []string{"a", "b"}, 10))
	check(tx.Tag(id, "t"))
	check(tx.Tags(id, registry.TagQuery{After: "a", Limit: 10}))
	check(tx.Tags(id, registry.TagQuery{After: "a", Limit: 10, Reaching: e}))
	check(tx.Upload("u"))
	check(nil, tx.SuspendUpload(Upload{ID: "u"}))
	check(tx.OvertakeUpload("u"))
	check(tx.CountUploads("o", 10))
	check(tx.IdleUploads(day, 10))
	check(nil, tx.DeleteUpload("u", 1))
	check(nil, tx.SetBlobStamp(d, "a", "s"))
	check(tx.TagInfo(id, "t"))
	check(tx.AllRepositories("a", 10))
	check(tx.BlobsOf("a", 0, 10))
	check(tx.ManifestsOf(id, "", 10))
	check(nil, tx.PutAdopted("a", Adoption{"t", d}))
	check(tx.Adopted("a", []string{"t", "u"}))
	check(nil, tx.UnlinkBlob("a", d))
	check(nil, tx.DeleteTag(id, "t"))
	check(tx.DeleteManifest(id, d))
	check(nil, tx.DeleteRepository("a"))
}

// plan returns the steps of a query.
func plan(t *testing.T, tx *Tx, query string) []string {
	t.Helper()
	args := make([]any, 0)
	seen := make(map[string]bool)
	for _, p := range parameter.FindAllString(query, -1) {
		if !seen[p] {
			args = append(args, "")
		}
		seen[p] = true
	}
	steps, err := rows(tx, "explain", "EXPLAIN QUERY PLAN "+query, args, func(r scanner) (s string, err error) {
		var id, parent, unused int
		err = r.Scan(&id, &parent, &unused, &s)
		return s, err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return steps
}
