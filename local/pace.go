package local

import (
	"context"
	"io"
	"time"
)

// A pacer bounds how fast something goes on. One without a rate bounds nothing. It
// is not safe for concurrent use.
type pacer struct {
	rate int64 // bytes a second
	next time.Time
}

// maxHaste is how far ahead of its rate a pacer lets go on before it waits.
const maxHaste = 50 * time.Millisecond

// wait waits for as long as n bytes take.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.rate <= 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	ahead := p.next.Sub(now)
	if ahead < maxHaste {
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// A pacedReader reads as fast as a pacer lets it.
type pacedReader struct {
	ctx  context.Context
	r    io.Reader
	pace *pacer
}

func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if waitErr := p.pace.wait(p.ctx, n); err == nil {
		err = waitErr
	}
	return n, err
}
