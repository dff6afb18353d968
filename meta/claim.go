package meta

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"berth/auth"
)

// Ledger returns the claims in the database.
func (db *DB) Ledger() auth.Ledger { return ledger{db} }

type ledger struct{ db *DB }

// claimsTidied is how many claims that are over go with a new one.
const claimsTidied = 10

// Claim implements auth.Ledger.
func (l ledger) Claim(ctx context.Context, hash [sha256.Size]byte, holder string, now, until time.Time) (string, error) {
	err := l.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec("remove old claims", `
			DELETE FROM claims WHERE hash IN (SELECT hash FROM claims WHERE until <= $1 ORDER BY until LIMIT $2)`, micros(now), claimsTidied)
		if err != nil {
			return err
		}
		err = tx.row("claim", `
			INSERT INTO claims (hash, holder, until) VALUES ($1, $2, $3)
			ON CONFLICT (hash) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE claims.until <= $4
			RETURNING holder`, []any{hash[:], holder, micros(until), micros(now)}, &holder)
		if errors.Is(err, ErrNotExist) {
			err = tx.row("find claim", `SELECT holder FROM claims WHERE hash = $1`, []any{hash[:]}, &holder)
		}
		return err
	})
	return holder, err
}
