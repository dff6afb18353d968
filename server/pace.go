package server

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"berth/audit"
	"berth/auth"
	"berth/oci"
)

// What a Limit counts.
const (
	CountRequests = "requests" // all that need to know who is calling
	CountPulls    = "pulls"    // manifests that are read; HEAD asks how many are left
	CountTokens   = "tokens"   // requests to the token server
)

// Whose requests a Limit counts together.
const (
	PerIdentity  = "identity"  // of each who is logged in, from wherever
	PerAnonymous = "anonymous" // of each address, of who is not logged in
	PerAddress   = "address"   // of each address, whoever he is
)

// maxPaced is how many callers a Limit remembers. Where there are more, one that
// has used little begins anew.
const maxPaced = 100_000

// A Limit is how often something may be done: Rate times in Window, and as many as
// Burst at once. What was used comes back evenly. Of an IPv6 address, its /64 is
// one.
type Limit struct {
	Of     string // CountRequests, CountPulls or CountTokens
	Per    string // PerIdentity, PerAnonymous or PerAddress
	Rate   int
	Window time.Duration
	Burst  int // Rate when 0
}

// Limits are limits with what has been used of them, by this process. They are
// safe for concurrent use.
type Limits struct{ paces []*pace }

// NewLimits returns limits of which nothing is used.
func NewLimits(list []Limit) *Limits {
	l := new(Limits)
	began := time.Now()
	for _, limit := range list {
		if limit.Burst == 0 {
			limit.Burst = limit.Rate
		}
		l.paces = append(l.paces, &pace{
			Limit:    limit,
			interval: max(limit.Window/time.Duration(limit.Rate), 1),
			began:    began,
			due:      make(map[paced]time.Duration),
		})
	}
	return l
}

// A pace is one limit at work: a leaky bucket for each caller, of which only the
// time is kept at which it will be empty.
type pace struct {
	Limit
	interval time.Duration // between two, in the long run
	began    time.Time

	mu    sync.Mutex
	due   map[paced]time.Duration // since began
	swept time.Duration
}

// A paced is whose requests are counted together.
type paced struct {
	subject auth.Subject
	addr    netip.Addr
}

// take uses n of what who has, and returns how many are left, or how long to wait
// where there are not so many.
func (p *pace) take(who paced, n int, now time.Time) (left int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := now.Sub(p.began)
	full := time.Duration(p.Burst) * p.interval
	due, known := p.due[who]
	due = max(due, at)
	next := due + time.Duration(n)*p.interval
	if next > at+full {
		return int((at + full - due) / p.interval), next - at - full
	}
	if n > 0 {
		if !known {
			p.makeRoom(at)
		}
		p.due[who] = next
	}
	return int((at + full - next) / p.interval), 0
}

// makeRoom forgets who has used nothing or, where nobody has, one of a few who has
// used the least. The caller holds the lock.
func (p *pace) makeRoom(at time.Duration) {
	if len(p.due) < maxPaced {
		return
	}
	if at-p.swept >= time.Second {
		p.swept = at
		for who, due := range p.due {
			if due <= at {
				delete(p.due, who)
			}
		}
	}
	const few = 8
	for len(p.due) >= maxPaced {
		var least paced
		seen := 0
		for who, due := range p.due {
			if seen == 0 || due < p.due[least] {
				least = who
			}
			if seen++; seen == few {
				break
			}
		}
		delete(p.due, least)
	}
}

// A paceError says that something is done too often.
type paceError struct {
	pace *pace
	wait time.Duration
}

func (e *paceError) Error() string {
	who := map[string]string{PerIdentity: "user", PerAnonymous: "address without a login", PerAddress: "address"}[e.pace.Per]
	return fmt.Sprintf("too many %s: this registry takes %d in %s of each %s", e.pace.Of, e.pace.Rate, windowText(e.pace.Window), who)
}

// windowText tells a window without its zeros: 6h, and not 6h0m0s.
func windowText(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}

// keepPace counts a request. It is called before anybody is asked who he is, for
// the limits of addresses, and then for the others.
func (s *Server) keepPace(x *exchange, known bool) error {
	if s.o.Limits == nil {
		return nil
	}
	limits := s.o.Limits()
	if limits == nil {
		return nil
	}
	for _, p := range limits.paces {
		if (p.Per != PerAddress) != known {
			continue
		}
		n, counts := p.counts(x)
		who, theirs := p.whose(x)
		if !counts || !theirs {
			continue
		}
		left, wait := p.take(who, n, x.began)
		x.tellPace(p, left)
		if wait > 0 {
			return &paceError{p, wait}
		}
	}
	return nil
}

// counts reports whether the limit is about the request, and how often it counts:
// not at all where it only asks.
func (p *pace) counts(x *exchange) (n int, ok bool) {
	switch p.Of {
	case CountTokens:
		return 1, x.target.kind == kindToken
	case CountPulls:
		if x.target.kind == kindManifest && x.r.Method == http.MethodHead {
			return 0, true
		}
		return 1, x.target.kind == kindManifest && x.r.Method == http.MethodGet
	}
	return 1, !routes[x.target.kind].open
}

// whose returns whose request it is, if the limit is about him.
func (p *pace) whose(x *exchange) (who paced, ok bool) {
	anonymous := x.caller.Anonymous()
	switch {
	case p.Per == PerIdentity && !anonymous:
		who.subject.Provider, who.subject.Name = x.caller.Provider, x.caller.Name
		return who, true
	case p.Per == PerAddress, p.Per == PerAnonymous && anonymous:
		return paced{addr: auth.Network(x.caller.Addr)}, true
	}
	return paced{}, false
}

// tellPace tells of the limit of which the least is left, in the headers that
// Docker Hub has, and that tools know.
func (x *exchange) tellPace(p *pace, left int) {
	if x.paced && left >= x.left {
		return
	}
	x.paced, x.left = true, left
	window := ";w=" + strconv.Itoa(max(int(p.Window/time.Second), 1))
	h := x.w.Header()
	h["Ratelimit-Limit"] = []string{strconv.Itoa(p.Rate) + window}
	h["Ratelimit-Remaining"] = []string{strconv.Itoa(left) + window}
}

// ruled is the answer to what a rule does not let anybody do.
func (s *Server) ruled(x *exchange, kind, rule, message string) answer {
	a := answer{status: http.StatusForbidden, code: oci.Denied, message: message, rule: kind}
	a.refusal = &Refusal{
		Ref: x.id, Time: s.o.Now(), Caller: x.caller, Scope: x.scope(), Tags: x.tags(), Reason: message, Rule: rule, Status: a.status,
	}
	return a
}

// slowDown is the answer to who comes too often.
func (e *paceError) slowDown() answer {
	return answer{
		status: http.StatusTooManyRequests, code: oci.TooManyRequests, message: e.Error(), retry: max(e.wait, time.Second), rule: rulePace,
	}
}

// rulePace is the name of limits among the kinds of rules, in metrics.
const rulePace = "limit"

// auditPace tells of who comes too often. The audit folds what repeats.
func (s *Server) auditPace(x *exchange, a *answer) {
	if s.o.Audit == nil {
		return
	}
	e := s.event(x, audit.Refused, audit.Throttled)
	e.Status, e.Reason = a.status, a.message
	s.o.Audit(e)
}
