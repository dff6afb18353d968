package meta

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// tables returns those of SQLite as PostgreSQL has them, each after those that
// its rows refer to, and how many rows they have.
func (m *mover) tables() ([]table, error) {
	rows, err := m.from.QueryContext(m.ctx, `
		SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name <> 'goose_db_version' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []table
	for rows.Next() {
		var t table
		if err := rows.Scan(&t.name); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for i := range list {
		if err := m.describe(&list[i]); err != nil {
			return nil, err
		}
	}
	return m.inOrder(list)
}

// describe fills in the rest of a table.
func (m *mover) describe(t *table) error {
	columns, err := m.to.Query(m.ctx, `
		SELECT c.column_name, c.data_type = 'boolean', c.is_identity = 'YES', COALESCE(k.ordinal_position, 0)
		FROM information_schema.columns c
		LEFT JOIN information_schema.table_constraints p
			ON p.table_schema = c.table_schema AND p.table_name = c.table_name AND p.constraint_type = 'PRIMARY KEY'
		LEFT JOIN information_schema.key_column_usage k
			ON k.table_schema = c.table_schema AND k.constraint_name = p.constraint_name AND k.table_name = c.table_name AND k.column_name = c.column_name
		WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY c.ordinal_position`, t.name)
	if err != nil {
		return err
	}
	type column struct {
		name            string
		truth, identity bool
		key             int
	}
	list, err := pgx.CollectRows(columns, func(r pgx.CollectableRow) (c column, err error) {
		err = r.Scan(&c.name, &c.truth, &c.identity, &c.key)
		return c, err
	})
	if err != nil {
		return err
	}
	for _, c := range list {
		t.columns, t.truths = append(t.columns, c.name), append(t.truths, c.truth)
		if c.identity {
			t.serial = c.name
		}
	}
	slices.SortStableFunc(list, func(a, b column) int { return cmp.Compare(a.key, b.key) })
	for _, c := range list {
		if c.key > 0 {
			t.key = append(t.key, c.name)
		}
	}
	var known int
	if err := m.from.QueryRowContext(m.ctx, `SELECT COUNT(*) FROM pragma_table_info($1)`, t.name).Scan(&known); err != nil {
		return err
	}
	if known != len(list) || len(t.key) == 0 {
		return fmt.Errorf("table %s has %d columns, and %d in PostgreSQL: both databases must be of the same version", t.name, known, len(list))
	}
	return m.from.QueryRowContext(m.ctx, "SELECT COUNT(*) FROM "+t.id()).Scan(&t.rows)
}

// inOrder puts tables after those that they refer to.
func (m *mover) inOrder(list []table) ([]table, error) {
	references, err := m.to.Query(m.ctx, postgresReferences)
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(references, pgx.RowToStructByPos[tableReference])
	if err != nil {
		return nil, err
	}
	return inOrder(list, func(t table) string { return t.name }, all)
}

// postgresReferences asks for references.
const postgresReferences = `
	SELECT DISTINCT r.relname::text, f.relname::text FROM pg_constraint c
	JOIN pg_class r ON r.oid = c.conrelid JOIN pg_class f ON f.oid = c.confrelid
	WHERE c.contype = 'f' AND c.connamespace = current_schema()::regnamespace AND c.conrelid <> c.confrelid`

// A tableReference says that rows of a table refer to those of another one.
type tableReference struct{ From, To string }

// inOrder puts tables after those that they refer to.
func inOrder[T any](list []T, name func(T) string, all []tableReference) ([]T, error) {
	var ordered []T
	for len(list) > 0 {
		free := slices.IndexFunc(list, func(t T) bool {
			return !slices.ContainsFunc(all, func(r tableReference) bool {
				return r.From == name(t) && slices.ContainsFunc(list, func(o T) bool { return name(o) == r.To })
			})
		})
		if free < 0 {
			return nil, fmt.Errorf("table %s refers to itself over others", name(list[0]))
		}
		ordered = append(ordered, list[free])
		list = slices.Delete(list, free, free+1)
	}
	return ordered, nil
}
