package guard

import (
	"context"
	"io"
	"os"

	"berth/access"
	"berth/oci"
	"berth/registry"
)

// Blob needs pull. Whoever may only write learns that the blob is there, and
// how large it is, so that he need not send it again.
func (g *guard) Blob(ctx context.Context, repo oci.Name, d oci.Digest) (registry.Content, error) {
	pull := g.byDigest(access.Pull, repo)
	ok, err := g.allowed(ctx, pull, d)
	if err != nil {
		return nil, err
	}
	if ok {
		return g.reg.Blob(ctx, repo, d)
	}
	refusal := g.denied(pull)
	if _, err := g.write(ctx, g.byTag(access.Push, repo), ""); err != nil {
		return nil, refusal
	}
	content, err := g.reg.Blob(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	return &closed{content, refusal}, nil
}

// Manifest needs pull.
func (g *guard) Manifest(ctx context.Context, repo oci.Name, ref oci.Reference) (registry.Content, error) {
	r := g.byDigest(access.Pull, repo)
	if ref.Tag != "" {
		r = g.byTag(access.Pull, repo, ref.Tag)
	}
	if err := g.require(ctx, r, ref.Digest); err != nil {
		return nil, err
	}
	return g.reg.Manifest(ctx, repo, ref)
}

// A closed Content is described, and not read: it may be asked whether it is
// there.
type closed struct {
	content registry.Content
	refusal error
}

func (c *closed) Descriptor() oci.Descriptor { return c.content.Descriptor() }

func (c *closed) Open(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if n == 0 {
		return c.content.Open(ctx, off, 0)
	}
	return nil, c.refusal
}

func (c *closed) File() (*os.File, bool) { return nil, false }

func (c *closed) URL(context.Context) (string, error) { return "", c.refusal }

func (c *closed) Close() error { return c.content.Close() }
