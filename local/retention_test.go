package local

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/meta"
	"berth/oci"
	"berth/registry"
)

func anyRepo(oci.Name) bool { return true }
func anyTag(oci.Tag) bool   { return true }

func beginning(prefix string) func(oci.Tag) bool {
	return func(t oci.Tag) bool { return strings.HasPrefix(string(t), prefix) }
}

func remaining(t testing.TB, r *Registry, repo oci.Name) (list []oci.Tag) {
	t.Helper()
	page, err := r.Tags(t.Context(), repo, registry.TagQuery{Limit: registry.MaxPage})
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range page {
		list = append(list, tag.Tag)
	}
	return list
}

// TestTagsThatRulesKeep pushes dev-1 to dev-5, a day apart, and v1 before them. The
// first was read a day ago.
func TestTagsThatRulesKeep(t *testing.T) {
	const day = 24 * time.Hour
	dev := beginning("dev-")
	never := func(oci.Name) bool { return false }
	all := "dev-1 dev-2 dev-3 dev-4 dev-5 v1"
	for name, tt := range map[string]struct {
		rules []RetentionRule
		want  string
	}{
		"no rule":                 {nil, all},
		"the newest":              {[]RetentionRule{{Repository: anyRepo, Tag: dev, Keep: 2}}, "dev-4 dev-5 v1"},
		"more than there are":     {[]RetentionRule{{Repository: anyRepo, Tag: dev, Keep: 9}}, all},
		"elsewhere":               {[]RetentionRule{{Repository: never, Tag: dev, Keep: 1}}, all},
		"of all":                  {[]RetentionRule{{Repository: anyRepo, Tag: anyTag, Keep: 1}}, "dev-5"},
		"pushed within":           {[]RetentionRule{{Repository: anyRepo, Tag: dev, Within: 3*day + time.Hour}}, "dev-3 dev-4 dev-5 v1"},
		"newest or within":        {[]RetentionRule{{Repository: anyRepo, Tag: dev, Keep: 1, Within: 2*day + time.Hour}}, "dev-4 dev-5 v1"},
		"pulled within":           {[]RetentionRule{{Repository: anyRepo, Tag: dev, Pulled: 2*day - time.Hour}}, "dev-1 dev-5 v1"},
		"two rules, each its own": {[]RetentionRule{{Repository: anyRepo, Tag: dev, Keep: 1}, {Repository: anyRepo, Tag: beginning("v"), Keep: 1}}, "dev-5 v1"},
		"what any keeps stays":    {[]RetentionRule{{Repository: anyRepo, Tag: dev, Keep: 1}, {Repository: anyRepo, Tag: beginning("dev-1"), Keep: 1}}, "dev-1 dev-5 v1"},
		"untagged alone":          {[]RetentionRule{{Repository: anyRepo, Tag: dev, Untagged: new(time.Duration)}}, all},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := swept(t)
			sweepWith(t, r, SweepOptions{Retention: []RetentionRule{{Repository: never}}}) // since now reads are known
			push(t, r, repo, "l")
			putManifest(t, r, repo, image(t, r, repo, "l"), "v1")
			for i := range 5 {
				c.hours(24)
				layers := slices.Repeat([]string{"l"}, i+2)
				putManifest(t, r, repo, image(t, r, repo, layers...), oci.Tag(fmt.Sprintf("dev-%d", i+1)))
			}
			c.hours(1)
			wantPulled(t, r, repo, "dev-1")
			c.hours(23)
			sweepWith(t, r, SweepOptions{Retention: tt.rules})
			if got := strings.Trim(fmt.Sprint(remaining(t, r, repo)), "[]"); got != tt.want {
				t.Errorf("left %q, want %q", got, tt.want)
			}
			for _, tag := range remaining(t, r, repo) {
				wantPulled(t, r, repo, string(tag))
			}
		})
	}
}

// TestPullsAreNotKnownFromTheStart: a rule about them begins with what was never
// read as if it was read when the first sweep began.
func TestPullsAreNotKnownFromTheStart(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	putManifest(t, r, repo, image(t, r, repo, "l"), "v1")
	c.hours(1000)
	o := SweepOptions{Retention: []RetentionRule{{Repository: anyRepo, Tag: anyTag, Pulled: 48 * time.Hour}}}
	sweepWith(t, r, o)
	c.hours(47)
	sweepWith(t, r, o)
	wantTags(t, r, "v1")
	c.hours(2)
	sweepWith(t, r, o)
	wantTags(t, r)
}

func wantTags(t *testing.T, r *Registry, want ...oci.Tag) {
	t.Helper()
	if got := remaining(t, r, repo); !slices.Equal(got, want) {
		t.Errorf("tags %q, want %q", got, want)
	}
}

// TestUntagged is about what goes without a tag, 48 hours after it was last of use.
func TestUntagged(t *testing.T) {
	r, c := swept(t)
	storyOfUntagged(t, r, c)
}

func storyOfUntagged(t *testing.T, r *Registry, c *turning) {
	age := 48 * time.Hour
	o := SweepOptions{Retention: []RetentionRule{{Repository: anyRepo, Tag: anyTag, Untagged: &age}}}
	push(t, r, repo, "l")
	images := make([]registry.ManifestContent, 8)
	for i := range images {
		images[i] = image(t, r, repo, slices.Repeat([]string{"l"}, i+1)...)
		putManifest(t, r, repo, images[i])
	}
	d := func(i int) string { return string(images[i].Digest) }
	tagged, child, lone, again, readAgain, moved := 0, 1, 2, 3, 4, 5
	putManifest(t, r, repo, images[tagged], "v1")
	listed := index(t, nil, images[child])
	putManifest(t, r, repo, listed, "index")
	signature := index(t, &images[tagged])
	putManifest(t, r, repo, signature)
	widow := index(t, &images[lone])
	putManifest(t, r, repo, widow)
	circle := index(t, &images[6], images[6], images[7]) // keeps what keeps it
	putManifest(t, r, repo, circle)
	putManifest(t, r, repo, images[moved], "moving")
	c.hours(47)
	putManifest(t, r, repo, images[again])
	wantPulled(t, r, repo, d(readAgain))
	putManifest(t, r, repo, images[tagged], "moving")
	sweepWith(t, r, SweepOptions{}) // without a rule nothing goes
	c.hours(2)
	got := sweepWith(t, r, o)
	wantNotPulled(t, r, repo, d(lone), string(widow.Digest), string(circle.Digest), d(6), d(7))
	wantPulled(t, r, repo, "v1", "index", "moving", d(child), string(signature.Digest), d(again), d(readAgain), d(moved))
	if got.Manifests != 5 {
		t.Errorf("report %+v", got)
	}
	wantPulled(t, r, repo, d(child)) // reads count
	c.hours(49)
	sweepWith(t, r, o)
	wantNotPulled(t, r, repo, d(again), d(readAgain), d(moved))
	if err := r.DeleteManifest(t.Context(), repo, listed.Digest); err != nil {
		t.Fatal(err)
	}
	c.hours(47)
	sweepWith(t, r, o)
	if err := r.DeleteManifest(t.Context(), repo, images[tagged].Digest); err != nil {
		t.Fatal(err)
	}
	c.hours(2)
	sweepWith(t, r, o)
	wantNotPulled(t, r, repo, d(child))
	wantPulled(t, r, repo, string(signature.Digest)) // has lost its subject a moment ago
	c.hours(49)
	sweepWith(t, r, o)
	wantNotPulled(t, r, repo, string(signature.Digest))
	c.hours(31)
	sweepWith(t, r, o)
	if got := keys(t, r.store); len(got) != 0 {
		t.Errorf("left: %q", got)
	}
}

// TestUntaggedByHand is `registry garbage-collect -m`: what has no tag goes, but not
// within the grace, in which an index may be on its way that lists it.
func TestUntaggedByHand(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	old, young := image(t, r, repo, "l"), image(t, r, repo, "l", "l")
	putManifest(t, r, repo, old)
	c.hours(29)
	putManifest(t, r, repo, young)
	c.hours(2)
	sweepWith(t, r, SweepOptions{SweepRequest: registry.SweepRequest{Untagged: true}})
	wantNotPulled(t, r, repo, string(old.Digest))
	wantPulled(t, r, repo, string(young.Digest))
	now := time.Duration(0)
	sweepWith(t, r, SweepOptions{SweepRequest: registry.SweepRequest{Untagged: true, Grace: &now}})
	c.turn(time.Microsecond)
	sweepWith(t, r, SweepOptions{SweepRequest: registry.SweepRequest{Untagged: true, Grace: &now}})
	c.turn(time.Microsecond)
	sweepWith(t, r, SweepOptions{SweepRequest: registry.SweepRequest{Grace: &now}})
	if got := keys(t, r.store); len(got) != 0 {
		t.Errorf("without a grace: left %q", got)
	}
}

// TestRetentionDecidesWhereItRemoves changes what the newest tags are between the
// plan and the removal.
func TestRetentionDecidesWhereItRemoves(t *testing.T) {
	r, c := swept(t)
	push(t, r, repo, "l")
	m := image(t, r, repo, "l")
	for i := range 4 {
		c.hours(1)
		putManifest(t, r, repo, m, oci.Tag(fmt.Sprint("v", i)))
	}
	s := &sweep{r: r, began: c.Now(), o: SweepOptions{Retention: []RetentionRule{{Repository: anyRepo, Tag: anyTag, Keep: 2}}},
		report: new(registry.SweepReport), repos: make(map[oci.Name]*registry.SweptRepository)}
	p := planOf(t, s)
	if err := r.DeleteTag(t.Context(), repo, "v3"); err != nil {
		t.Fatal(err)
	}
	batch := []meta.TagUse{{Tag: "v1"}}
	if _, err := p.removeTagBatch(t.Context(), batch); err != errReplan {
		t.Errorf("one of the newest is gone: %v", err)
	}
	p = planOf(t, s)
	c.hours(1)
	putManifest(t, r, repo, m, "v0")
	if got, err := p.removeTagBatch(t.Context(), []meta.TagUse{{Tag: "v0"}}); err != nil || len(got) != 0 {
		t.Errorf("a tag that was pushed again: %v, %v", got, err)
	}
	wantTags(t, r, "v0", "v1", "v2")
}

func planOf(t *testing.T, s *sweep) *retentionPlan {
	t.Helper()
	var rows []meta.RepositoryRow
	err := s.r.db.View(t.Context(), func(tx *meta.Tx) (err error) {
		rows, err = tx.RepositoryRows("", 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p := s.planFor(rows[0], time.Time{})
	err = p.eachTags(t.Context(), func(page []meta.TagUse) error {
		for _, tag := range page {
			p.rules[0].consider(tag)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
