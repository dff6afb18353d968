package local

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"berth/blob/memory"
	"berth/meta"
	"berth/oci"
)

// unsure returns content of which nobody knows whether it has the digest.
func unsure(t *testing.T, stored []byte, d oci.Digest) *blobContent {
	t.Helper()
	r := openRegistry(t, memory.New(), openDB(t), Options{})
	if _, err := r.storeBytes(t.Context(), "k", stored); err != nil {
		t.Fatal(err)
	}
	o, err := r.store.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	return &blobContent{r: r, object: o, row: meta.Blob{Digest: d, Size: int64(len(stored)), Key: "k"}}
}

func TestVerifier(t *testing.T) {
	for _, size := range []int{0, 1, heldBack - 1, heldBack, heldBack + 1, 3*heldBack + 7} {
		content := bytes.Repeat([]byte("abcdefg"), size)[:size]
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"as it comes":  func(r io.Reader) io.Reader { return r },
			"byte by byte": iotest.OneByteReader,
			"half a time":  iotest.HalfReader,
		} {
			c := unsure(t, content, oci.DigestOf(oci.SHA512, content))
			rc, err := c.Open(t.Context(), 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(wrap(rc)); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %s: got %d, %v", size, name, len(got), err)
			}
			if n, err := rc.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%d bytes, %s: after the end: %d, %v", size, name, n, err)
			}
			if !c.whole {
				t.Errorf("%d bytes, %s: read, and not known to be whole", size, name)
			}
		}
		if size == 0 {
			continue
		}
		c := unsure(t, content, digest("other"))
		rc, err := c.Open(t.Context(), 0, int64(size))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(rc))
		if err == nil || len(got) >= size || c.whole {
			t.Errorf("%d damaged bytes: got %d, %v", size, len(got), err)
		}
	}
}
