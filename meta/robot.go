package meta

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"berth/auth"
	"berth/auth/robot"
)

// Robots returns the robots and personal tokens in the database.
func (db *DB) Robots() robot.Store { return robots{db} }

type robots struct{ db *DB }

const (
	selectRobots = `
		SELECT name, owner_provider, owner_name, owner_id, repositories, actions, networks, expires, disabled, comment, created_by, created, updated
		FROM robots `
	selectSecrets       = `SELECT robot, id, hash, created, expires, last_used, last_addr FROM robot_secrets `
	selectTokensOfUsers = `
		SELECT id, hash, owner_provider, owner_name, owner_id, name, repositories, actions, networks, created_by, created, expires, last_used, last_addr
		FROM personal_tokens `
)

// limits are robot.Limits as three texts.
type limits struct{ repositories, actions, networks string }

func newLimits(l robot.Limits) (limits, error) {
	var texts [3]string
	for i, list := range []any{l.Repositories, l.Actions, l.From} {
		data, err := json.Marshal(list)
		if err != nil {
			return limits{}, err
		}
		texts[i] = string(data)
	}
	return limits{texts[0], texts[1], texts[2]}, nil
}

func (t limits) parse() (l robot.Limits, err error) {
	if err := json.Unmarshal([]byte(t.repositories), &l.Repositories); err != nil {
		return l, err
	}
	if err := json.Unmarshal([]byte(t.actions), &l.Actions); err != nil {
		return l, err
	}
	return l, json.Unmarshal([]byte(t.networks), &l.From)
}

func scanRobot(r scanner) (v robot.Robot, err error) {
	var t limits
	var expires, created, updated int64
	err = r.Scan(&v.Name, &v.Owner.Provider, &v.Owner.Name, &v.OwnerID, &t.repositories, &t.actions, &t.networks, &expires, &v.Disabled, &v.Comment,
		&v.CreatedBy, &created, &updated)
	if err != nil {
		return v, err
	}
	v.Expires, v.Created, v.Updated = orNever(expires), fromMicros(created), fromMicros(updated)
	v.Limits, err = t.parse()
	return v, err
}

// A secretOf is a secret and the name of its robot.
type secretOf struct {
	robot string
	robot.Secret
}

func scanSecret(r scanner) (s secretOf, err error) {
	var created, expires, used int64
	err = r.Scan(&s.robot, &s.ID, &s.Hash, &created, &expires, &used, &s.LastUse.Addr)
	s.Created, s.Expires, s.LastUse.At = fromMicros(created), orNever(expires), orNever(used)
	return s, err
}

func scanPersonalToken(r scanner) (v robot.Token, err error) {
	var t limits
	var created, expires, used int64
	err = r.Scan(&v.ID, &v.Hash, &v.Owner.Provider, &v.Owner.Name, &v.OwnerID, &v.Name, &t.repositories, &t.actions, &t.networks,
		&v.CreatedBy, &created, &expires, &used, &v.LastUse.Addr)
	if err != nil {
		return v, err
	}
	v.Created, v.Expires, v.LastUse.At = fromMicros(created), orNever(expires), orNever(used)
	v.Limits, err = t.parse()
	return v, err
}

func (s robots) Robots(ctx context.Context) (list []robot.Robot, err error) {
	err = s.db.View(ctx, func(tx *Tx) error {
		if list, err = rows(tx, "list robots", selectRobots+`ORDER BY name`, nil, scanRobot); err != nil {
			return err
		}
		secrets, err := rows(tx, "list secrets of robots", selectSecrets+`ORDER BY robot, created, id`, nil, scanSecret)
		if err != nil {
			return err
		}
		of := make(map[string][]robot.Secret)
		for _, secret := range secrets {
			of[secret.robot] = append(of[secret.robot], secret.Secret)
		}
		for i := range list {
			list[i].Secrets = of[list[i].Name]
		}
		return nil
	})
	return list, err
}

func (s robots) CreateRobot(ctx context.Context, r robot.Robot) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		t, err := newLimits(r.Limits)
		if err != nil {
			return err
		}
		err = tx.execOne("create robot", `
			INSERT INTO robots
				(name, owner_provider, owner_name, owner_id, repositories, actions, networks, expires, disabled, comment, created_by, created, updated)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (name) DO NOTHING`,
			r.Name, r.Owner.Provider, r.Owner.Name, r.OwnerID, t.repositories, t.actions, t.networks, neverMicros(r.Expires), r.Disabled, r.Comment,
			r.CreatedBy, micros(r.Created), micros(r.Updated))
		if err != nil {
			return told(err, robot.ErrExists)
		}
		return tx.addSecrets(r.Name, r.Secrets)
	})
}

func (s robots) UpdateRobot(ctx context.Context, name string, change func(*robot.Robot) error) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		r, err := tx.robot(name)
		if err != nil {
			return told(err, robot.ErrNotExist)
		}
		before := slices.Clone(r.Secrets)
		if err := change(&r); err != nil {
			return err
		}
		t, err := newLimits(r.Limits)
		if err != nil {
			return err
		}
		_, err = tx.exec("change robot", `
			UPDATE robots SET owner_provider = $2, owner_name = $3, repositories = $4, actions = $5, networks = $6, expires = $7,
				disabled = $8, comment = $9, updated = $10, owner_id = $11 WHERE name = $1`,
			name, r.Owner.Provider, r.Owner.Name, t.repositories, t.actions, t.networks, neverMicros(r.Expires), r.Disabled, r.Comment, micros(r.Updated),
			r.OwnerID)
		if err != nil {
			return err
		}
		return tx.changeSecrets(name, before, r.Secrets)
	})
}

// robot returns a robot with its secrets. Errors: ErrNotExist.
func (tx *Tx) robot(name string) (robot.Robot, error) {
	list, err := rows(tx, "find robot", selectRobots+`WHERE name = $1`, []any{name}, scanRobot)
	if err != nil {
		return robot.Robot{}, err
	}
	if len(list) == 0 {
		return robot.Robot{}, ErrNotExist
	}
	secrets, err := rows(tx, "find secrets of robot", selectSecrets+`WHERE robot = $1 ORDER BY created, id`, []any{name}, scanSecret)
	for _, secret := range secrets {
		list[0].Secrets = append(list[0].Secrets, secret.Secret)
	}
	return list[0], err
}

func (tx *Tx) addSecrets(name string, secrets []robot.Secret) error {
	for _, s := range secrets {
		_, err := tx.exec("add secret of robot", `
			INSERT INTO robot_secrets (id, hash, robot, created, expires, last_used, last_addr) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			s.ID, s.Hash, name, micros(s.Created), neverMicros(s.Expires), neverMicros(s.LastUse.At), s.LastUse.Addr)
		if err != nil {
			return err
		}
	}
	return nil
}

// changeSecrets makes the secrets of a robot what they are after a change. When
// they were last used is not for it to say.
func (tx *Tx) changeSecrets(name string, before, after []robot.Secret) error {
	var added []robot.Secret
	for _, s := range after {
		if !slices.ContainsFunc(before, func(b robot.Secret) bool { return b.ID == s.ID }) {
			added = append(added, s)
			continue
		}
		if _, err := tx.exec("change secret of robot", `UPDATE robot_secrets SET expires = $2 WHERE id = $1`, s.ID, neverMicros(s.Expires)); err != nil {
			return err
		}
	}
	for _, s := range before {
		if slices.ContainsFunc(after, func(a robot.Secret) bool { return a.ID == s.ID }) {
			continue
		}
		if _, err := tx.exec("delete secret of robot", `DELETE FROM robot_secrets WHERE id = $1`, s.ID); err != nil {
			return err
		}
	}
	return tx.addSecrets(name, added)
}

func (s robots) DeleteRobot(ctx context.Context, name string) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		if _, err := tx.exec("delete secrets of robot", `DELETE FROM robot_secrets WHERE robot = $1`, name); err != nil {
			return err
		}
		return told(tx.execOne("delete robot", `DELETE FROM robots WHERE name = $1`, name), robot.ErrNotExist)
	})
}

func (s robots) Tokens(ctx context.Context) ([]robot.Token, error) {
	list, err := view(ctx, s.db, "list personal tokens", selectTokensOfUsers, nil, scanPersonalToken)
	slices.SortStableFunc(list, func(a, b robot.Token) int { return a.Created.Compare(b.Created) })
	return list, err
}

func (s robots) CreateToken(ctx context.Context, t robot.Token) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		l, err := newLimits(t.Limits)
		if err != nil {
			return err
		}
		_, err = tx.exec("add personal token", `
			INSERT INTO personal_tokens
				(id, hash, owner_provider, owner_name, owner_id, name, repositories, actions, networks, created_by, created, expires, last_used, last_addr)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
			t.ID, t.Hash, t.Owner.Provider, t.Owner.Name, t.OwnerID, t.Name, l.repositories, l.actions, l.networks, t.CreatedBy,
			micros(t.Created), neverMicros(t.Expires), neverMicros(t.LastUse.At), t.LastUse.Addr)
		return err
	})
}

func (s robots) DeleteToken(ctx context.Context, id string) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		return told(tx.execOne("delete personal token", `DELETE FROM personal_tokens WHERE id = $1`, id), robot.ErrNotExist)
	})
}

func (s robots) Identify(ctx context.Context, ids map[robot.Owned]auth.ID) error {
	return s.db.change(ctx, TopicRobots, func(tx *Tx) error {
		for o, id := range ids {
			query, key := `UPDATE robots SET owner_id = $4 WHERE name = $1 AND owner_provider = $2 AND owner_name = $3 AND owner_id = ''`, o.Robot
			if o.Token != "" {
				query, key = `UPDATE personal_tokens SET owner_id = $4 WHERE id = $1 AND owner_provider = $2 AND owner_name = $3 AND owner_id = ''`, o.Token
			}
			if _, err := tx.exec("keep who an owner is", query, key, o.Owner.Provider, o.Owner.Name, id); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s robots) Touch(ctx context.Context, used map[string]robot.Use) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		for id, use := range used {
			n, err := tx.exec("touch secret of robot", `UPDATE robot_secrets SET last_used = $2, last_addr = $3 WHERE id = $1 AND last_used <= $2`, id, neverMicros(use.At), use.Addr)
			if err == nil && n == 0 {
				_, err = tx.exec("touch personal token", `UPDATE personal_tokens SET last_used = $2, last_addr = $3 WHERE id = $1 AND last_used <= $2`, id, neverMicros(use.At), use.Addr)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetOwner removes what belongs to a user who is no more: his personal tokens.
// His robots are disabled, so that who comes after him under his name has to ask
// for them.
func (tx *Tx) forgetOwner(owner auth.Subject) error {
	_, err := tx.exec("delete personal tokens of user", `DELETE FROM personal_tokens WHERE owner_provider = $1 AND owner_name = $2`, owner.Provider, owner.Name)
	if err != nil {
		return err
	}
	_, err = tx.exec("disable robots of user", `
		UPDATE robots SET disabled = TRUE, owner_id = CASE owner_id WHEN '' THEN $3 ELSE owner_id END WHERE owner_provider = $1 AND owner_name = $2`,
		owner.Provider, owner.Name, robot.Gone)
	if err != nil {
		return err
	}
	return tx.Announce(TopicRobots, "")
}

// neverMicros is micros, with 0 for the time that never comes.
func neverMicros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

func orNever(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMicros(n)
}
