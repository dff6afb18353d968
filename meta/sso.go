package meta

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"berth/auth"
	"berth/auth/oidc"
)

// settingSSOSecret names the setting that refresh tokens of providers are sealed
// with.
const settingSSOSecret = "sso_secret"

// SSO returns the users of OpenID Connect providers in the database.
func (db *DB) SSO() oidc.Store { return sso{db} }

type sso struct{ db *DB }

const selectSSO = `SELECT issuer, subject, provider, name, groups, refresh_token, created, last_login, checked, suspended, disabled, changed, asked FROM sso_users `

func scanSSO(r scanner) (oidc.User, error) {
	var u oidc.User
	var groups string
	var created, login, checked, changed, asked int64
	err := r.Scan(&u.Issuer, &u.Subject, &u.Provider, &u.Name, &groups, &u.Refresh, &created, &login, &checked, &u.Suspended, &u.Disabled, &changed, &asked)
	if err != nil {
		return u, err
	}
	u.Created, u.LastLogin, u.Checked, u.Changed = fromMicros(created), fromMicros(login), fromMicros(checked), fromMicros(changed)
	u.Asked = orNever(asked)
	return u, json.Unmarshal([]byte(groups), &u.Groups)
}

func (s sso) Users(ctx context.Context, provider string) ([]oidc.User, error) {
	return view(ctx, s.db, "list users of a provider", selectSSO+`WHERE provider = $1 ORDER BY name`, []any{provider}, scanSSO)
}

func (s sso) CreateUser(ctx context.Context, u oidc.User) error {
	groups, err := json.Marshal(u.Groups)
	if err != nil {
		return err
	}
	return s.db.change(ctx, TopicSSO, func(tx *Tx) error {
		err := tx.execOne("create user of a provider", `
			INSERT INTO sso_users (issuer, subject, provider, name, groups, refresh_token, created, last_login, checked, suspended, disabled, changed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
			ON CONFLICT (name) DO NOTHING`,
			u.Issuer, u.Subject, u.Provider, u.Name, string(groups), sealed(u),
			micros(u.Created), micros(u.LastLogin), micros(u.Checked), u.Suspended, u.Disabled, micros(u.Changed))
		return told(err, oidc.ErrNameTaken)
	})
}

// sealed returns the refresh token of u, NULL when there is none.
func sealed(u oidc.User) any {
	if len(u.Refresh) == 0 {
		return nil
	}
	return u.Refresh
}

func (s sso) UpdateUser(ctx context.Context, issuer, subject string, change func(*oidc.User) error) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		list, err := rows(tx, "find user of a provider", selectSSO+`WHERE issuer = $1 AND subject = $2`, []any{issuer, subject}, scanSSO)
		if err != nil {
			return err
		}
		if len(list) == 0 {
			return oidc.ErrNotExist
		}
		u, before := list[0], list[0]
		if err := change(&u); err != nil {
			return err
		}
		groups, err := json.Marshal(u.Groups)
		if err != nil {
			return err
		}
		_, err = tx.exec("change user of a provider", `
			UPDATE sso_users SET groups = $3, refresh_token = $4, last_login = $5, checked = $6, suspended = $7, disabled = $8, changed = $9, asked = $10
			WHERE issuer = $1 AND subject = $2`,
			issuer, subject, string(groups), sealed(u), micros(u.LastLogin), micros(u.Checked), u.Suspended, u.Disabled, micros(u.Changed), neverMicros(u.Asked))
		if err != nil || !isNews(before, u) {
			return err
		}
		return tx.Announce(TopicSSO, "")
	})
}

// isNews reports whether other nodes must hear of a change at once. What comes of
// the usual check they read before they ask a provider themselves.
func isNews(before, after oidc.User) bool {
	return before.Suspended != after.Suspended || before.Disabled != after.Disabled || !before.Changed.Equal(after.Changed) ||
		!before.LastLogin.Equal(after.LastLogin) || !slices.Equal(before.Groups, after.Groups)
}

func (s sso) DeleteUser(ctx context.Context, name string) (provider string, err error) {
	err = s.db.change(ctx, TopicSSO, func(tx *Tx) error {
		if err := tx.row("find user of a provider", `SELECT provider FROM sso_users WHERE name = $1`, []any{name}, &provider); err != nil {
			return told(err, oidc.ErrNotExist)
		}
		if _, err := tx.exec("delete sessions of a user", `DELETE FROM sessions WHERE provider = $1 AND name = $2`, provider, name); err != nil {
			return err
		}
		if err := tx.forgetOwner(auth.Subject{Provider: provider, Name: name}); err != nil {
			return err
		}
		_, err := tx.exec("delete user of a provider", `DELETE FROM sso_users WHERE name = $1`, name)
		return err
	})
	return provider, err
}

func (s sso) Secret(ctx context.Context) ([]byte, error) {
	var text string
	err := s.db.Update(ctx, func(tx *Tx) (err error) {
		text, err = tx.Setting(settingSSOSecret)
		if !errors.Is(err, ErrNotExist) {
			return err
		}
		secret := make([]byte, 32)
		rand.Read(secret) // never fails
		text = base64.StdEncoding.EncodeToString(secret)
		return tx.PutSetting(settingSSOSecret, text)
	})
	if err != nil {
		return nil, err
	}
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("read setting %s: %w", settingSSOSecret, err)
	}
	return secret, nil
}
