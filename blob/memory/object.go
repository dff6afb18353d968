package memory

import (
	"bytes"
	"context"
	"io"
	"os"

	"berth/blob"
)

// An object holds the bytes of a committed stream.
type object struct {
	data  []byte
	stamp string
}

func (o *object) Info() blob.Info        { return blob.Info{Size: int64(len(o.data)), Stamp: o.stamp} }
func (o *object) File() (*os.File, bool) { return nil, false }
func (o *object) Close() error           { return nil }

func (o *object) Range(_ context.Context, off, n int64) (io.ReadCloser, error) {
	n, err := blob.CheckRange(int64(len(o.data)), off, n)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(o.data[off : off+n])), nil
}
