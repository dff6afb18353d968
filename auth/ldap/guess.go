package ldap

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"berth/auth"
)

// How wrong passwords are remembered.
const (
	rememberWrong  = time.Minute      // the same one is not shown to the directory again
	attemptsWindow = 10 * time.Minute // in which Options.Attempts count
	maxRemembered  = 10_000
	maxGuessers    = 50_000
	maxAddresses   = 8 // from which a user is known to log in
)

// A proof stands for a user and a password: HMAC-SHA-256 under a key of this
// process.
type proof [sha256.Size]byte

// A keyer makes proofs.
type keyer []byte

func newKeyer() keyer {
	k := make(keyer, sha256.Size)
	rand.Read(k) // never fails
	return k
}

func (k keyer) proof(password auth.Secret, who ...string) proof {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(strings.Join(append(who, password.Reveal()), "\x00")))
	return proof(mac.Sum(nil))
}

// A guesser is whose wrong passwords are counted together: those for a user
// from an address that he is known to log in from, or from all others.
type guesser struct {
	user string
	addr netip.Addr // zero for all others
}

// An attempts is what is counted of a guesser. What is being verified holds a
// place until it turns out right or wrong, so that guesses at the same time do
// not pass together.
type attempts struct {
	began   time.Time
	wrong   int
	pending int
}

// guesses bounds how many wrong passwords reach the directory, so that neither
// the directory locks a user out nor a stranger does. It is safe for concurrent
// use.
type guesses struct {
	most  int
	now   func() time.Time
	known *otter.Cache[string, []netip.Addr] // addresses of right logins by user

	mu    sync.Mutex
	count map[guesser]*attempts
	swept time.Time
	freed chan struct{} // closed and replaced when a place is given back
}

func newGuesses(most int, now func() time.Time) *guesses {
	return &guesses{
		most:  most,
		now:   now,
		known: otter.Must(&otter.Options[string, []netip.Addr]{MaximumSize: maxRemembered}),
		count: make(map[guesser]*attempts),
		freed: make(chan struct{}),
	}
}

// begin takes a place for a password of user, and returns the function that
// gives it back and says whether it was right or wrong, or neither.
// Errors: *auth.ThrottledError, the context's while it waits.
func (g *guesses) begin(ctx context.Context, user string, addr netip.Addr) (end func(error), err error) {
	addr = network(addr)
	who := guesser{user: user}
	if known, _ := g.known.GetIfPresent(user); slices.Contains(known, addr) {
		who.addr = addr
	}
	for {
		wait, err := g.take(who)
		if err != nil {
			return nil, err
		}
		if wait == nil {
			return func(result error) { g.give(who, addr, result) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take takes a place, or returns the channel to wait on.
func (g *guesses) take(who guesser) (wait <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if now.Sub(g.swept) > attemptsWindow {
		g.swept = now
		for k, a := range g.count {
			if a.pending == 0 && a.over(now) {
				delete(g.count, k)
			}
		}
	}
	a := g.count[who]
	switch {
	case a == nil && len(g.count) >= maxGuessers: // nobody's count is given up for a new one
		return nil, &auth.ThrottledError{RetryAfter: attemptsWindow}
	case a == nil:
		a = new(attempts)
		g.count[who] = a
	case a.over(now):
		a.wrong = 0
	}
	if a.wrong >= g.most {
		left := a.began.Add(attemptsWindow).Sub(now)
		return nil, &auth.ThrottledError{RetryAfter: max(time.Second, (left + time.Second - 1).Truncate(time.Second))}
	}
	if a.wrong+a.pending >= g.most {
		return g.freed, nil
	}
	a.pending++
	return nil, nil
}

// give gives a place back.
func (g *guesses) give(who guesser, addr netip.Addr, result error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.count[who]
	a.pending--
	switch {
	case isWrong(result):
		if a.wrong == 0 {
			a.began = g.now()
		}
		a.wrong++
	case result == nil:
		if who.addr.IsValid() {
			a.wrong = 0 // his own slips of the finger
		}
		g.learn(who.user, addr)
	}
	if a.wrong == 0 && a.pending == 0 {
		delete(g.count, who)
	}
	close(g.freed)
	g.freed = make(chan struct{})
}

// learn remembers that a user logs in from an address.
func (g *guesses) learn(user string, addr netip.Addr) {
	known, _ := g.known.GetIfPresent(user)
	if !addr.IsValid() || slices.Contains(known, addr) {
		return
	}
	if len(known) == maxAddresses {
		known = known[1:]
	}
	g.known.Set(user, append(slices.Clone(known), addr))
}

func (a *attempts) over(now time.Time) bool { return now.Sub(a.began) >= attemptsWindow }

// isWrong reports whether a password was wrong. One that has expired was right.
func isWrong(err error) bool {
	var rejected *auth.RejectedError
	return errors.As(err, &rejected) && rejected.Told == ""
}

// network returns what counts as one address: an IPv6 host has 2^64 of them.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}
