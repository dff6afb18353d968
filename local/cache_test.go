package local

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"berth/blob/memory"
	"berth/oci"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache[int](100, func(v int) int64 { return int64(v) })
	for i := range 50 {
		c.set(i, 10)
	}
	if c.cost != 100 || len(c.entries) != 10 {
		t.Errorf("%d entries cost %d", len(c.entries), c.cost)
	}
	c.set(1, 26) // more than a quarter of all
	if _, ok := c.get(1); ok {
		t.Error("an entry that fills the cache was kept")
	}
}

func TestCacheDoesNotRememberWhatChanges(t *testing.T) {
	read := func(v string) func() (string, error) { return func() (string, error) { return v, nil } }
	tests := map[string]func(*cache[string, string]) func(){
		"key": func(c *cache[string, string]) func() { return c.hold("k") },
		"all": func(c *cache[string, string]) func() { return c.holdAll() },
	}
	for name, hold := range tests {
		c := newCache[string, string](10, nil)
		c.set("k", "old")
		release := hold(c)
		if _, ok := c.get("k"); ok {
			t.Errorf("%s: held, and still there", name)
		}
		if v, err := c.load("k", read("old")); v != "old" || err != nil {
			t.Errorf("%s: load = %q, %v", name, v, err)
		}
		_, _ = c.load("k", func() (string, error) { // begins before the change, ends after it
			release()
			return "old", nil
		})
		if v, _ := c.load("k", read("new")); v != "new" {
			t.Errorf("%s: after the change: %q", name, v)
		}
		if v, ok := c.get("k"); !ok || v != "new" {
			t.Errorf("%s: not remembered: %q, %v", name, v, ok)
		}
	}
	c := newCache[string, string](10, nil)
	if _, err := c.load("k", func() (string, error) { return "", errors.New("no") }); err == nil {
		t.Error("load returned no error")
	}
	if _, ok := c.get("k"); ok {
		t.Error("an error was remembered")
	}
}

// TestTagIsRead moves a tag and reads it from many sides: what was acknowledged
// is what is read.
func TestTagIsRead(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	var all sync.WaitGroup
	for w := range 4 {
		tag := oci.Tag(fmt.Sprint("t", w%2)) // two writers of each would not know who was last
		if w >= 2 {
			all.Go(func() {
				for range 100 {
					_, _ = readManifest(r, repo, oci.Reference{Tag: tag})
				}
			})
			continue
		}
		layers := []string{fmt.Sprint("a", w), fmt.Sprint("b", w)}
		for _, l := range layers {
			push(t, r, repo, l)
		}
		all.Go(func() {
			for i := range 20 {
				m := image(t, r, repo, layers[i%2])
				putManifest(t, r, repo, m, tag)
				if got, err := readManifest(r, repo, oci.Reference{Tag: tag}); err != nil || string(got) != string(m.Bytes) {
					t.Errorf("the tag names %q, %v", got, err)
				}
				if i%5 == 4 {
					if err := r.DeleteTag(t.Context(), repo, tag); err != nil {
						t.Error(err)
					}
					if _, err := readManifest(r, repo, oci.Reference{Tag: tag}); !errors.Is(err, oci.ManifestUnknown) {
						t.Errorf("a deleted tag: %v", err)
					}
				}
			}
		})
	}
	all.Wait()
}

func TestDeletedBlobIsGoneAtOnce(t *testing.T) {
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	for i := range 3 {
		d := push(t, r, repo, "abc")
		push(t, r, "team/other", "abc")
		wantBlob(t, r, repo, "abc")
		var err error
		if i < 2 {
			err = r.DeleteBlob(t.Context(), repo, d)
		} else {
			err = r.DeleteRepository(t.Context(), repo)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Blob(t.Context(), repo, d); err == nil {
			t.Error("a deleted blob can be read")
		}
		wantBlob(t, r, "team/other", "abc")
	}
}
