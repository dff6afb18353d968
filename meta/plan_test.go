package meta

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/job"
	"berth/oci"
	"berth/registry"
)

var parameter = regexp.MustCompile(`\$\d+`)

// TestQueriesSearch calls every method that reads or writes rows, and asks
// SQLite how it would run each statement that they prepared.
func TestQueriesSearch(t *testing.T) {
	db := open(t)
	allowed := []string{
		"SCAN one", "SCAN mine", "SCAN CONSTANT ROW", "SCAN blobs USING COVERING INDEX", // of at most so many rows
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
				ok := !strings.HasPrefix(step, "SCAN ") && !strings.Contains(step, "TEMP B-TREE FOR ORDER BY") || strings.Contains(query, "RECURSIVE reaching") || query == countUsage
				for _, prefix := range allowed {
					ok = ok || strings.HasPrefix(step, prefix)
				}
				ok = ok && (!readsRepository(step) || strings.HasPrefix(query, "DELETE") && !strings.Contains(query, "digest") || query == countUsage)
				// The keys that refer to a row with triggers, which are looked at
				// only where one is broken.
				ok = ok || strings.HasPrefix(strings.TrimSpace(query), "INSERT INTO repositories ")
				if !ok {
					t.Errorf("%s\n\t%s", query, step)
				}
			}
		}
		for _, step := range plan(t, tx, tagsReaching("")) {
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
		if err != nil && !errors.Is(err, ErrNotExist) && !errors.Is(err, job.ErrLost) {
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
	check(tx.OvertakeUpload("u", time.Now()))
	check(tx.CountUploads("o", 10))
	check(tx.IdleUploads(day, 10))
	check(tx.CountIdleUploads(day))
	callSweep(t, tx, id, b, check)
	check(nil, tx.DeleteUpload("u", 1))
	check(nil, tx.SetBlobStamp(d, "a", "s"))
	check(tx.TagInfo(id, "t"))
	check(tx.AllRepositories("a", 10))
	check(tx.BlobsOf("a", 0, 10))
	check(tx.ManifestsOf(id, "", 10))
	check(nil, tx.PutAdopted("a", Adoption{"t", d}))
	check(tx.Adopted("a", []string{"t", "u"}))
	check(tx.TagsNeeding(id, e, "", 10))
	check(tx.BlobsAfter(0, 10))
	check(tx.ManifestRepositories(b.ID, 10))
	check(tx.ParentsOf(id, e, 10))
	check(tx.Usage(registry.Span{From: "a"}))
	check(tx.RepositoryUsage("a"))
	check(tx.RepositoryUsages(plain))
	check(tx.CountUsage("a"))
	check(nil, tx.SetUsage("a", registry.Usage{}))
	check(nil, tx.UnlinkBlob("a", d))
	check(nil, tx.DeleteTag(id, "t"))
	check(tx.DeleteManifest(id, d))
	check(nil, tx.DeleteRepository("a"))
}

// callSweep is callAll for what the sweep asks.
func callSweep(t *testing.T, tx *Tx, id RepositoryID, b Blob, check func(any, error)) {
	t.Helper()
	link := Link{LinkKey{b.ID, "a"}, b.Digest, b.Size}
	end, more, err := tx.LinkPage(LinkKey{}, 1)
	check(nil, err)
	check(tx.UnneededLinks(LinkKey{}, end, more, day))
	check(tx.RepositoryLinks("a", 0, day, 10))
	check(nil, tx.RemoveLink(link, day))
	check(nil, tx.RenewLink("a", b.ID, day))
	_, _, err = tx.BlobPage(0, 1)
	check(nil, err)
	check(tx.UnusedBlobs(0, 0, false, day))
	check(nil, tx.RemoveBlob(b.ID, day))
	_, _, err = tx.CountBlobUses(b.ID)
	check(nil, err)
	check(nil, tx.DeleteObject("k", 1, day))
	check(tx.DeletedObjects("", day, 10))
	check(tx.IsDeleted("k"))
	check(nil, tx.NoteUnknown(Object{Key: "k", Found: day, Seen: day}))
	check(tx.UnknownObjects("", 10))
	check(tx.KnownKeys([]string{"a", "k"}))
	check(nil, tx.ForgetUnknown([]string{"k"}))
	check(nil, tx.ForgetDeleted([]string{"k"}))
	check(tx.RepositoryRows("", 10))
	check(nil, tx.RemoveRepository(id, day))
	check(tx.TagUses(id, "", 10))
	check(tx.TagUse(id, "t"))
	check(nil, tx.LoseTag(id, "t", "", day))
	check(nil, tx.LoseParent(id, b.Digest, day))
	_, _, err = tx.ManifestPage(id, "", 1)
	check(nil, err)
	check(tx.UntaggedManifests(id, "", "", false, day))
	check(tx.Holders(id, b.Digest, 10))
	check(tx.Children(id, "a", b.Digest))
	check(tx.Parents(id, b.Digest, "", 10))
	check(tx.ManifestDigests(id, "", 10))
	check(nil, tx.NotePull(Pull{"a", b.Digest, day}))
	check(nil, tx.CheckLease(job.Lease{Name: "gc", Fence: 1}))
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
