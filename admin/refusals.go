package admin

import (
	"sync"
	"time"

	"berth/access"
	"berth/oci"
)

// keptRefusals is how many refusals are remembered for ExplainRef. Older ones
// are in the audit log.
const keptRefusals = 10_000

// A Refused is one request that was refused, as it was asked.
type Refused struct {
	Ref    string
	Time   time.Time
	Caller access.Caller
	Scope  string // what a token would have had to be for
	Tags   []oci.Tag
	Reason string
	Status int
}

// Refusals remembers the latest refusals. It is safe for concurrent use; the
// zero value is empty.
type Refusals struct {
	mu    sync.Mutex
	ring  []Refused
	next  int
	byRef map[string]int
}

// Add remembers r in the place of the oldest.
func (s *Refusals) Add(r Refused) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byRef == nil {
		s.byRef = make(map[string]int)
	}
	if len(s.ring) < keptRefusals {
		s.ring = append(s.ring, r)
		s.byRef[r.Ref] = len(s.ring) - 1
		return
	}
	if old := s.ring[s.next].Ref; s.byRef[old] == s.next {
		delete(s.byRef, old)
	}
	s.ring[s.next] = r
	s.byRef[r.Ref] = s.next
	s.next = (s.next + 1) % keptRefusals
}

// Find returns the refusal of that reference.
func (s *Refusals) Find(ref string) (Refused, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.byRef[ref]
	if !ok {
		return Refused{}, false
	}
	return s.ring[i], true
}
