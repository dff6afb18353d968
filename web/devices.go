package web

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"
	"net/netip"
	"strings"
	"sync"
	"time"

	"berth/auth"
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

// A device is the login of one command line.
type device struct {
	secret   string // the device code; not kept
	code     string // the user code
	client   string
	addr     netip.Addr
	began    time.Time
	interval time.Duration
	polled   time.Time
	decided  bool
	user     auth.Identity // who let it in, nobody when it was denied
}

// devices are the logins that are open. They die with the process.
type devices struct {
	now      func() time.Time
	begun    *limiter
	mu       sync.Mutex
	bySecret map[[sha256.Size]byte]*device
	byCode   map[string]*device
}

func newDevices(now func() time.Time) *devices {
	return &devices{
		now: now, begun: newLimiter(maxBegun, deviceTime, now),
		bySecret: make(map[[sha256.Size]byte]*device), byCode: make(map[string]*device),
	}
}

// begin opens a login. Where there are too many, it returns how long to wait.
func (ds *devices) begin(client string, addr netip.Addr) (device, time.Duration) {
	key := network(addr)
	if wait := ds.begun.spent(key); wait > 0 {
		return device{}, wait
	}
	ds.begun.count(key)
	ds.mu.Lock()
	defer ds.mu.Unlock()
	ds.sweep()
	if len(ds.bySecret) >= maxDevices {
		return device{}, time.Minute
	}
	code := newCode()
	for ds.byCode[code] != nil {
		code = newCode()
	}
	d := &device{code: code, client: client, addr: addr, began: ds.now(), interval: pollInterval}
	secret := rand.Text() + rand.Text()
	ds.bySecret[sha256.Sum256([]byte(secret))] = d
	ds.byCode[code] = d
	shownOnce := *d
	shownOnce.secret = secret
	return shownOnce, 0
}

// sweep forgets logins that are over. They are told so for a minute.
func (ds *devices) sweep() {
	for hash, d := range ds.bySecret {
		if ds.now().Sub(d.began) > deviceTime+time.Minute {
			ds.forget(hash, d)
		}
	}
}

func (ds *devices) forget(hash [sha256.Size]byte, d *device) {
	delete(ds.bySecret, hash)
	delete(ds.byCode, d.code)
}

func (ds *devices) open(d *device) bool {
	return d != nil && !d.decided && ds.now().Sub(d.began) <= deviceTime
}

// find returns the open login of a user code.
func (ds *devices) find(code string) (device, bool) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byCode[code]
	if !ds.open(d) {
		return device{}, false
	}
	return *d, true
}

// decide lets an open login in as user, or not. It reports whether there was
// one.
func (ds *devices) decide(code string, user auth.Identity, allow bool) bool {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	d := ds.byCode[code]
	if !ds.open(d) {
		return false
	}
	d.decided = true
	if allow {
		d.user = user
	}
	return true
}

// poll returns a login that was let in, once. Errors: errPending, errSlowDown,
// errExpired, errDenied.
func (ds *devices) poll(secret string) (device, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	now, hash := ds.now(), sha256.Sum256([]byte(secret))
	d := ds.bySecret[hash]
	if d == nil {
		return device{}, errExpired
	}
	early := !d.polled.IsZero() && now.Sub(d.polled) < d.interval-time.Second // the network is not exact
	d.polled = now
	switch {
	case now.Sub(d.began) > deviceTime:
		ds.forget(hash, d)
		return device{}, errExpired
	case early:
		d.interval += pollInterval
		return device{}, errSlowDown
	case !d.decided:
		return device{}, errPending
	}
	ds.forget(hash, d)
	if d.user.Anonymous() {
		return device{}, errDenied
	}
	return *d, nil
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
