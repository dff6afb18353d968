package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A loader writes the rows of a dump, some at a time.
type loader struct {
	ctx     context.Context
	c       *sql.Conn
	dialect *dialect
	tables  []table
	into    *table
	order   []int // of the columns of the dump: their places in into.columns
	columns []string
	pending []any
	full    *sql.Stmt // writes rowsAtOnce rows
}

// maxArguments is how many values are written with one statement.
const maxArguments = 900

// load writes a dump into empty tables of its version, which it reads to its end.
// Errors: ErrDump.
func load(ctx context.Context, c *sql.Conn, d *dialect, in *dumpReader) error {
	off, on, err := triggersOf(ctx, c, d)
	if err != nil {
		return err
	}
	// What triggers would write is in the dump already.
	if err := execAll(ctx, c, off); err != nil {
		return err
	}
	if err := loadRows(ctx, c, d, in); err != nil {
		return err
	}
	return execAll(ctx, c, on)
}

func execAll(ctx context.Context, c *sql.Conn, statements []string) error {
	for _, s := range statements {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// triggersOf returns the statements that turn triggers off and on again.
func triggersOf(ctx context.Context, c *sql.Conn, d *dialect) (off, on []string, err error) {
	rows, err := c.QueryContext(ctx, d.triggers)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var drop, create string
		if err := rows.Scan(&drop, &create); err != nil {
			return nil, nil, err
		}
		off, on = append(off, drop), append(on, create)
	}
	return off, on, rows.Err()
}

func loadRows(ctx context.Context, c *sql.Conn, d *dialect, in *dumpReader) error {
	l := &loader{ctx: ctx, c: c, dialect: d}
	var err error
	if l.tables, err = tablesOf(ctx, c, d); err != nil {
		return err
	}
	for i := len(l.tables) - 1; i >= 0; i-- { // what migrations have put there
		if _, err := c.ExecContext(ctx, "DELETE FROM "+l.tables[i].id()); err != nil {
			return err
		}
	}
	for {
		t, row, err := in.next()
		switch {
		case errors.Is(err, io.EOF):
			return errors.Join(l.finish(), l.number())
		case err != nil:
			return errors.Join(err, l.close())
		case t != nil:
			err = l.begin(t)
		default:
			err = l.add(row)
		}
		if err != nil {
			return errors.Join(err, l.close())
		}
	}
}

// begin begins with the rows of a table.
func (l *loader) begin(t *dumpTable) error {
	if err := l.finish(); err != nil {
		return err
	}
	l.into, l.columns = nil, t.Columns
	for i := range l.tables {
		if l.tables[i].name == t.Name {
			l.into = &l.tables[i]
		}
	}
	if l.into == nil {
		return fmt.Errorf("%w: it has a table %q, which there is not", ErrDump, t.Name)
	}
	l.order = l.order[:0]
	for _, c := range t.Columns {
		place := -1
		for i, known := range l.into.columns {
			if known == c {
				place = i
			}
		}
		if place < 0 {
			return fmt.Errorf("%w: its table %s has a column %q, which there is not", ErrDump, t.Name, c)
		}
		l.order = append(l.order, place)
	}
	return nil
}

func (l *loader) rowsAtOnce() int { return max(1, maxArguments/len(l.columns)) }

func (l *loader) add(row []any) error {
	if l.into == nil || len(row) == 0 {
		return fmt.Errorf("%w: it has a row of no table", ErrDump)
	}
	for i, v := range row {
		if n, ok := v.(int64); ok && l.into.truths[l.order[i]] {
			row[i] = n != 0
		}
	}
	l.pending = append(l.pending, l.dialect.arguments(row)...)
	if len(l.pending) < l.rowsAtOnce()*len(l.columns) {
		return nil
	}
	if l.full == nil {
		var err error
		if l.full, err = l.c.PrepareContext(l.ctx, l.statement(l.rowsAtOnce())); err != nil {
			return err
		}
	}
	_, err := l.full.ExecContext(l.ctx, l.pending...)
	l.pending = l.pending[:0]
	return err
}

// statement returns what writes so many rows.
func (l *loader) statement(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", l.into.id(), l.into.quoted(l.columns))
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "(%s)", placeholders(1+i*len(l.columns), len(l.columns)))
	}
	return b.String()
}

// finish writes what waits.
func (l *loader) finish() error {
	if len(l.pending) > 0 {
		if _, err := l.c.ExecContext(l.ctx, l.statement(len(l.pending)/len(l.columns)), l.pending...); err != nil {
			return errors.Join(err, l.close())
		}
		l.pending = l.pending[:0]
	}
	return l.close()
}

func (l *loader) close() error {
	if l.full == nil {
		return nil
	}
	full := l.full
	l.full = nil
	return full.Close()
}

// number has the database go on numbering after what was written.
func (l *loader) number() error {
	for _, t := range l.tables {
		if t.serial == "" {
			continue
		}
		column := pgx.Identifier{t.serial}.Sanitize()
		_, err := l.c.ExecContext(l.ctx, "SELECT setval(pg_get_serial_sequence($1, $2), COALESCE(MAX("+column+"), 0) + 1, false) FROM "+t.id(), t.name, t.serial)
		if err != nil {
			return err
		}
	}
	return nil
}
