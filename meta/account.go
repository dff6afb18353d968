package meta

import (
	"context"
	"encoding/json"
	"errors"

	"berth/auth"
	"berth/auth/account"
)

// providerAccounts is the provider of berth's own accounts in subjects.
const providerAccounts = "accounts"

// Accounts returns the accounts in the database.
func (db *DB) Accounts() account.Store { return accounts{db} }

type accounts struct{ db *DB }

const selectAccounts = `SELECT name, hash, groups, disabled, created, updated FROM accounts `

func scanAccount(r scanner) (account.Account, error) {
	var a account.Account
	var groups string
	var created, updated int64
	if err := r.Scan(&a.Name, &a.Hash, &groups, &a.Disabled, &created, &updated); err != nil {
		return a, err
	}
	a.Created, a.Updated = fromMicros(created), fromMicros(updated)
	return a, json.Unmarshal([]byte(groups), &a.Groups)
}

func (s accounts) Accounts(ctx context.Context) ([]account.Account, error) {
	return view(ctx, s.db, "list accounts", selectAccounts+`ORDER BY name`, nil, scanAccount)
}

func (s accounts) CreateAccount(ctx context.Context, a account.Account) error {
	return s.db.change(ctx, TopicAccounts, func(tx *Tx) error {
		groups, err := json.Marshal(a.Groups)
		if err != nil {
			return err
		}
		err = tx.execOne("create account", `
			INSERT INTO accounts (name, hash, groups, disabled, created, updated) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (name) DO NOTHING`,
			a.Name, a.Hash, string(groups), a.Disabled, micros(a.Created), micros(a.Updated))
		return told(err, account.ErrExists)
	})
}

func (s accounts) UpdateAccount(ctx context.Context, name string, change func(*account.Account) error) error {
	return s.db.change(ctx, TopicAccounts, func(tx *Tx) error {
		list, err := rows(tx, "find account", selectAccounts+`WHERE name = $1`, []any{name}, scanAccount)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return account.ErrNotExist
		}
		a := list[0]
		if err := change(&a); err != nil {
			return err
		}
		groups, err := json.Marshal(a.Groups)
		if err != nil {
			return err
		}
		_, err = tx.exec("change account", `UPDATE accounts SET hash = $2, groups = $3, disabled = $4, updated = $5 WHERE name = $1`,
			name, a.Hash, string(groups), a.Disabled, micros(a.Updated))
		return err
	})
}

func (s accounts) DeleteAccount(ctx context.Context, name string) error {
	return s.db.change(ctx, TopicAccounts, func(tx *Tx) error {
		_, err := tx.exec("delete tokens of account", `DELETE FROM refresh_tokens WHERE provider = $1 AND name = $2`, providerAccounts, name)
		if err != nil {
			return err
		}
		if err := tx.forgetOwner(auth.Subject{Provider: providerAccounts, Name: name}); err != nil {
			return err
		}
		return told(tx.execOne("delete account", `DELETE FROM accounts WHERE name = $1`, name), account.ErrNotExist)
	})
}

// told replaces ErrNotExist by what the caller's interface calls it.
func told(err, notExist error) error {
	if errors.Is(err, ErrNotExist) {
		return notExist
	}
	return err
}
