package auth

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// How much may be guessed. The window of a guesser begins with its first wrong
// password.
const (
	wrongPerAccount = 10 // by account and address
	wrongPerAddress = 50
	wrongWindow     = time.Minute
	maxGuessers     = 50_000 // remembered at a time
)

// A throttle counts wrong passwords. What is being checked holds a place until
// it turns out right or wrong, and whoever finds no place waits for one: so
// neither do parallel guesses exceed the limit, nor are right passwords refused
// because many come at once.
type throttle struct {
	perAccount, perAddress int
	now                    func() time.Time

	mu       sync.Mutex
	guessers map[guesser]*window
	swept    time.Time
	freed    chan struct{} // closed and replaced when a place is given back
}

// A guesser is an address, alone or with one account that it tries.
type guesser struct {
	addr netip.Addr
	user string
}

type window struct {
	began   time.Time // at the first of the wrong ones
	wrong   int
	pending int // being checked now
}

func newThrottle(perAccount, perAddress int, now func() time.Time) *throttle {
	return &throttle{
		perAccount: perAccount,
		perAddress: perAddress,
		now:        now,
		guessers:   make(map[guesser]*window),
		freed:      make(chan struct{}),
	}
}

// Network returns what counts as one address: an IPv6 host has 2^64 of them.
func Network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// begin takes a place for c, and returns the function that gives it back and
// says whether the password was wrong.
// Errors: *ThrottledError, the context's while it waits.
func (t *throttle) begin(ctx context.Context, c Credentials) (end func(wrong bool), err error) {
	for {
		p, freed, err := t.take(c)
		if err != nil {
			return nil, err
		}
		if freed == nil {
			return func(wrong bool) { t.give(p, wrong) }, nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// A place is the windows in which one attempt counts.
type place struct {
	byAccount, byAddress guesser
	account, address     *window
}

// take takes a place, or returns the channel to wait on.
func (t *throttle) take(c Credentials) (p place, freed <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err = t.find(c)
	if err != nil {
		return place{}, nil, err
	}
	if p.account.wrong+p.account.pending >= t.perAccount || p.address.wrong+p.address.pending >= t.perAddress {
		return place{}, t.freed, nil
	}
	p.account.pending++
	p.address.pending++
	t.keep(p)
	return p, nil, nil
}

// give gives a place back.
func (t *throttle) give(p place, wrong bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.account.pending--
	p.address.pending--
	if wrong {
		t.add(p)
	}
	t.forget(p.byAccount, p.account)
	t.forget(p.byAddress, p.address)
	close(t.freed)
	t.freed = make(chan struct{})
}

// count counts a password that is known to be wrong.
// Errors: *ThrottledError.
func (t *throttle) count(c Credentials) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.find(c)
	if err != nil {
		return err
	}
	t.add(p)
	t.keep(p)
	return nil
}

// find returns the place of c, which is not yet kept when it is new: who is
// refused or waits shall not fill the memory.
// Errors: *ThrottledError when a window is full, and for whoever is new when
// too many guessers are remembered, so that nobody's count is lost.
func (t *throttle) find(c Credentials) (place, error) {
	now := t.now()
	if now.Sub(t.swept) > wrongWindow {
		t.sweep(now)
	}
	addr := Network(c.Addr)
	p := place{byAccount: guesser{addr, c.User}, byAddress: guesser{addr, ""}}
	var known, alsoKnown bool
	p.address, known = t.window(p.byAddress, now)
	p.account, alsoKnown = t.window(p.byAccount, now)
	switch {
	case p.address.wrong >= t.perAddress:
		return place{}, p.address.throttled(now)
	case p.account.wrong >= t.perAccount:
		return place{}, p.account.throttled(now)
	case !(known && alsoKnown) && len(t.guessers)+2 > maxGuessers:
		return place{}, &ThrottledError{RetryAfter: wrongWindow}
	}
	return p, nil
}

// window returns the current window of g, and whether it is kept.
func (t *throttle) window(g guesser, now time.Time) (w *window, kept bool) {
	w, kept = t.guessers[g]
	if !kept {
		return &window{}, false
	}
	if w.over(now) {
		w.wrong = 0
	}
	return w, true
}

func (t *throttle) keep(p place) {
	t.guessers[p.byAccount] = p.account
	t.guessers[p.byAddress] = p.address
}

// add counts one wrong password in both windows of p.
func (t *throttle) add(p place) {
	for _, w := range []*window{p.account, p.address} {
		if w.wrong == 0 {
			w.began = t.now()
		}
		w.wrong++
	}
}

// forget drops a window that holds nothing.
func (t *throttle) forget(g guesser, w *window) {
	if w.wrong == 0 && w.pending == 0 && t.guessers[g] == w {
		delete(t.guessers, g)
	}
}

func (t *throttle) sweep(now time.Time) {
	t.swept = now
	for g, w := range t.guessers {
		if w.pending == 0 && (w.wrong == 0 || w.over(now)) {
			delete(t.guessers, g)
		}
	}
}

func (w *window) over(now time.Time) bool { return now.Sub(w.began) >= wrongWindow }

// throttled returns the error of a full window, in whole seconds.
func (w *window) throttled(now time.Time) error {
	wait := w.began.Add(wrongWindow).Sub(now)
	return &ThrottledError{RetryAfter: max(time.Second, (wait + time.Second - 1).Truncate(time.Second))}
}
