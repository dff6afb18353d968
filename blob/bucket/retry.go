package bucket

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 100 * time.Millisecond
	maxPause   = 10 * time.Second
	maxAsked   = 30 * time.Second // of what a store asks for
)

// Pause waits before another try: after the nth, counted from 0, a random time
// below firstPause times 2 to the n, and what the store asks for before.
// Errors: those of the context.
func Pause(ctx context.Context, n int, asked time.Duration) error {
	limit := min(firstPause<<min(n, 10), maxPause)
	timer := time.NewTimer(min(asked, maxAsked) + rand.N(limit))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
