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
}

func newFolder() *folder {
	return &folder{open: make(map[alike]*fold), addresses: make(map[netip.Addr]int)}
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
	var mixed alike
	switch {
	case f.addresses[key.address] >= foldPerAddress:
		mixed = alike{kind: e.Kind, result: e.Result, address: key.address}
	case len(f.open) >= foldMost:
		mixed = alike{kind: e.Kind, result: e.Result}
	default:
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
