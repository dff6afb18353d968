package meta

import (
	"context"
	"time"

	"berth/auth/session"
)

// Sessions returns the logins with browsers in the database.
func (db *DB) Sessions() session.Store { return sessions{db} }

type sessions struct{ db *DB }

func scanSession(r scanner) (session.Session, error) {
	var s session.Session
	var created, used int64
	err := r.Scan(&s.Hash, &s.Subject.Provider, &s.Subject.Name, &s.Version, &created, &used)
	s.Created, s.LastUsed = fromMicros(created), fromMicros(used)
	return s, err
}

func (s sessions) AddSession(ctx context.Context, n session.Session) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec("add session", `INSERT INTO sessions (hash, provider, name, version, created, last_used) VALUES ($1, $2, $3, $4, $5, $6)`,
			n.Hash, n.Subject.Provider, n.Subject.Name, n.Version, micros(n.Created), micros(n.LastUsed))
		if err != nil {
			return err
		}
		_, err = tx.exec("delete the oldest sessions", `
			DELETE FROM sessions WHERE name = $1 AND hash NOT IN (SELECT hash FROM sessions WHERE name = $1 ORDER BY created DESC, hash LIMIT $2)`,
			n.Subject.Name, session.MaxPerUser)
		return err
	})
}

func (s sessions) Session(ctx context.Context, hash []byte) (session.Session, error) {
	list, err := view(ctx, s.db, "find session", `SELECT hash, provider, name, version, created, last_used FROM sessions WHERE hash = $1`, []any{hash}, scanSession)
	if err != nil {
		return session.Session{}, err
	}
	if len(list) == 0 {
		return session.Session{}, session.ErrNotExist
	}
	return list[0], nil
}

func (s sessions) DeleteSession(ctx context.Context, hash []byte) error {
	return s.exec(ctx, "delete session", `DELETE FROM sessions WHERE hash = $1`, hash)
}

func (s sessions) TouchSessions(ctx context.Context, used map[string]time.Time) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		for hash, at := range used {
			if _, err := tx.exec("touch session", `UPDATE sessions SET last_used = $2 WHERE hash = $1 AND last_used < $2`, []byte(hash), micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s sessions) DeleteOldSessions(ctx context.Context, used, created time.Time) error {
	return s.exec(ctx, "delete old sessions", `DELETE FROM sessions WHERE last_used < $1 OR created < $2`, micros(used), micros(created))
}

func (s sessions) exec(ctx context.Context, doing, query string, args ...any) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec(doing, query, args...)
		return err
	})
}
