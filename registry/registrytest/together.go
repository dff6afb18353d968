package registrytest

import (
	"fmt"
	"sync"

	"berth/oci"
	"berth/registry"
)

const workers = 20

// together calls f with 0 to workers-1, all at once, and returns the errors.
func together(f func(i int) error) [workers]error {
	var errs [workers]error
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() { errs[i] = f(i) })
	}
	group.Wait()
	return errs
}

func testAttach(c *client) {
	image := c.image(repo, "image")
	c.put(repo, image, "v1")
	var notes []registry.ManifestContent
	for i := range workers {
		notes = append(notes, c.referrer(repo, descriptor(image), "application/x-note", fmt.Sprint(i)))
	}
	for i, err := range together(func(i int) error {
		_, err := c.PutManifest(c.Context(), repo, notes[i], registry.PutOptions{})
		return err
	}) {
		if err != nil {
			c.Errorf("attach %d: %v", i, err)
		}
	}
	c.wantList("referrers", digests(c.allReferrers(image.Digest, 100)), inOrder(notes...))
}

// testPushTogether pushes one blob to four repositories, which nobody made
// before, from many clients.
func testPushTogether(c *client) {
	data := content(5, 100_000)
	d := oci.DigestOf(oci.SHA256, data)
	target := func(i int) oci.Name { return oci.Name(fmt.Sprintf("together/%d", i%4)) }
	for i, err := range together(func(i int) error {
		u, err := c.StartUpload(c.Context(), target(i), registry.UploadOptions{Owner: owner})
		if err != nil {
			return err
		}
		if _, err := u.Write(data); err != nil {
			return err
		}
		_, err = u.Commit(c.Context(), d)
		return err
	}) {
		if err != nil {
			c.Errorf("push %d: %v", i, err)
		}
	}
	for i := range 4 {
		c.wantBlob(target(i), d, data)
	}
}

// testTagTogether lets many clients make one tag, and then move it.
func testTagTogether(c *client) {
	var images []registry.ManifestContent
	for i := range workers {
		images = append(images, c.image(repo, fmt.Sprint(i)))
	}
	winner := -1
	race := func(what string, o registry.PutOptions, loss oci.Code) {
		c.Helper()
		before := winner
		won := 0
		for i, err := range together(func(i int) error { return c.putWith(o, images[i], "v1") }) {
			switch {
			case err == nil && i != before:
				won, winner = won+1, i
			case err != nil:
				c.wantCode(what, err, loss)
			}
		}
		if won != 1 {
			c.Fatalf("%s: %d clients have won", what, won)
		}
		c.wantManifest(repo, "v1", images[winner].Digest)
	}
	race("if none match", registry.PutOptions{IfNoneMatch: true}, oci.Conflict)
	race("if match", registry.PutOptions{IfMatch: []oci.Digest{images[winner].Digest}}, oci.Conflict)
	if err := c.DeleteTag(c.Context(), repo, "v1"); err != nil {
		c.Fatal(err)
	}
	winner = -1
	race("create only", registry.PutOptions{CreateOnly: true}, oci.Denied)
}
