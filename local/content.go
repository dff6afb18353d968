package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"berth/blob"
	"berth/meta"
	"berth/oci"
)

// errDamaged ends a read of bytes that are not those of their digest.
var errDamaged = errors.New("the stored bytes are damaged")

// A blobContent is a blob, open. Until whole is set, nobody knows that the bytes
// are those of the digest.
type blobContent struct {
	r      *Registry
	row    meta.Blob
	object blob.Object
	whole  bool
	stamp  bool // the row has still to be given the stamp of the object
	// recalled: nobody has looked whether the bytes are there. Reading them finds
	// out.
	recalled bool
}

func (c *blobContent) Descriptor() oci.Descriptor { return describeBlob(c.row) }

func describeBlob(b meta.Blob) oci.Descriptor {
	return oci.Descriptor{MediaType: oci.MediaTypeOctetStream, Digest: b.Digest, Size: b.Size}
}

// Open implements registry.Content.
func (c *blobContent) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	rc, err := c.open(ctx, off, n)
	if c.recalled && (errors.Is(err, blob.ErrNotExist) || errors.Is(err, blob.ErrChanged)) {
		if err := c.look(ctx); err != nil {
			return nil, err
		}
		return c.open(ctx, off, n)
	}
	return rc, err
}

// look opens what was recalled, and is not what it was.
func (c *blobContent) look(ctx context.Context) error {
	now, err := c.r.openBlob(ctx, c.row)
	if errors.Is(err, errDamaged) {
		return noBlob()
	}
	if err != nil {
		return err
	}
	err = c.object.Close()
	*c = *now
	return err
}

// open opens the bytes. What has to be checked is checked on its way; a part of
// it only after all of it was read once, and no bytes not at all.
func (c *blobContent) open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if !c.whole && n != 0 && (off != 0 || n >= 0 && n != c.row.Size) {
		if err := c.verify(ctx); err != nil {
			return nil, err
		}
	}
	if !c.whole && n != 0 {
		return c.verifier(ctx)
	}
	rc, err := c.object.Range(ctx, off, n)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", c.row.Digest, err)
	}
	return rc, nil
}

// verify reads all, and returns nil when it is whole. Errors: errDamaged.
func (c *blobContent) verify(ctx context.Context) error {
	v, err := c.verifier(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, v)
	return errors.Join(err, v.Close())
}

func (c *blobContent) verifier(ctx context.Context) (*verifier, error) {
	rc, err := c.object.Range(ctx, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", c.row.Digest, err)
	}
	return &verifier{rc: rc, content: c, hash: c.row.Digest.Algorithm().New(), left: c.row.Size}, nil
}

// File implements registry.Content.
func (c *blobContent) File() (*os.File, bool) {
	if !c.whole {
		return nil, false
	}
	return c.object.File()
}

// URL implements registry.Content. What has to be checked has no address; the rest
// has one once it is known to be there.
func (c *blobContent) URL(ctx context.Context) (string, error) {
	lifetime := c.r.o.URLLifetime
	if lifetime == 0 {
		return "", nil
	}
	if c.recalled {
		rc, err := c.Open(ctx, 0, 0)
		if err != nil {
			return "", err
		}
		rc.Close()
	}
	if !c.whole {
		return "", nil
	}
	return c.r.store.URL(ctx, c.row.Key, lifetime)
}

// Close implements registry.Content. It notes what was learned of the bytes.
func (c *blobContent) Close() error {
	err := c.object.Close()
	if c.stamp {
		c.stamp = false
		return errors.Join(err, c.r.restamp(c.row, c.object.Info()))
	}
	return err
}

// A verifier reads a blob that may be damaged. It holds the end back until the
// bytes are known to be right.
type verifier struct {
	rc      io.ReadCloser
	content *blobContent
	hash    hash.Hash
	left    int64  // bytes that were not read from rc yet
	tail    []byte // the end, which was checked
	err     error
}

const heldBack = 32 << 10 // bytes, less when the blob is smaller

func (v *verifier) Read(p []byte) (int, error) {
	switch {
	case v.err != nil:
		return 0, v.err
	case v.left > heldBack:
		p = p[:min(int64(len(p)), v.left-heldBack)]
		n, err := v.rc.Read(p)
		v.hash.Write(p[:n])
		v.left -= int64(n)
		if err != nil && v.left > 0 {
			v.fail(err)
		}
		return n, v.err
	case v.tail == nil:
		if v.readTail(); v.err != nil {
			return 0, v.err
		}
	}
	n := copy(p, v.tail)
	v.tail = v.tail[n:]
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// readTail reads the end and compares the digest.
func (v *verifier) readTail() {
	tail := make([]byte, v.left)
	if _, err := io.ReadFull(v.rc, tail); err != nil {
		v.fail(err)
		return
	}
	v.left = 0
	v.hash.Write(tail)
	c := v.content
	if oci.SumDigest(c.row.Digest.Algorithm(), v.hash) != c.row.Digest {
		c.r.noteDamage(c.row, c.object.Info().Stamp, "its bytes have another digest")
		v.fail(errDamaged)
		return
	}
	v.tail = tail
	c.whole, c.stamp = true, true
}

func (v *verifier) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	v.err = fmt.Errorf("read blob %s: %w", v.content.row.Digest, err)
}

func (v *verifier) Close() error { return v.rc.Close() }

// A manifestContent is a manifest in memory, checked.
type manifestContent struct {
	descriptor oci.Descriptor
	data       []byte
}

func (c manifestContent) Descriptor() oci.Descriptor { return c.descriptor }

// Open implements registry.Content.
func (c manifestContent) Open(_ context.Context, off, n int64) (io.ReadCloser, error) {
	n, err := blob.CheckRange(int64(len(c.data)), off, n)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(c.data[off : off+n])), nil
}

func (manifestContent) File() (*os.File, bool)              { return nil, false }
func (manifestContent) URL(context.Context) (string, error) { return "", nil }
func (manifestContent) Close() error                        { return nil }
