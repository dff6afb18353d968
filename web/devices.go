package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"time"

	"berth/auth"
	"berth/auth/session"
)

// How logins of command lines are bounded.
const (
	deviceTime   = 10 * time.Minute // between the beginning and the confirmation
	pollInterval = 5 * time.Second
	maxDevices   = 1000 // open at a time
	maxBegun     = 10   // by one address, in ten minutes
	maxGuesses   = 10   // wrong codes of one user, in ten minutes
	maxLimited   = 10_000

	// Without vowels no code is a word. 20^8 codes are 34 bits.
	codeLetters = "BCDFGHJKLMNPQRSTVWXZ"
	codeSize    = 8
)

// Errors of a poll are the codes of RFC 8628, section 3.5.
var (
	errPending  = errors.New("authorization_pending")
	errSlowDown = errors.New("slow_down")
	errExpired  = errors.New("expired_token")
	errDenied   = errors.New("access_denied")
)

// devices are the logins that are open.
type devices struct {
	now   func() time.Time
	store session.DeviceStore
	begun *limiter

	mu    sync.Mutex
	polls map[[sha256.Size]byte]polls // of this node
}

// polls is how a client asks.
type polls struct {
	last     time.Time
	interval time.Duration
}

func newDevices(store session.DeviceStore, now func() time.Time) *devices {
	return &devices{now: now, store: store, begun: newLimiter(maxBegun, deviceTime, now), polls: make(map[[sha256.Size]byte]polls)}
}

// since is when logins began at the earliest that are not over.
func (ds *devices) since() time.Time { return ds.now().Add(-deviceTime) }

// begin opens a login, and returns its device code, which is not kept. Where
// there are too many, it returns how long to wait.
func (ds *devices) begin(ctx context.Context, client string, addr netip.Addr) (secret string, d session.Device, wait time.Duration, err error) {
	key := network(addr)
	if wait := ds.begun.spent(key); wait > 0 {
		return "", d, wait, nil
	}
	ds.begun.count(key)
	secret = rand.Text() + rand.Text()
	hash := sha256.Sum256([]byte(secret))
	d = session.Device{Hash: hash[:], Client: client, Addr: addr, Began: ds.now()}
	for err = session.ErrCodeTaken; errors.Is(err, session.ErrCodeTaken); {
		d.Code = newCode()
		err = ds.store.AddDevice(ctx, d, ds.since(), maxDevices)
	}
	if errors.Is(err, session.ErrTooMany) {
		return "", d, time.Minute, nil
	}
	return secret, d, 0, err
}

// find returns the open login of a user code. Errors: session.ErrNotExist.
func (ds *devices) find(ctx context.Context, code string) (session.Device, error) {
	d, err := ds.store.Device(ctx, code, ds.since())
	if err == nil && d.Decision != session.Undecided {
		err = session.ErrNotExist
	}
	return d, err
}

// decide lets an open login in as user, or not. Errors: session.ErrNotExist.
func (ds *devices) decide(ctx context.Context, code string, user auth.Identity, allow bool) error {
	d := session.Device{Code: code, Decision: session.Denied, User: user.Subject, Version: user.Version}
	if allow {
		d.Decision = session.Allowed
	}
	return ds.store.DecideDevice(ctx, d, ds.since())
}

// poll returns a login that was let in, once. Errors: errPending, errSlowDown,
// errExpired, errDenied; any other when the store does not answer.
func (ds *devices) poll(ctx context.Context, secret string) (session.Device, error) {
	hash := sha256.Sum256([]byte(secret))
	if ds.early(hash) {
		return session.Device{}, errSlowDown
	}
	d, err := ds.store.TakeDevice(ctx, hash[:], ds.since())
	switch {
	case errors.Is(err, session.ErrNotExist):
		return d, errExpired
	case err != nil:
		return d, err
	case d.Decision == session.Undecided:
		return d, errPending
	case d.Decision != session.Allowed:
		return d, errDenied
	}
	return d, nil
}

// early reports whether a client asks again too early: then its interval grows.
func (ds *devices) early(hash [sha256.Size]byte) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	now := ds.now()
	p, known := ds.polls[hash]
	if !known {
		ds.forget(now)
		p.interval = pollInterval
	}
	early := known && now.Sub(p.last) < p.interval-time.Second // the network is not exact
	if early {
		p.interval += pollInterval
	}
	p.last = now
	ds.polls[hash] = p
	return early
}

// forget makes room where too many clients ask, many of whom may ask for nothing.
func (ds *devices) forget(now time.Time) {
	if len(ds.polls) < maxLimited {
		return
	}
	maps.DeleteFunc(ds.polls, func(_ [sha256.Size]byte, p polls) bool { return now.Sub(p.last) > p.interval })
	if len(ds.polls) >= maxLimited {
		clear(ds.polls)
	}
}

func newCode() string {
	var b strings.Builder
	for range codeSize {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(codeLetters))))
		if err != nil {
			panic(err) // it never happens
		}
		b.WriteByte(codeLetters[n.Int64()])
	}
	return b.String()
}

// spacedCode shows a code as people read it.
func spacedCode(code string) string { return code[:codeSize/2] + "-" + code[codeSize/2:] }

// plainCode returns what somebody typed as a code.
func plainCode(s string) string {
	return strings.Map(func(r rune) rune {
		if !strings.ContainsRune(codeLetters, r) {
			return -1
		}
		return r
	}, strings.ToUpper(s))
}

// network returns what counts as one address: an IPv6 host has 2^64 of them.
func network(a netip.Addr) string {
	if a.Is6() && !a.Is4In6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.Unmap().String()
}

// A limiter counts what somebody does within a window that begins with the first
// time. It is safe for concurrent use.
type limiter struct {
	most   int
	window time.Duration
	now    func() time.Time
	mu     sync.Mutex
	counts map[string]tally
}

type tally struct {
	began time.Time
	n     int
}

func newLimiter(most int, window time.Duration, now func() time.Time) *limiter {
	return &limiter{most: most, window: window, now: now, counts: make(map[string]tally)}
}

// spent returns how long to wait, zero when there is something left.
func (l *limiter) spent(who string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.counts[who]
	if left := t.began.Add(l.window).Sub(l.now()); t.n >= l.most && left > 0 {
		return left
	}
	return 0
}

// count counts one.
func (l *limiter) count(who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.counts) >= maxLimited {
		for who, t := range l.counts {
			if now.Sub(t.began) > l.window {
				delete(l.counts, who)
			}
		}
	}
	t := l.counts[who]
	if now.Sub(t.began) > l.window {
		t = tally{began: now}
	}
	t.n++
	if _, known := l.counts[who]; known || len(l.counts) < maxLimited {
		l.counts[who] = t
	}
}
