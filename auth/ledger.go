package auth

import (
	"context"
	"crypto/sha256"
	"time"
)

// A Ledger keeps, for all nodes, whose something is that serves once, or from one
// place. It is safe for concurrent use.
type Ledger interface {
	// Claim gives what hash stands for to holder until that time, unless it is
	// somebody's already, and returns whose it is.
	Claim(ctx context.Context, hash [sha256.Size]byte, holder string, now, until time.Time) (string, error)
}
