package web

import (
	"sync"
	"time"
)

// maxUsed is how many sign-ins are remembered as ended. Of more, the oldest is
// forgotten: nobody is shut out, and its code is good once at the provider too.
const maxUsed = 100_000

// used remembers which sign-ins are ending, and which have let somebody in, as
// long as their cookies are good. One that came to nothing is not remembered:
// there is nothing in it that could be had twice, and anybody can begin as many
// as he likes. It is safe for concurrent use.
type used struct {
	now   func() time.Time
	mu    sync.Mutex
	until map[string]time.Time // by state; the zero time while it is ending
	order []string             // states that let somebody in, the oldest first
}

// begin reports whether a sign-in may end now: it is not doing so already, and
// has let nobody in. Then end has to be called.
func (u *used) begin(state string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil {
		u.until = make(map[string]time.Time)
	}
	if _, ok := u.until[state]; ok {
		return false
	}
	u.until[state] = time.Time{}
	return true
}

// end says what came of a sign-in whose cookie is good until then.
func (u *used) end(state string, in bool, until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !in {
		delete(u.until, state)
		return
	}
	u.until[state] = until
	u.order = append(u.order, state)
	for now := u.now(); len(u.order) > maxUsed || len(u.order) > 0 && !now.Before(u.until[u.order[0]]); {
		delete(u.until, u.order[0])
		u.order = u.order[1:]
	}
}
