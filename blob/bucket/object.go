package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"berth/blob"
)

// reopened is how often in a row a read asks for its bytes anew.
const reopened = 3

// Open implements blob.Store. It asks for what the object is, and not yet for
// its bytes.
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	info, err := s.bucket.Stat(ctx, s.name(key))
	if err != nil {
		return nil, fmt.Errorf("open blob %s: %w", key, err)
	}
	return &object{store: s, key: key, info: info, seen: true}, nil
}

// Recall implements blob.Recaller.
func (s *Store) Recall(key string, info blob.Info) blob.Object {
	return &object{store: s, key: key, info: info}
}

// An object is one that was there when it was opened, or should be. Its bytes are
// read only as long as it is the same one.
type object struct {
	store *Store
	key   string
	info  blob.Info
	seen  bool // the store was asked
}

func (o *object) Info() blob.Info        { return o.info }
func (o *object) File() (*os.File, bool) { return nil, false }
func (o *object) Close() error           { return nil }

// Range implements blob.Object.
func (o *object) Range(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	n, err := blob.CheckRange(o.info.Size, off, n)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		if err := o.look(ctx); err != nil {
			return nil, fmt.Errorf("read blob %s: %w", o.key, err)
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	r := &reader{store: o.store, name: o.store.name(o.key), stamp: o.info.Stamp, ctx: ctx, off: off, n: n}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", o.key, err)
	}
	return r, nil
}

// look asks whether the object is there, unless that is known.
func (o *object) look(ctx context.Context) error {
	if o.seen {
		return nil
	}
	now, err := o.store.bucket.Stat(ctx, o.store.name(o.key))
	if err == nil && now != o.info {
		err = ErrChanged
	}
	return err
}

// A reader reads a range, and where the connection breaks it goes on with
// another one: the bytes are the same.
type reader struct {
	store       *Store
	name, stamp string
	ctx         context.Context
	off, n      int64         // what is still to be read
	body        io.ReadCloser // nil when there is none
	tries       int           // in a row, without a byte
}

func (r *reader) open() (err error) {
	body, err := r.store.bucket.Get(r.ctx, r.name, r.stamp, r.off, r.n)
	if err == nil {
		r.body = body
	}
	return err
}

func (r *reader) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.n)]
	for len(p) > 0 {
		if r.body == nil {
			if err := r.open(); err != nil {
				return 0, fmt.Errorf("read object %s: %w", r.name, err)
			}
		}
		n, err := r.body.Read(p)
		if n > 0 {
			r.off, r.n, r.tries = r.off+int64(n), r.n-int64(n), 0
			return n, nil
		}
		if err == nil {
			continue
		}
		r.Close() // nothing more is to be had from it
		if r.tries++; r.tries > reopened || r.ctx.Err() != nil {
			return 0, r.broken(err)
		}
	}
	return 0, nil
}

func (r *reader) broken(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read object %s: %w", r.name, err)
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	err := r.body.Close()
	r.body = nil
	return err
}
