// Package job does what has to be done every now and then, on one node at a
// time.
//
// Who does a job holds its lease, which runs out when the node no longer renews
// it. Each lease has a number, the fence, that is higher than those before it:
// who writes in the name of a job compares it in the transaction that writes, so
// that a node that stood still and was overtaken can change nothing.
package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Errors of leases.
var (
	// ErrHeld: somebody else does the job now.
	ErrHeld = errors.New("the job is being done already")
	// ErrNotDue: it is not time yet.
	ErrNotDue = errors.New("the job is not due")
	// ErrLost: the lease ran out and somebody else has it, or it was given back.
	ErrLost = errors.New("somebody else has taken over the job")
)

// A Lease is the right to do a job.
type Lease struct {
	Name  string
	Fence int64
}

// A Request asks for a lease.
type Request struct {
	Name   string
	Holder string // for people
	Now    time.Time
	TTL    time.Duration
	// Done and Tried are the times since which the job must not have been done
	// whole, or tried. The zero time asks for the lease in any case.
	Done, Tried time.Time
}

// Leases keeps the leases of all nodes. It is safe for concurrent use.
type Leases interface {
	// Take takes a lease. Errors: ErrHeld, ErrNotDue.
	Take(ctx context.Context, r Request) (Lease, error)
	// Renew makes the lease last until expires. Errors: ErrLost.
	Renew(ctx context.Context, l Lease, expires time.Time) error
	// Give gives the lease back, and notes how the job ended at that time. A
	// lease that was lost is no error.
	Give(ctx context.Context, l Lease, at time.Time, how Ending) error
}

// An Ending says how a job ended.
type Ending int

// The endings.
const (
	Interrupted Ending = iota // it goes on as soon as somebody can
	Failed                    // it is tried again after a while
	Done
)

const (
	defaultTTL = time.Minute
	checkEvery = time.Minute
	// retries is how often a job that fails is tried in the time between two.
	retries = 24
)

// A Runner does jobs on this node. It is safe for concurrent use.
type Runner struct {
	Leases Leases
	Holder string           // names this node
	Now    func() time.Time // time.Now
	TTL    time.Duration    // of leases; a minute
	Log    *slog.Logger     // slog.Default()
}

// Every does a job whenever it was not done for that long, on any node, until
// ctx ends. A job that fails is tried again after a twenty-fourth of the time.
// What fails is logged.
func (r *Runner) Every(ctx context.Context, name string, every time.Duration, do func(context.Context, Lease) error) {
	tick := time.NewTicker(min(every, checkEvery))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.now()
		err := r.run(ctx, Request{Name: name, Done: now.Add(-every), Tried: now.Add(-every / retries)}, do)
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrHeld) && !errors.Is(err, ErrNotDue) {
			r.log().Error("a job failed", "job", name, "error", err)
		}
	}
}

// Once does a job now. Errors: ErrHeld, that of do.
func (r *Runner) Once(ctx context.Context, name string, do func(context.Context, Lease) error) error {
	return r.run(ctx, Request{Name: name}, do)
}

func (r *Runner) run(ctx context.Context, q Request, do func(context.Context, Lease) error) error {
	q.Holder, q.Now, q.TTL = r.Holder, r.now(), r.ttl()
	lease, err := r.Leases.Take(ctx, q)
	if err != nil {
		return fmt.Errorf("take the lease of the job %s: %w", q.Name, err)
	}
	work, stop := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		r.renew(work, lease, stop)
	}()
	err = do(work, lease)
	how := ending(ctx, err)
	if cause := context.Cause(work); err != nil && errors.Is(cause, ErrLost) {
		err = cause
	}
	stop(nil)
	<-renewed
	return errors.Join(err, r.Leases.Give(context.WithoutCancel(ctx), lease, r.now(), how))
}

func ending(ctx context.Context, err error) Ending {
	switch {
	case err == nil:
		return Done
	case ctx.Err() != nil:
		return Interrupted
	}
	return Failed
}

// renew renews the lease until ctx ends. When it is lost, or could not be
// renewed while it lasted, stop is called.
func (r *Runner) renew(ctx context.Context, l Lease, stop context.CancelCauseFunc) {
	tick := time.NewTicker(r.ttl() / 4)
	defer tick.Stop()
	expires := r.now().Add(r.ttl())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		next := r.now().Add(r.ttl())
		err := r.Leases.Renew(ctx, l, next)
		switch {
		case err == nil:
			expires = next
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrLost) || r.now().After(expires):
			stop(fmt.Errorf("%w: %w", ErrLost, err))
			return
		}
	}
}

func (r *Runner) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}

func (r *Runner) ttl() time.Duration {
	if r.TTL == 0 {
		return defaultTTL
	}
	return r.TTL
}

func (r *Runner) log() *slog.Logger {
	if r.Log == nil {
		return slog.Default()
	}
	return r.Log
}
