package local

import (
	"context"
	"fmt"
	"sync"
	"time"

	"berth/meta"
)

const (
	// pullStep is how exactly it is known when a manifest was last read, or a
	// leasePart of the grace when that is less.
	pullStep = time.Hour
	// pullBatch is how many of these times one transaction writes, and maxPulls
	// how many are remembered.
	pullBatch = 200
	maxPulls  = 100_000
)

// pulls gathers when manifests were read. The zero value is empty.
type pulls struct {
	mu      sync.RWMutex
	noted   map[blobName]time.Time // also those that were written
	waiting []meta.Pull
}

// note notes a pull, at most one of each manifest in a step.
func (p *pulls) note(name blobName, now time.Time, step time.Duration) {
	if now.Sub(p.last(name)) < step {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noted == nil || len(p.noted) >= maxPulls {
		p.noted = make(map[blobName]time.Time)
	}
	if len(p.waiting) < maxPulls {
		p.noted[name] = now
		p.waiting = append(p.waiting, meta.Pull{Repository: name.repo, Digest: name.digest, Time: now})
	}
}

// last returns when the manifest was last read, as far as that is remembered.
func (p *pulls) last(name blobName) time.Time {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.noted[name]
}

// take returns what was not written yet.
func (p *pulls) take() []meta.Pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.waiting
	p.waiting = nil
	return list
}

// putBack is for what could not be written.
func (p *pulls) putBack(list []meta.Pull) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(list, p.waiting...)
}

// WritePulls writes when manifests were last read.
func (r *Registry) WritePulls(ctx context.Context) error {
	list := r.pulls.take()
	for len(list) > 0 {
		n := min(len(list), pullBatch)
		err := r.db.Grow(ctx, func(tx *meta.Tx) error {
			for _, p := range list[:n] {
				if err := tx.NotePull(p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			r.pulls.putBack(list)
			return fmt.Errorf("note when manifests were read: %w", err)
		}
		list = list[n:]
	}
	return nil
}
