package meta

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrNotEmpty is wrapped by the errors of Move and of loads when the database that
// they are to fill holds something.
var ErrNotEmpty = errors.New("the database is not empty")

// Moved says how many rows of a table were moved.
type Moved struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
}

// progressRows is how many rows Move writes between two calls of progress.
const progressRows = 10_000

// Move writes all that from holds, a SQLite database that nobody writes to
// meanwhile, into an empty PostgreSQL database, and compares each row: in one
// transaction, so that nothing is there unless all is. progress is told how many
// rows of a table are written or compared, and how many there are.
// Errors: ErrNotEmpty, ErrUnknownOutcome, ErrUnavailable, ErrNoSpace.
func Move(ctx context.Context, from *DB, o PostgresOptions, progress func(table string, done, all int64)) ([]Moved, error) {
	to, err := OpenPostgres(ctx, o) // which makes the tables
	if err != nil {
		return nil, err
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	c, err := connectMover(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("connect to the PostgreSQL database: %w", namePostgres(err))
	}
	defer c.Close(context.WithoutCancel(ctx))
	m := mover{ctx: ctx, to: c, progress: progress}
	err = from.View(ctx, func(tx *Tx) error {
		m.from = tx.conn.c
		return m.move()
	})
	if err != nil {
		return nil, namePostgres(err)
	}
	// Without it the planner knows of the tables only what they were.
	_, err = c.Exec(ctx, "ANALYZE")
	return m.moved, namePostgres(err)
}

// connectMover connects without the limits of time that a server needs.
func connectMover(ctx context.Context, o PostgresOptions) (*pgx.Conn, error) {
	config, err := o.parse()
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["statement_timeout"] = "0"
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	if err := o.password(ctx, config); err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, config)
}

// A mover is a Move on its way.
type mover struct {
	ctx      context.Context
	from     *sql.Conn
	to       *pgx.Conn
	progress func(table string, done, all int64)
	moved    []Moved
}

// A table is one that both databases have.
type table struct {
	name    string
	columns []string // as PostgreSQL has them
	truths  []bool   // of columns: those that are true or false, and 1 or 0 in SQLite
	key     []string // of them
	serial  string   // the column that PostgreSQL numbers, "" for none
	rows    int64
}

func (t table) quoted(columns []string) string {
	quoted := make([]string, 0, len(columns))
	for _, c := range columns {
		quoted = append(quoted, pgx.Identifier{c}.Sanitize())
	}
	return strings.Join(quoted, ", ")
}

func (t table) id() string { return pgx.Identifier{t.name}.Sanitize() }

func (m *mover) move() error {
	if _, err := m.to.PgConn().Exec(m.ctx, postgresDialect().beginWrite).ReadAll(); err != nil {
		return err
	}
	tables, err := m.tables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := m.checkEmpty(t); err != nil {
			return err
		}
	}
	if err := m.setTriggers(tables, "DISABLE"); err != nil {
		return err
	}
	for _, t := range tables {
		if err := m.copy(t); err != nil {
			return fmt.Errorf("move table %s: %w", t.name, err)
		}
	}
	if err := m.setTriggers(tables, "ENABLE"); err != nil {
		return err
	}
	for _, t := range tables {
		if err := m.compare(t); err != nil {
			return fmt.Errorf("compare table %s: %w", t.name, err)
		}
		m.moved = append(m.moved, Moved{t.name, t.rows})
	}
	if _, err := m.to.Exec(m.ctx, "COMMIT"); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, namePostgres(err))
	}
	return nil
}

// checkEmpty returns ErrNotEmpty where the table holds anything.
func (m *mover) checkEmpty(t table) error {
	var some bool
	if err := m.to.QueryRow(m.ctx, "SELECT EXISTS (SELECT 1 FROM "+t.id()+")").Scan(&some); err != nil || !some {
		return err
	}
	const mark = "SELECT value FROM settings WHERE name = 'instance'"
	var here, there string
	errHere := m.from.QueryRowContext(m.ctx, mark).Scan(&here)
	errThere := m.to.QueryRow(m.ctx, mark).Scan(&there)
	if errHere == nil && errThere == nil && here == there {
		return fmt.Errorf("%w: these metadata were moved to it before", ErrNotEmpty)
	}
	return fmt.Errorf("%w: table %s has rows; name a database of its own", ErrNotEmpty, t.name)
}

// setTriggers has the triggers of the tables, but for those that keep their keys,
// rest while rows are copied: what they have written is among these.
func (m *mover) setTriggers(tables []table, to string) error {
	for _, t := range tables {
		if _, err := m.to.Exec(m.ctx, "ALTER TABLE "+t.id()+" "+to+" TRIGGER USER"); err != nil {
			return err
		}
	}
	return nil
}

// copy writes the rows of one table.
func (m *mover) copy(t table) error {
	rows, err := m.from.QueryContext(m.ctx, "SELECT "+t.quoted(t.columns)+" FROM "+t.id())
	if err != nil {
		return err
	}
	defer rows.Close()
	var done int64
	n, err := m.to.CopyFrom(m.ctx, pgx.Identifier{t.name}, t.columns, pgx.CopyFromFunc(func() ([]any, error) {
		if !rows.Next() {
			return nil, rows.Err()
		}
		if done++; done%progressRows == 0 {
			m.progress(t.name, done, 2*t.rows)
		}
		return t.scan(rows)
	}))
	if err == nil && n != t.rows {
		err = fmt.Errorf("%d of %d rows were written", n, t.rows)
	}
	if err != nil || t.serial == "" {
		return err
	}
	_, err = m.to.Exec(m.ctx, fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%s', '%s'), COALESCE(MAX(%[2]s), 0) + 1, false) FROM %[1]s", t.name, t.serial))
	return err
}

// scan reads a row of SQLite, as PostgreSQL has it.
func (t table) scan(rows *sql.Rows) ([]any, error) {
	values := make([]any, len(t.columns))
	pointers := make([]any, len(values))
	for i := range values {
		pointers[i] = &values[i]
	}
	if err := rows.Scan(pointers...); err != nil {
		return nil, err
	}
	for i, v := range values {
		switch v := v.(type) {
		case int64:
			if t.truths[i] {
				values[i] = v != 0
			}
		case []byte:
			if v == nil { // no bytes, and not NULL
				values[i] = []byte{}
			}
		}
	}
	return postgresDialect().arguments(values), nil
}

// compare reads both tables in one order.
func (m *mover) compare(t table) error {
	query := "SELECT " + t.quoted(t.columns) + " FROM " + t.id() + " ORDER BY " + t.quoted(t.key)
	from, err := m.from.QueryContext(m.ctx, query)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := m.to.Query(m.ctx, query)
	if err != nil {
		return err
	}
	defer to.Close()
	for n := int64(1); from.Next(); n++ {
		want, err := t.scan(from)
		if err != nil {
			return err
		}
		if !to.Next() {
			return errors.Join(to.Err(), fmt.Errorf("row %d is missing", n))
		}
		got, err := to.Values()
		if err != nil {
			return err
		}
		for i := range want {
			if !isSame(want[i], got[i]) {
				return fmt.Errorf("row %d differs in column %s", n, t.columns[i])
			}
		}
		if n%progressRows == 0 {
			m.progress(t.name, t.rows+n, 2*t.rows)
		}
	}
	if to.Next() {
		return errors.New("there are rows that were not moved")
	}
	m.progress(t.name, 2*t.rows, 2*t.rows)
	return errors.Join(from.Err(), to.Err())
}

func isSame(a, b any) bool {
	x, isBytes := a.([]byte)
	y, areBytes := b.([]byte)
	if isBytes && areBytes {
		return bytes.Equal(x, y)
	}
	return !isBytes && !areBytes && a == b
}
