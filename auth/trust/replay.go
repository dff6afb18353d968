package trust

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"sync"
	"time"

	"berth/auth"
	"berth/auth/jwks"
)

// maxTokens is how many tokens are remembered at a time.
const maxTokens = 100_000

var errFull = errors.New("too many tokens of trusted issuers are in use at a time")

// A memory remembers which tokens were presented, from where, for as long as
// they live. It is safe for concurrent use.
type memory struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]presented
	swept  time.Time
}

type presented struct {
	from  netip.Addr // the network that counts as one address; none where it is not known
	until time.Time
}

func newMemory() *memory { return &memory{tokens: make(map[[sha256.Size]byte]presented)} }

// tokenKey returns what a token is remembered under: its jti, which its issuer
// gives to no other; else what it signs, as one can make many signatures over
// the same out of one.
func tokenKey(raw string, claims jwks.Claims) [sha256.Size]byte {
	if id := claims.Text("jti"); id != "" {
		return sha256.Sum256([]byte("jti\x00" + claims.Text("iss") + "\x00" + id))
	}
	return sha256.Sum256([]byte("token\x00" + jwks.SignedPart(raw)))
}

// present notes that a token is presented from an address, and reports whether
// it may be: for the first time, or again from the same network unless it is for
// once only. A place that is not known is one of its own.
// Errors: errFull.
func (m *memory) present(key [sha256.Size]byte, from netip.Addr, once bool, now, until time.Time) (bool, error) {
	from = auth.Network(from)
	m.mu.Lock()
	defer m.mu.Unlock()
	if p, ok := m.tokens[key]; ok && now.Before(p.until) {
		return !once && p.from == from, nil
	}
	if since := now.Sub(m.swept); since >= time.Minute || len(m.tokens) >= maxTokens && since >= time.Second {
		m.sweep(now)
	}
	if len(m.tokens) >= maxTokens {
		return false, errFull
	}
	m.tokens[key] = presented{from, until}
	return true, nil
}

// knows reports whether a token was presented here.
func (m *memory) knows(key [sha256.Size]byte, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, ok := m.tokens[key]
	return ok && now.Before(p.until)
}

func (m *memory) sweep(now time.Time) {
	m.swept = now
	for key, p := range m.tokens {
		if !now.Before(p.until) {
			delete(m.tokens, key)
		}
	}
}
