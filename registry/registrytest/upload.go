package registrytest

import (
	"bytes"
	"fmt"
	"io"
	"net/url"

	"berth/oci"
	"berth/registry"
)

func testBlob(c *client) {
	data := content(1, 100_000)
	d := oci.DigestOf(oci.SHA256, data)
	c.wantNoBlob(repo, d)
	c.pushBlob(repo, data)
	c.wantBlob(repo, d, data)
	c.wantNoBlob(other, d)
	c.pushBlob(other, []byte("something else"))
	c.wantNoBlob(other, d)
	c.pushBlob(repo, data)
	c.wantBlob(repo, d, data)
}

func testContent(c *client) {
	data := content(1, 10_000)
	d := c.pushBlob(repo, data)
	blob, err := c.Blob(c.Context(), repo, d)
	if err != nil {
		c.Fatal(err)
	}
	c.wantRanges("blob", blob, data)
	m := c.image(repo, "x")
	c.put(repo, m)
	manifest, err := c.Manifest(c.Context(), repo, oci.Reference{Digest: m.Digest})
	if err != nil {
		c.Fatal(err)
	}
	c.wantRanges("manifest", manifest, m.Bytes)
}

// wantRanges reads content in every way and closes it.
func (c *client) wantRanges(what string, content registry.Content, data []byte) {
	c.Helper()
	size := int64(len(data))
	for _, r := range []struct{ off, n int64 }{{0, -1}, {0, size}, {0, 1}, {size - 1, 1}, {size / 2, -1}, {size / 3, size / 3}, {size, 0}, {0, 0}} {
		end := r.off + r.n
		if r.n < 0 {
			end = size
		}
		if got, err := readRange(c, content, r.off, r.n); err != nil || !bytes.Equal(got, data[r.off:end]) {
			c.Errorf("%s: %d bytes from %d are %d bytes, %v", what, r.n, r.off, len(got), err)
		}
	}
	if _, err := content.URL(c.Context()); err != nil {
		c.Errorf("%s: URL: %v", what, err)
	}
	if f, ok := content.File(); ok {
		if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, data) {
			c.Errorf("%s: its file holds %d bytes from its position, %v", what, len(got), err)
		}
	}
	if err := content.Close(); err != nil {
		c.Errorf("%s: Close: %v", what, err)
	}
}

func testUpload(c *client) {
	for _, n := range []int{0, 1, 65_536, 3_000_001} {
		data := content(uint64(n), n)
		d := oci.DigestOf(oci.SHA256, data)
		u := c.start(repo)
		if u.Size() != 0 {
			c.Errorf("size of a new upload is %d", u.Size())
		}
		if n > 0 { // or no Write at all
			c.write(u, data)
		}
		if u.Size() != int64(n) {
			c.Errorf("size after %d bytes is %d", n, u.Size())
		}
		c.wantNoBlob(repo, d)
		got, err := u.Commit(c.Context(), d)
		if err != nil || got.Digest != d || got.Size != int64(n) {
			c.Fatalf("Commit of %d bytes = %+v, %v", n, got, err)
		}
		c.wantBlob(repo, d, data)
	}
	a, b := c.start(repo).ID(), c.start(repo).ID()
	if a == b || len(a) < 20 || url.PathEscape(a) != a {
		c.Errorf("uploads are named %q and %q", a, b)
	}
}

func testChunks(c *client) {
	data := content(2, 200_000)
	d := oci.DigestOf(oci.SHA256, data)
	u := c.start(repo)
	id := u.ID()
	for off := 0; ; {
		n := min(len(data)-off, 66_667)
		c.write(u, data[off:off+n/2])
		c.write(u, data[off+n/2:off+n])
		off += n
		if off == len(data) {
			break
		}
		c.close(u)
		c.wantNoBlob(repo, d)
		if n, err := c.UploadStatus(c.Context(), repo, id, registry.UploadOptions{Owner: owner}); err != nil || n != int64(off) {
			c.Errorf("UploadStatus = %d, %v; want %d", n, err, off)
		}
		u = c.resume(repo, id)
		if u.ID() != id || u.Size() != int64(off) {
			c.Errorf("after Resume the upload is %q of %d bytes, want %q of %d", u.ID(), u.Size(), id, off)
		}
	}
	if _, err := u.Commit(c.Context(), d); err != nil {
		c.Fatalf("Commit: %v", err)
	}
	c.wantBlob(repo, d, data)
	c.wantNoUpload(repo, id, owner)
}

// wantNoUpload checks that there is no such upload for the owner in name.
func (c *client) wantNoUpload(name oci.Name, id, owner string) {
	c.Helper()
	o := registry.UploadOptions{Owner: owner}
	_, err := c.ResumeUpload(c.Context(), name, id, o)
	c.wantCode("ResumeUpload", err, oci.BlobUploadUnknown)
	_, err = c.UploadStatus(c.Context(), name, id, o)
	c.wantCode("UploadStatus", err, oci.BlobUploadUnknown)
}

func testCancel(c *client) {
	fresh := c.start(repo)
	c.write(fresh, []byte("abc"))
	suspended := c.start(repo)
	c.write(suspended, []byte("abc"))
	c.close(suspended)
	for _, u := range []registry.Upload{fresh, c.resume(repo, suspended.ID()), c.start(repo)} {
		if err := u.Cancel(c.Context()); err != nil {
			c.Errorf("Cancel: %v", err)
		}
		c.wantNoUpload(repo, u.ID(), owner)
	}
}

func testOtherOwner(c *client) {
	data := []byte("abc")
	u := c.start(repo)
	c.write(u, data[:1])
	c.close(u)
	c.wantNoUpload(repo, u.ID(), "bob")
	c.wantNoUpload(repo, u.ID(), "")
	c.wantNoUpload(other, u.ID(), owner)
	for _, id := range []string{"", "none", "../x", "'", "00000000-0000-0000-0000-000000000000", u.ID() + "x"} {
		c.wantNoUpload(repo, id, owner)
	}
	u = c.resume(repo, u.ID())
	c.write(u, data[1:])
	d := oci.DigestOf(oci.SHA256, data)
	if _, err := u.Commit(c.Context(), d); err != nil {
		c.Errorf("Commit after others have tried: %v", err)
	}
	c.wantBlob(repo, d, data)
}

func testWrongDigest(c *client) {
	wrong := oci.DigestOf(oci.SHA256, []byte("abd"))
	for _, resumed := range []bool{false, true} {
		u := c.start(repo)
		c.write(u, []byte("abc"))
		if resumed {
			c.close(u)
			u = c.resume(repo, u.ID())
		}
		_, err := u.Commit(c.Context(), wrong)
		c.wantCode("Commit", err, oci.DigestInvalid)
		c.wantNoUpload(repo, u.ID(), owner)
	}
	c.wantNoBlob(repo, wrong)
	c.wantNoBlob(repo, oci.DigestOf(oci.SHA256, []byte("abc")))
}

func testOver(c *client) {
	data := []byte("abc")
	d := oci.DigestOf(oci.SHA256, data)
	ends := map[string]func(registry.Upload) error{
		"Commit": func(u registry.Upload) error { _, err := u.Commit(c.Context(), d); return err },
		"Close":  func(u registry.Upload) error { return u.Close(c.Context()) },
		"Cancel": func(u registry.Upload) error { return u.Cancel(c.Context()) },
	}
	for name, end := range ends {
		u := c.start(repo)
		c.write(u, data)
		if err := end(u); err != nil {
			c.Fatalf("%s: %v", name, err)
		}
		if n, err := u.Write([]byte("more")); err == nil {
			c.Errorf("Write after %s takes %d bytes", name, n)
		}
		if _, err := u.Commit(c.Context(), d); err == nil {
			c.Errorf("Commit after %s is no error", name)
		}
	}
	c.wantBlob(repo, d, data)
}

// testOvertaken lets a writer of an upload stall and another one go on. The
// upload was closed before, because nobody else knows of it until then.
func testOvertaken(c *client) {
	data := content(3, 50_000)
	d := oci.DigestOf(oci.SHA256, data)
	calls := []struct {
		name string
		call func(registry.Upload) error
	}{
		{"Write", func(u registry.Upload) error { _, err := u.Write([]byte("late")); return err }},
		{"Close", func(u registry.Upload) error { return u.Close(c.Context()) }},
		{"Commit", func(u registry.Upload) error { _, err := u.Commit(c.Context(), d); return err }},
		{"Cancel", func(u registry.Upload) error { return u.Cancel(c.Context()) }},
	}
	for _, test := range calls {
		for _, durable := range []int64{0, 10_000} {
			what := fmt.Sprintf("%s of a writer overtaken behind %d bytes", test.name, durable)
			slow := c.start(repo)
			c.write(slow, data[:durable])
			c.close(slow)
			slow = c.resume(repo, slow.ID())
			c.write(slow, data[durable:20_000])
			fast := c.resume(repo, slow.ID())
			off := fast.Size()
			if off < durable || off > 20_000 {
				c.Fatalf("%s: the next one goes on at %d", what, off)
			}
			c.write(fast, data[off:30_000])
			if err := test.call(slow); test.name != "Cancel" || err != nil {
				c.wantCode(what, err, oci.Conflict)
			}
			c.write(fast, data[30_000:])
			if _, err := fast.Commit(c.Context(), d); err != nil {
				c.Fatalf("%s: Commit of the next one: %v", what, err)
			}
			for _, again := range calls {
				if err := again.call(slow); err == nil && again.name != "Cancel" && again.name != "Close" {
					c.Errorf("%s: %s after that succeeds", what, again.name)
				}
			}
			c.wantBlob(repo, d, data)
			c.delete(repo, d)
		}
	}
}

func (c *client) delete(name oci.Name, d oci.Digest) {
	c.Helper()
	if err := c.DeleteBlob(c.Context(), name, d); err != nil {
		c.Fatalf("DeleteBlob: %v", err)
	}
}

// testAlgorithms commits with every algorithm what was expected to come with
// every algorithm.
func testAlgorithms(c *client) {
	for i, expected := range []oci.Algorithm{"", oci.SHA256, oci.SHA512} {
		for j, used := range []oci.Algorithm{oci.SHA256, oci.SHA512} {
			data := content(uint64(10*i+j), 30_000)
			d := oci.DigestOf(used, data)
			o := registry.UploadOptions{Owner: owner, Algorithm: expected}
			u, err := c.StartUpload(c.Context(), repo, o)
			if err != nil {
				c.Fatal(err)
			}
			c.write(u, data[:10_000])
			c.close(u)
			if u, err = c.ResumeUpload(c.Context(), repo, u.ID(), o); err != nil {
				c.Fatal(err)
			}
			c.write(u, data[10_000:])
			got, err := u.Commit(c.Context(), d)
			if err != nil || got.Digest != d || got.Size != int64(len(data)) {
				c.Errorf("expected %q, used %q: Commit = %+v, %v", expected, used, got, err)
				continue
			}
			c.wantBlob(repo, d, data)

			wrong := c.start(repo)
			c.write(wrong, data[1:])
			_, err = wrong.Commit(c.Context(), d)
			c.wantCode("Commit of other bytes", err, oci.DigestInvalid)
		}
	}
}

func testMount(c *client) {
	data := content(4, 1000)
	d := c.pushBlob(other, data)
	unknown := oci.DigestOf(oci.SHA256, []byte("unknown"))
	c.pushBlob("team/third", []byte("something else"))

	refused := []struct {
		from oci.Name
		d    oci.Digest
	}{{other, unknown}, {"", unknown}, {"team/third", d}, {"team/none", d}, {repo, d}}
	for _, r := range refused {
		_, err := c.MountBlob(c.Context(), repo, r.from, r.d)
		c.wantCode(fmt.Sprintf("MountBlob from %q", r.from), err, oci.BlobUnknown)
	}
	c.wantNoBlob(repo, d)

	for i, from := range []oci.Name{other, ""} {
		to := oci.Name(fmt.Sprintf("mounted/%d", i))
		for range 2 {
			got, err := c.MountBlob(c.Context(), to, from, d)
			if err != nil || got.Digest != d || got.Size != int64(len(data)) {
				c.Errorf("MountBlob from %q = %+v, %v", from, got, err)
			}
		}
		c.wantBlob(to, d, data)
	}
	c.delete(other, d)
	c.wantNoBlob(other, d)
	c.wantBlob("mounted/0", d, data)
	_, err := c.MountBlob(c.Context(), repo, other, d)
	c.wantCode("MountBlob of what was deleted there", err, oci.BlobUnknown)
}
