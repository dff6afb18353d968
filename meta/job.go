package meta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/job"
)

// Leases returns the leases of jobs in the database.
func (db *DB) Leases() job.Leases { return leases{db} }

type leases struct{ db *DB }

// A jobRow is a job as the database knows it.
type jobRow struct {
	holder                      string
	fence, expires, done, tried int64
}

func (tx *Tx) job(name string) (j jobRow, err error) {
	err = tx.row("find job", `SELECT holder, fence, expires, done, tried FROM jobs WHERE name = $1`, []any{name},
		&j.holder, &j.fence, &j.expires, &j.done, &j.tried)
	return j, err
}

// take decides on a request for the lease.
func (j jobRow) take(r job.Request) error {
	switch {
	case j.expires > micros(r.Now):
		return fmt.Errorf("%w, by %s", job.ErrHeld, j.holder)
	case !r.Done.IsZero() && (j.done > micros(r.Done) || j.tried > micros(r.Tried)):
		return job.ErrNotDue
	}
	return nil
}

// Take implements job.Leases. Most of the time a job is not due, which costs no
// write.
func (s leases) Take(ctx context.Context, r job.Request) (l job.Lease, err error) {
	look := func(tx *Tx) (j jobRow, err error) {
		if j, err = tx.job(r.Name); err != nil && !errors.Is(err, ErrNotExist) {
			return j, err
		}
		return j, j.take(r)
	}
	err = s.db.Lookup(ctx, func(tx *Tx) error {
		_, err := look(tx)
		return err
	})
	if err != nil {
		return job.Lease{}, err
	}
	err = s.db.Update(ctx, func(tx *Tx) error {
		j, err := look(tx)
		if err != nil {
			return err
		}
		l = job.Lease{Name: r.Name, Fence: j.fence + 1}
		_, err = tx.exec("take lease", `
			INSERT INTO jobs (name, holder, fence, expires, done, tried) VALUES ($1, $2, $3, $4, 0, 0)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, fence = excluded.fence, expires = excluded.expires`,
			r.Name, r.Holder, l.Fence, micros(r.Now.Add(r.TTL)))
		return err
	})
	return l, err
}

// Renew implements job.Leases.
func (s leases) Renew(ctx context.Context, l job.Lease, expires time.Time) error {
	return s.db.Update(ctx, func(tx *Tx) error {
		err := tx.execOne("renew lease", `UPDATE jobs SET expires = $3 WHERE name = $1 AND fence = $2 AND expires > 0`,
			l.Name, l.Fence, micros(expires))
		return told(err, job.ErrLost)
	})
}

// Give implements job.Leases.
func (s leases) Give(ctx context.Context, l job.Lease, at time.Time, how job.Ending) error {
	var done, tried int64
	if how != job.Interrupted {
		tried = micros(at)
	}
	if how == job.Done {
		done = micros(at)
	}
	return s.db.Update(ctx, func(tx *Tx) error {
		_, err := tx.exec("give lease back", `
			UPDATE jobs SET expires = 0, done = CASE WHEN $3 > done THEN $3 ELSE done END, tried = CASE WHEN $4 > tried THEN $4 ELSE tried END
			WHERE name = $1 AND fence = $2`, l.Name, l.Fence, done, tried)
		return err
	})
}

// CheckLease returns job.ErrLost unless the lease is the latest of its job.
func (tx *Tx) CheckLease(l job.Lease) error {
	j, err := tx.job(l.Name)
	if err == nil && j.fence != l.Fence {
		err = ErrNotExist
	}
	return told(err, job.ErrLost)
}
