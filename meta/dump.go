package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"time"
)

// Dump writes one state of all that the database holds, secrets included, as Load
// takes it for either database. Nobody who writes meanwhile waits for it; w should
// be quick all the same. now is the time that the dump is told to be of.
// Errors: ErrUnavailable, ErrDamaged.
func (db *DB) Dump(ctx context.Context, w io.Writer, now time.Time) (report DumpReport, err error) {
	pool, err := db.engine.lasting()
	if err != nil {
		return report, fmt.Errorf("open the database for a backup: %w", db.dialect.translate(err))
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	c, err := pool.Conn(ctx)
	if err != nil {
		return report, fmt.Errorf("connect to the database: %w", db.dialect.translate(err))
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, db.dialect.beginRead); err != nil {
		return report, fmt.Errorf("begin to read: %w", db.dialect.translate(err))
	}
	defer func() { _, _ = c.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") }()
	report, err = dump(ctx, c, db.dialect, w, now)
	if err != nil {
		return report, fmt.Errorf("write a backup: %w", db.dialect.translate(err))
	}
	return report, nil
}

func dump(ctx context.Context, c *sql.Conn, d *dialect, w io.Writer, now time.Time) (report DumpReport, err error) {
	report.Created = now.UTC()
	if err := c.QueryRowContext(ctx, "SELECT MAX(version_id) FROM goose_db_version").Scan(&report.Tables); err != nil {
		return report, err
	}
	tables, err := tablesOf(ctx, c, d)
	if err != nil {
		return report, err
	}
	out, err := newDumpWriter(w, report.DumpHeader)
	if err != nil {
		return report, err
	}
	for _, t := range tables {
		n, err := dumpRows(ctx, c, t, out)
		if err != nil {
			return report, fmt.Errorf("table %s: %w", t.name, err)
		}
		report.Rows += n
	}
	report.Content, err = out.end()
	return report, err
}

// tablesOf returns the tables, each after those that its rows refer to.
func tablesOf(ctx context.Context, c *sql.Conn, d *dialect) ([]table, error) {
	rows, err := c.QueryContext(ctx, d.catalog)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []table
	for rows.Next() {
		var name, column string
		var truth, serial bool
		if err := rows.Scan(&name, &column, &truth, &serial); err != nil {
			return nil, err
		}
		if len(list) == 0 || list[len(list)-1].name != name {
			list = append(list, table{name: name})
		}
		t := &list[len(list)-1]
		t.columns, t.truths = append(t.columns, column), append(t.truths, truth)
		if serial {
			t.serial = column
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	references, err := referencesOf(ctx, c, d)
	if err != nil {
		return nil, err
	}
	return inOrder(list, func(t table) string { return t.name }, references)
}

func referencesOf(ctx context.Context, c *sql.Conn, d *dialect) ([]tableReference, error) {
	rows, err := c.QueryContext(ctx, d.references)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tableReference
	for rows.Next() {
		var r tableReference
		if err := rows.Scan(&r.From, &r.To); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

func dumpRows(ctx context.Context, c *sql.Conn, t table, out *dumpWriter) (n int64, err error) {
	if err := out.table(dumpTable{t.name, t.columns}); err != nil {
		return 0, err
	}
	rows, err := c.QueryContext(ctx, "SELECT "+t.quoted(t.columns)+" FROM "+t.id())
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	values := make([]any, len(t.columns))
	pointers := make([]any, len(values))
	for i := range values {
		pointers[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(pointers...); err != nil {
			return n, err
		}
		if err := out.row(values); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}
