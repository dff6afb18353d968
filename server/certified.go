package server

import (
	"net/netip"
	"sync"
	"time"

	"berth/audit"
)

// A showing is a certificate that came from somewhere.
type showing struct {
	credential string
	addr       netip.Addr
}

// showings remembers for which certificates, and from where, the audit was told
// of a login. It is safe for concurrent use; the zero value is empty.
type showings struct {
	mu sync.Mutex
	at map[showing]time.Time
}

// first reports whether a certificate has not come from there within showTime.
// Where too many come, it is true more often.
func (s *showings) first(what showing, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.at[what]; ok && now.Sub(at) < showTime {
		return false
	}
	if s.at == nil || len(s.at) >= maxShowings {
		s.at = make(map[showing]time.Time)
	}
	s.at[what] = now
	return true
}

// auditCertificate tells of a login by a certificate. A client shows it with each
// request: as a password is told of when it is not remembered, this is told of
// now and then.
func (s *Server) auditCertificate(x *exchange) {
	if s.o.Audit != nil && s.showings.first(showing{x.caller.Credential, x.caller.Addr}, x.began) {
		s.o.Audit(s.event(x, audit.Login, audit.OK))
	}
}
