package meta

import (
	"context"
	"net/netip"
	"time"

	"berth/auth/session"
)

// Devices returns the logins of command lines in the database.
func (db *DB) Devices() session.DeviceStore { return devices{db} }

type devices struct{ db *DB }

const deviceColumns = `hash, code, client, addr, began, decision, user_provider, user_name, user_version`

func scanDevice(r scanner) (session.Device, error) {
	var d session.Device
	var addr string
	var began int64
	err := r.Scan(&d.Hash, &d.Code, &d.Client, &addr, &began, &d.Decision, &d.User.Provider, &d.User.Name, &d.Version)
	d.Began = fromMicros(began)
	if addr != "" && err == nil {
		d.Addr, err = netip.ParseAddr(addr)
	}
	return d, err
}

func (s devices) AddDevice(ctx context.Context, d session.Device, since time.Time, most int) error {
	var addr string
	if d.Addr.IsValid() {
		addr = d.Addr.String()
	}
	return s.db.Update(ctx, func(tx *Tx) error {
		if _, err := tx.exec("remove old device logins", `DELETE FROM device_logins WHERE began < $1`, micros(since)); err != nil {
			return err
		}
		var n int
		if err := tx.row("count device logins", `SELECT COUNT(*) FROM device_logins`, nil, &n); err != nil {
			return err
		}
		if n >= most {
			return session.ErrTooMany
		}
		err := tx.execOne("add device login", `
			INSERT INTO device_logins (`+deviceColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (code) DO NOTHING`,
			d.Hash, d.Code, d.Client, addr, micros(d.Began), string(d.Decision), d.User.Provider, d.User.Name, d.Version)
		return told(err, session.ErrCodeTaken)
	})
}

// oneDevice returns the only row of a list.
func oneDevice(list []session.Device, err error) (session.Device, error) {
	if err == nil && len(list) == 0 {
		err = session.ErrNotExist
	}
	if err != nil {
		return session.Device{}, err
	}
	return list[0], nil
}

func (s devices) Device(ctx context.Context, code string, since time.Time) (session.Device, error) {
	return oneDevice(view(ctx, s.db, "find device login",
		`SELECT `+deviceColumns+` FROM device_logins WHERE code = $1 AND began >= $2`, []any{code, micros(since)}, scanDevice))
}

func (s devices) DecideDevice(ctx context.Context, d session.Device, since time.Time) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		err := tx.execOne("decide on device login", `
			UPDATE device_logins SET decision = $3, user_provider = $4, user_name = $5, user_version = $6
			WHERE code = $1 AND began >= $2 AND decision = ''`,
			d.Code, micros(since), string(d.Decision), d.User.Provider, d.User.Name, d.Version)
		return told(err, session.ErrNotExist)
	})
}

func (s devices) TakeDevice(ctx context.Context, hash []byte, since time.Time) (session.Device, error) {
	const found = ` device_logins WHERE hash = $1 AND began >= $2`
	args := []any{hash, micros(since)}
	d, err := oneDevice(view(ctx, s.db, "find device login", `SELECT `+deviceColumns+` FROM`+found, args, scanDevice))
	if err != nil || d.Decision == session.Undecided {
		return d, err
	}
	err = s.db.Update(ctx, func(tx *Tx) (err error) {
		d, err = oneDevice(rows(tx, "take device login", `DELETE FROM`+found+` RETURNING `+deviceColumns, args, scanDevice))
		return err
	})
	return d, err
}
