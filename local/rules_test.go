package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
	"berth/registry"
)

// immutableTags are rules about tags that begin with v, in team/**.
func immutableTags() Rules {
	return Rules{Immutable: []ImmutableRule{{
		Name:       "rule 1",
		Repository: func(n oci.Name) bool { return strings.HasPrefix(string(n), "team/") },
		Tag:        func(t oci.Tag) bool { return strings.HasPrefix(string(t), "v") },
	}}}
}

// quota are rules with one quota, for team/**.
func quota(limit registry.Usage) Rules {
	return Rules{Quotas: []Quota{{
		Name: "quota 1",
		Span: func(n oci.Name) (registry.Span, bool) {
			return registry.Span{From: "team/", To: "team0"}, strings.HasPrefix(string(n), "team/")
		},
		Limit: limit,
	}}}
}

// wantRule fails the test unless err is the refusal of a rule of that kind.
func wantRule(t testing.TB, what string, err error, kind string) {
	t.Helper()
	var rule *registry.RuleError
	if !errors.As(err, &rule) || rule.Kind != kind || rule.Rule == "" || !strings.Contains(rule.Message, rule.Rule) || !errors.Is(err, oci.Denied) {
		t.Errorf("%s: %v, want a refusal by a rule: %s", what, err, kind)
	}
}

func wantNoError(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestImmutableTagsStayAsTheyAre(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	ctx := t.Context()
	push(t, r, repo, "one")
	push(t, r, repo, "two")
	one, two := image(t, r, repo, "one"), image(t, r, repo, "two")
	put := func(m registry.ManifestContent, tags ...oci.Tag) error {
		_, err := r.PutManifest(ctx, repo, m, registry.PutOptions{Tags: tags})
		return err
	}
	r.SetRules(immutableTags())
	wantNoError(t, "a new tag", put(one, "v1", "dev"))
	wantNoError(t, "the same again", put(one, "v1"))
	wantRule(t, "another manifest", put(two, "v1"), registry.RuleImmutable)
	wantRule(t, "another manifest, with other tags", put(two, "new", "v1"), registry.RuleImmutable)
	if _, err := readManifest(r, repo, oci.Reference{Tag: "new"}); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("a push that was refused has left a tag: %v", err)
	}
	wantNoError(t, "a tag that the rule is not about", put(two, "dev"))
	wantRule(t, "delete the tag", r.DeleteTag(ctx, repo, "v1"), registry.RuleImmutable)
	wantRule(t, "delete the manifest", r.DeleteManifest(ctx, repo, one.Digest), registry.RuleImmutable)
	wantRule(t, "delete a layer of it", r.DeleteBlob(ctx, repo, digest("one")), registry.RuleImmutable)
	wantRule(t, "delete the repository", r.DeleteRepository(ctx, repo), registry.RuleImmutable)
	if err := r.DeleteTag(ctx, repo, "v2"); !errors.Is(err, oci.ManifestUnknown) {
		t.Errorf("delete a tag that is not there: %v", err)
	}
	wantNoError(t, "delete another tag", r.DeleteTag(ctx, repo, "dev"))
	wantNoError(t, "delete another manifest", r.DeleteManifest(ctx, repo, two.Digest))
	wantNoError(t, "delete its layer", r.DeleteBlob(ctx, repo, digest("two")))

	r.SetRules(Rules{})
	wantNoError(t, "delete without the rule", r.DeleteRepository(ctx, repo))
}

// TestImmutableTagsKeepWhatTheyNeed has an image in an index, and what is said
// about it.
func TestImmutableTagsKeepWhatTheyNeed(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	ctx := t.Context()
	push(t, r, repo, "one")
	one := image(t, r, repo, "one")
	putManifest(t, r, repo, one)
	putManifest(t, r, repo, index(t, nil, one), "v1")
	signature := index(t, &one)
	putManifest(t, r, repo, signature)
	r.SetRules(immutableTags())
	wantRule(t, "delete an image of the index", r.DeleteManifest(ctx, repo, one.Digest), registry.RuleImmutable)
	wantRule(t, "delete a layer of the image", r.DeleteBlob(ctx, repo, digest("one")), registry.RuleImmutable)
	wantNoError(t, "delete what is said about it", r.DeleteManifest(ctx, repo, signature.Digest))
}

func TestQuotaOfBytes(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 10})
	ctx := t.Context()
	push(t, r, "team/a", "12345678")
	push(t, r, "other", "elsewhere")
	r.SetRules(quota(registry.Usage{Bytes: 20}))
	push(t, r, "team/b", "12345678") // counts where it is mounted or pushed again
	commit := func(content string) error {
		u := start(t, r, "team/b")
		u.(*upload).room = nil // as if there had been room
		write(t, u, content)
		_, err := u.Commit(ctx, digest(content))
		return err
	}
	wantNoError(t, "what is there already", commit("12345678"))
	wantRule(t, "one byte too many", commit("56789"), registry.RuleQuota)
	wantNoError(t, "just enough", commit("abcd"))
	wantNoError(t, "what is there already", func() error { _, err := r.MountBlob(ctx, "team/a", "team/b", digest("12345678")); return err }())
	_, err := r.MountBlob(ctx, "team/a", "other", digest("elsewhere"))
	wantRule(t, "a mount", err, registry.RuleQuota)
	_, err = r.StartUpload(ctx, "team/a", mine)
	wantRule(t, "an upload, when all is full", err, registry.RuleQuota)
	_, err = r.StartUpload(ctx, "elsewhere", mine)
	wantNoError(t, "an upload elsewhere", err)
	m := image(t, r, "other")
	_, err = r.PutManifest(ctx, "team/a", registry.ManifestContent{Manifest: &oci.Manifest{MediaType: oci.MediaTypeManifest}, Digest: m.Digest, Bytes: m.Bytes}, registry.PutOptions{})
	wantRule(t, "a manifest", err, registry.RuleQuota)
	if !strings.Contains(fmt.Sprint(err), "20 bytes of 20 bytes") {
		t.Errorf("the refusal does not say how much is used: %v", err)
	}

	wantNoError(t, "delete", r.DeleteBlob(ctx, "team/b", digest("12345678")))
	wantNoError(t, "then there is room", commit("efghijkl"))
	wantNoError(t, "delete a repository", r.DeleteRepository(ctx, "team/b"))
	wantNoError(t, "then there is room", commit("mnopqrstuvwx"))
}

// TestQuotaIsLookedAtEarly refuses bytes that are announced, or come, before
// there are too many.
func TestQuotaIsLookedAtEarly(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{KeptUploads: 10})
	ctx := t.Context()
	r.SetRules(quota(registry.Usage{Bytes: 10}))
	_, err := r.StartUpload(ctx, repo, registry.UploadOptions{Owner: "alice", Size: 11})
	wantRule(t, "a size that is announced", err, registry.RuleQuota)
	u := start(t, r, repo)
	write(t, u, "12345")
	suspend(t, u)
	_, err = r.ResumeUpload(ctx, repo, u.ID(), registry.UploadOptions{Owner: "alice", Size: 11})
	wantRule(t, "more that is announced", err, registry.RuleQuota)
	u = resume(t, r, u.ID())
	_, err = u.Write([]byte("6789ab"))
	wantRule(t, "bytes that come", err, registry.RuleQuota)
	write(t, u, "6789a")
	suspend(t, u)
	push(t, r, repo, "1")
	u = resume(t, r, u.ID())
	_, err = u.Commit(ctx, digest("123456789a"))
	wantRule(t, "the commit", err, registry.RuleQuota)
	if n := len(keys(t, r.store)); n != 1 {
		t.Errorf("%d objects are in the store, want that of the one blob", n)
	}
	u = start(t, r, repo)
	suspend(t, u)
	push(t, r, repo, "23456789a")
	u = resume(t, r, u.ID())
	wantNoError(t, "give up an upload when all is full", u.Cancel(ctx))
}

func TestQuotaOfRepositoriesAndTags(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	ctx := t.Context()
	r.SetRules(quota(registry.Usage{Repositories: 2, Tags: 2}))
	push(t, r, "team/a", "x")
	push(t, r, "team/b", "x")
	_, err := r.StartUpload(ctx, "team/c", mine)
	wantRule(t, "a third repository", err, registry.RuleQuota)
	_, err = r.MountBlob(ctx, "team/c", "team/a", digest("x"))
	wantRule(t, "a third repository, by a mount", err, registry.RuleQuota)
	m := image(t, r, "team/a", "x")
	putManifest(t, r, "team/a", m, "1", "2")
	putManifest(t, r, "team/a", m, "2")
	_, err = r.PutManifest(ctx, "team/a", m, registry.PutOptions{Tags: []oci.Tag{"3"}})
	wantRule(t, "a third tag", err, registry.RuleQuota)
	wantNoError(t, "delete a tag", r.DeleteTag(ctx, "team/a", "1"))
	putManifest(t, r, "team/a", m, "3")
	r.SetRules(quota(registry.Usage{Repositories: 1, Tags: 1})) // less than there is
	putManifest(t, r, "team/a", m, "3")
	push(t, r, "team/b", "more")
}

// TestQuotaHoldsAgainstMany has 20 who push at once, to one node or to two.
func TestQuotaHoldsAgainstMany(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		pushMany(t, openRegistry(t, memory.New(), openDB(t), Options{}))
	})
	t.Run("two nodes", func(t *testing.T) {
		s := sharedPostgres.Server(t)
		url, store := s.URL(s.Database(t)), memory.New()
		node := func() *Registry { return openRegistry(t, store, openPostgres(t, url), Options{Shared: true}) }
		pushMany(t, node(), node())
	})
}

func pushMany(t *testing.T, nodes ...*Registry) {
	t.Helper()
	const each, limit = 10, 75
	for _, r := range nodes {
		r.SetRules(quota(registry.Usage{Bytes: limit, Repositories: 5}))
	}
	var pushed, refused atomic.Int64
	var work sync.WaitGroup
	for i := range 20 {
		r := nodes[i%len(nodes)]
		work.Go(func() {
			name := oci.Name(fmt.Sprintf("team/%d", i%7))
			content := fmt.Sprintf("%0*d", each, i)
			u, err := r.StartUpload(t.Context(), name, mine)
			if err == nil {
				if _, err = u.Write([]byte(content)); err == nil {
					_, err = u.Commit(t.Context(), digest(content))
				}
			}
			if err == nil {
				pushed.Add(1)
				return
			}
			refused.Add(1)
			wantRule(t, "a push beyond the quota", err, registry.RuleQuota)
		})
	}
	work.Wait()
	var used registry.Usage
	err := nodes[0].db.View(t.Context(), func(tx *meta.Tx) (err error) {
		used, err = tx.Usage(registry.Span{})
		return err
	})
	if err != nil || used.Bytes != each*pushed.Load() || used.Bytes > limit || used.Repositories > 5 || pushed.Load() < 5 || pushed.Load()+refused.Load() != 20 {
		t.Errorf("%d pushed, %d refused, %+v used, %v", pushed.Load(), refused.Load(), used, err)
	}
}

func TestUsages(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	ctx := t.Context()
	push(t, r, "team/a", "12345")
	push(t, r, "team/b", "123")
	push(t, r, "x", "1")
	limit := registry.Usage{Bytes: 100}
	r.SetRules(quota(limit))
	list, err := r.Usages(ctx, "team/a", 10)
	if err != nil {
		t.Fatal(err)
	}
	quotas := []registry.QuotaUsage{{Rule: "quota 1", Used: registry.Usage{Repositories: 2, Bytes: 8}, Limit: limit}}
	want := []registry.RepositoryUsage{{Name: "team/b", Created: list[0].Created, Bytes: 3, Quotas: quotas}, {Name: "x", Created: list[1].Created, Bytes: 1}}
	if d := cmp.Diff(want, list); d != "" {
		t.Error(d)
	}
	if u, err := r.UsageOf(ctx, "team/b"); err != nil || cmp.Diff(want[0], u) != "" {
		t.Errorf("UsageOf = %+v, %v", u, err)
	}
	if _, err := r.UsageOf(ctx, "team"); !errors.Is(err, oci.NameUnknown) {
		t.Errorf("UsageOf what is not there: %v", err)
	}
}

func TestCheckUsageMends(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	ctx := t.Context()
	for i := range checkPage + 1 {
		push(t, r, oci.Name(fmt.Sprintf("a/%d", i)), "12345")
	}
	if c, err := r.CheckUsage(ctx); err != nil || c.Repositories != checkPage+1 || len(c.Wrong) > 0 {
		t.Errorf("CheckUsage = %+v, %v", c, err)
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		return tx.SetUsage("a/7", registry.Usage{Bytes: 1, Tags: 2})
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.CheckUsage(ctx)
	want := []registry.UsageError{{Name: "a/7", Was: registry.Usage{Repositories: 1, Bytes: 1, Tags: 2}, Counted: registry.Usage{Repositories: 1, Bytes: 5}}}
	if d := cmp.Diff(want, c.Wrong); err != nil || d != "" {
		t.Error(d, err)
	}
	if c, err := r.CheckUsage(ctx); err != nil || len(c.Wrong) > 0 {
		t.Errorf("CheckUsage again = %+v, %v", c, err)
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KiB", 1<<20 - 1: "1023.9 KiB", 100 << 30: "100.0 GiB", 5 << 60: "5.0 EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestRetentionLeavesImmutableTags has a rule of each kind about the same tags.
func TestRetentionLeavesImmutableTags(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	for i, tag := range []oci.Tag{"v1", "v2", "dev-1", "dev-2"} {
		layers := make([]string, i+1)
		for j := range layers {
			layers[j] = "l"
		}
		putManifest(t, r, repo, image(t, r, repo, layers...), tag)
		c.hours(24)
	}
	r.SetRules(immutableTags())
	rules := []RetentionRule{{Repository: anyRepo, Tag: anyTag, Keep: 1, Untagged: new(time.Duration)}}
	dry := sweepWith(t, r, SweepOptions{Retention: rules, SweepRequest: registry.SweepRequest{DryRun: true}})
	sweepWith(t, r, SweepOptions{Retention: rules})
	if got := fmt.Sprint(remaining(t, r, repo)); got != "[dev-2 v1 v2]" || dry.Tags != 1 {
		t.Errorf("left %s; a dry run has removed %d tags", got, dry.Tags)
	}
	wantPulled(t, r, repo, "v1")
}

// TestSweepGivesRoomBack fills a quota with what nobody needs.
func TestSweepGivesRoomBack(t *testing.T) {
	r, c := swept(t)
	r.SetRules(quota(registry.Usage{Bytes: 4}))
	push(t, r, repo, "1234")
	if _, err := r.StartUpload(t.Context(), repo, mine); err == nil {
		t.Error("there is room before the sweep")
	}
	c.hours(72)
	sweepWith(t, r, SweepOptions{})
	push(t, r, repo, "5678")
	wantRightTotals(t, r)
}

// wantRightTotals fails the test where what repositories are said to hold is not
// what they hold.
func wantRightTotals(t interface {
	Helper()
	Errorf(string, ...any)
}, r *Registry) {
	t.Helper()
	if c, err := r.CheckUsage(context.Background()); err != nil || len(c.Wrong) > 0 {
		t.Errorf("the totals are wrong: %+v, %v", c.Wrong, err)
	}
}
