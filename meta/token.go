package meta

import (
	"context"
	"errors"
	"time"

	"berth/auth/token"
)

// Tokens returns the refresh tokens and signing keys in the database.
func (db *DB) Tokens() token.Store { return tokens{db} }

type tokens struct{ db *DB }

const selectTokens = `SELECT id, hash, provider, name, version, service, client, addr, created, last_used FROM refresh_tokens `

func scanToken(r scanner) (token.RefreshToken, error) {
	var t token.RefreshToken
	var created, used int64
	err := r.Scan(&t.ID, &t.Hash, &t.Subject.Provider, &t.Subject.Name, &t.Version, &t.Service, &t.Client, &t.Addr, &created, &used)
	t.Created, t.LastUsed = fromMicros(created), fromMicros(used)
	return t, err
}

func (s tokens) AddRefreshToken(ctx context.Context, t token.RefreshToken) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec("add token", `
			INSERT INTO refresh_tokens (id, hash, provider, name, version, service, client, addr, created, last_used)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
			t.ID, t.Hash, t.Subject.Provider, t.Subject.Name, t.Version, t.Service, t.Client, t.Addr, micros(t.Created), micros(t.LastUsed))
		if err != nil {
			return err
		}
		_, err = tx.exec("make room for a token", `
			DELETE FROM refresh_tokens WHERE id IN (
				SELECT id FROM refresh_tokens WHERE provider = $1 AND name = $2 AND id <> $3
				ORDER BY last_used DESC, created DESC, id LIMIT $4 OFFSET $5)`,
			t.Subject.Provider, t.Subject.Name, t.ID, token.MaxRefreshTokens, token.MaxRefreshTokens-1)
		return err
	})
}

func (s tokens) RefreshToken(ctx context.Context, hash []byte) (token.RefreshToken, error) {
	list, err := view(ctx, s.db, "find token", selectTokens+`WHERE hash = $1`, []any{hash}, scanToken)
	if err != nil {
		return token.RefreshToken{}, err
	}
	if len(list) == 0 {
		return token.RefreshToken{}, token.ErrNotExist
	}
	return list[0], nil
}

func (s tokens) RefreshTokens(ctx context.Context, name string) ([]token.RefreshToken, error) {
	const newestFirst = `ORDER BY created DESC, id`
	if name == "" {
		return view(ctx, s.db, "list tokens", selectTokens+newestFirst, nil, scanToken)
	}
	return view(ctx, s.db, "list tokens", selectTokens+`WHERE name = $1 `+newestFirst, []any{name}, scanToken)
}

func (s tokens) DeleteRefreshToken(ctx context.Context, id string) error {
	return s.exec(ctx, token.ErrNotExist, "delete token", `DELETE FROM refresh_tokens WHERE id = $1`, id)
}

func (s tokens) TouchRefreshTokens(ctx context.Context, used map[string]time.Time) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		for id, at := range used {
			if _, err := tx.exec("touch token", `UPDATE refresh_tokens SET last_used = $2 WHERE id = $1 AND last_used < $2`, id, micros(at)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s tokens) DeleteIdleRefreshTokens(ctx context.Context, before time.Time) (int, error) {
	var n int64
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		n, err = tx.exec("delete idle tokens", `DELETE FROM refresh_tokens WHERE last_used < $1`, micros(before))
		return err
	})
	return int(n), err
}

func (s tokens) Keys(ctx context.Context) ([]token.Key, error) {
	return view(ctx, s.db, "list keys", `SELECT id, private, created FROM signing_keys ORDER BY created DESC, id`, nil,
		func(r scanner) (token.Key, error) {
			var k token.Key
			var created int64
			err := r.Scan(&k.ID, &k.Private, &created)
			k.Created = fromMicros(created)
			return k, err
		})
}

func (s tokens) AddKey(ctx context.Context, k token.Key, newest string) error {
	return s.db.change(ctx, TopicKeys, func(tx *Tx) error {
		var there string
		err := tx.row("find newest key", `SELECT id FROM signing_keys ORDER BY created DESC, id LIMIT 1`, nil, &there)
		if err != nil && !errors.Is(err, ErrNotExist) {
			return err
		}
		if there != newest {
			return token.ErrOtherKey
		}
		_, err = tx.exec("add key", `INSERT INTO signing_keys (id, private, created) VALUES ($1, $2, $3)`, k.ID, k.Private, micros(k.Created))
		return err
	})
}

func (s tokens) DeleteKey(ctx context.Context, id string) error {
	return s.db.change(ctx, TopicKeys, func(tx *Tx) error {
		_, err := tx.exec("delete key", `DELETE FROM signing_keys WHERE id = $1`, id)
		return err
	})
}

// exec is one statement in a transaction of its own. Unless notExist is nil, it
// is returned when no row was changed.
func (s tokens) exec(ctx context.Context, notExist error, doing, query string, args ...any) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		n, err := tx.exec(doing, query, args...)
		if err == nil && n == 0 {
			err = notExist
		}
		return err
	})
}

// view reads the rows of one query, which sees one state by itself.
func view[T any](ctx context.Context, db *DB, doing, query string, args []any, scan func(scanner) (T, error)) (list []T, err error) {
	err = db.Lookup(ctx, func(tx *Tx) (err error) {
		list, err = rows(tx, doing, query, args, scan)
		return err
	})
	return list, err
}
