package robot

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run keeps the store in order until ctx is done: every minute it writes when
// credentials were used and who their owners are, warns of those that expire
// within 14 days, and removes tokens and secrets that have been of no use for 30.
// What belongs to a user whose name another has is ended at once.
func (r *Robots) Run(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	do := r.tidy
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("robots and tokens are not kept in order", "error", err)
		}
		select {
		case <-tick.C:
			do = r.tidy
		case <-r.findings.news:
			do = r.settle
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := errors.Join(r.flush(last), r.settle(last)); err != nil {
				r.log.Error("last uses of robots and tokens are lost, or who owns them", "error", err)
			}
			return
		}
	}
}

// tidy does what Run does every minute.
func (r *Robots) tidy(ctx context.Context) error {
	r.warn()
	return errors.Join(r.flush(ctx), r.settle(ctx), r.sweep(ctx))
}

// flush writes when credentials were used since the last flush.
func (r *Robots) flush(ctx context.Context) error {
	used := make(map[string]Use)
	seen := make(map[*use]int64)
	r.mu.RLock()
	for id, e := range r.byID {
		if at := e.use.at.Load(); at != e.use.written.Load() {
			used[id], seen[e.use] = e.use.last(), at
		}
	}
	r.mu.RUnlock()
	if len(used) == 0 {
		return nil
	}
	if err := r.store.Touch(ctx, used); err != nil {
		return fmt.Errorf("write the last use of robots and tokens: %w", err)
	}
	for u, at := range seen {
		u.written.Store(at)
	}
	return nil
}

// sweep removes what expired so long ago that nobody has to be told any more.
// Robots stay: they can be renewed.
func (r *Robots) sweep(ctx context.Context) error {
	before := r.now().Add(-keptExpired)
	tokens, secrets := []Token{}, make(map[string]string) // names of robots by the ID
	r.mu.RLock()
	for _, t := range r.tokens {
		if over(t.Expires, before) {
			tokens = append(tokens, t)
		}
	}
	for _, robot := range r.robots {
		for _, s := range robot.Secrets {
			if over(s.Expires, before) {
				secrets[s.ID] = robot.Name
			}
		}
	}
	r.mu.RUnlock()
	var errs []error
	for _, t := range tokens {
		errs = append(errs, r.Tokens().Revoke(ctx, t.Owner, t.ID))
	}
	for id, name := range secrets {
		errs = append(errs, r.RevokeSecret(ctx, name, id))
	}
	for i, err := range errs {
		if errors.Is(err, ErrNotExist) { // somebody else was quicker
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

// Expiring returns how many robots and personal tokens that are of use now will
// not be in 14 days.
func (r *Robots) Expiring() int {
	n := 0
	r.expiring(func(string, string, time.Time) { n++ })
	return n
}

// ExpiresSoon reports whether what ends at end does so within 14 days, and has not
// yet.
func (r *Robots) ExpiresSoon(end time.Time) bool {
	now := r.now()
	return !over(end, now) && over(end, now.Add(soon))
}

// expiring calls f with each robot and token that expires soon: its name or ID,
// what it is, and when it ends. Secrets that were rotated end as they should.
func (r *Robots) expiring(f func(key, what string, end time.Time)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, robot := range r.robots {
		if !robot.Disabled && r.ExpiresSoon(robot.Expires) {
			f(robot.Name, "the robot "+robot.Name, robot.Expires)
		}
	}
	for id, t := range r.tokens {
		if e := r.byID[id]; e.refused == "" && r.ExpiresSoon(t.Expires) {
			f(id, e.what, t.Expires)
		}
	}
}

// warn logs each end that is near, once.
func (r *Robots) warn() {
	r.expiring(func(key, what string, end time.Time) {
		if !r.warned[key].Equal(end) {
			r.warned[key] = end
			r.log.Warn(what+" expires soon", "expires", end.UTC().Format(time.RFC3339))
		}
	})
}
