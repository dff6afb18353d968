package audit

import (
	"net/netip"
	"time"

	"berth/oci"
)

// How much is written one by one of what anybody may cause as often as he
// likes.
const (
	foldTime       = 10 * time.Second // in which equal events become one line
	foldPerAddress = 100              // lines of one address in that time; further ones become one
	foldMost       = 1000             // lines of all addresses in that time; likewise

	// What fails or is refused asks nobody for leave: of that, less goes on for
	// long, so that a flood does not push out what was written before it.
	failTime       = time.Hour
	failPerAddress = 500  // lines of one address in that time
	failMost       = 3000 // lines of all addresses in that time
)

// alike holds what events have in common that become one line. Events that are
// too many to be told apart have less in common.
type alike struct {
	kind       Kind
	result     Result
	user       string
	credential string
	address    netip.Addr
	repository string
	content    oci.Digest // of pulls: of each as many as there were
	scope      string     // of tokens
}

// A fold gathers events that are alike.
type fold struct {
	last  Event // Count is how many have not been written
	until time.Time
	mixed bool // they are alike in little
}

// A folder finds the events that are to become one line. It is of one goroutine.
type folder struct {
	open      map[alike]*fold
	addresses map[netip.Addr]int // folds that are not mixed
	failures  failures
}

func newFolder() *folder {
	return &folder{open: make(map[alike]*fold), addresses: make(map[netip.Addr]int)}
}

// failures counts the lines of what failed or was refused, within failTime since
// the first of them.
type failures struct {
	began     time.Time
	all       int
	addresses map[netip.Addr]int
}

// begin forgets what is counted when its time is over.
func (c *failures) begin(now time.Time) {
	if c.addresses == nil || now.Sub(c.began) >= failTime {
		*c = failures{began: now, addresses: make(map[netip.Addr]int)}
	}
}

func (c *failures) count(a netip.Addr) {
	c.all++
	c.addresses[a]++
}

// takes reports whether e goes on to be a part of a line for several, which
// expire returns. What it does not take is to be written.
func (f *folder) takes(e *Event, now time.Time) bool {
	if e.waits() {
		return false
	}
	key := alike{kind: e.Kind, result: e.Result, user: e.User, credential: e.Credential, address: network(e.Address), repository: e.Repository}
	switch e.Kind {
	case Pull:
		key.content = e.Digest
	case Token:
		key.scope = e.Scope
	}
	if g := f.open[key]; g != nil {
		g.add(e)
		return true
	}
	f.failures.begin(now)
	failed := e.Result != OK
	var mixed alike
	switch {
	case f.addresses[key.address] >= foldPerAddress, failed && f.failures.addresses[key.address] >= failPerAddress:
		mixed = alike{kind: e.Kind, result: e.Result, address: key.address}
	case len(f.open) >= foldMost, failed && f.failures.all >= failMost:
		mixed = alike{kind: e.Kind, result: e.Result}
	default:
		if failed {
			f.failures.count(key.address)
		}
		f.addresses[key.address]++
		f.open[key] = &fold{last: *e, until: now.Add(foldTime)}
		return false
	}
	g := f.open[mixed]
	if g == nil {
		g = &fold{until: now.Add(foldTime), mixed: true}
		f.open[mixed] = g
	}
	g.add(e)
	return true
}

func (g *fold) add(e *Event) {
	count := g.last.Count + 1
	g.last = *e
	g.last.Count = count
}

// line returns the event that stands for all that were taken since the first.
func (g *fold) line(key alike) Event {
	if !g.mixed {
		return g.last
	}
	e := Event{Time: g.last.Time, Kind: key.kind, Result: key.result, Address: key.address, Count: g.last.Count}
	e.Reason = "too many different ones to be kept one by one"
	return e
}

// expire hands over the lines of folds that are over, or of all.
func (f *folder) expire(now time.Time, all bool, write func(*Event)) {
	for key, g := range f.open {
		if !all && now.Before(g.until) {
			continue
		}
		delete(f.open, key)
		if !g.mixed {
			if f.addresses[key.address]--; f.addresses[key.address] == 0 {
				delete(f.addresses, key.address)
			}
		}
		if g.last.Count > 0 {
			e := g.line(key)
			write(&e)
		}
	}
}

// network returns what counts as one address: an IPv6 host has 2^64 of them.
func network(a netip.Addr) netip.Addr {
	if p, err := a.Prefix(64); a.Is6() && err == nil {
		return p.Addr()
	}
	return a
}
