package meta

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"berth/oci"
)

// A Tx is one look at the database, or one change of it. It is valid during the
// call of View or Update that gave it. After an error that is not ErrNotExist
// every method returns that error.
type Tx struct {
	conn *conn
	err  error
}

// fail remembers err, unless it only says that there is no such row. doing says
// what was attempted.
func (tx *Tx) fail(doing string, err error) error {
	err = tx.conn.dialect.translate(err)
	if err == nil || errors.Is(err, ErrNotExist) {
		return err
	}
	tx.err = fmt.Errorf("%s: %w", doing, err)
	return tx.err
}

// exec runs a statement and returns how many rows it changed.
func (tx *Tx) exec(doing, query string, args ...any) (int64, error) {
	if tx.err != nil {
		return 0, tx.err
	}
	s, err := tx.conn.prepare(query)
	if err != nil {
		return 0, tx.fail(doing, err)
	}
	ctx, cancel := tx.conn.dialect.context()
	defer cancel()
	r, err := s.ExecContext(ctx, tx.conn.dialect.arguments(args)...)
	if err != nil {
		return 0, tx.fail(doing, err)
	}
	n, err := r.RowsAffected()
	return n, tx.fail(doing, err)
}

// execOne is exec for a statement that must change a row. Errors: ErrNotExist.
func (tx *Tx) execOne(doing, query string, args ...any) error {
	n, err := tx.exec(doing, query, args...)
	if err == nil && n == 0 {
		err = ErrNotExist
	}
	return err
}

// row reads one row into dest. Errors: ErrNotExist.
func (tx *Tx) row(doing, query string, args []any, dest ...any) error {
	if tx.err != nil {
		return tx.err
	}
	s, err := tx.conn.prepare(query)
	if err != nil {
		return tx.fail(doing, err)
	}
	ctx, cancel := tx.conn.dialect.context()
	defer cancel()
	return tx.fail(doing, s.QueryRowContext(ctx, tx.conn.dialect.arguments(args)...).Scan(dest...))
}

// rows reads all rows of a query, each with scan.
func rows[T any](tx *Tx, doing, query string, args []any, scan func(scanner) (T, error)) (list []T, err error) {
	if tx.err != nil {
		return nil, tx.err
	}
	s, err := tx.conn.prepare(query)
	if err != nil {
		return nil, tx.fail(doing, err)
	}
	ctx, cancel := tx.conn.dialect.context()
	defer cancel()
	r, err := s.QueryContext(ctx, tx.conn.dialect.arguments(args)...)
	if err != nil {
		return nil, tx.fail(doing, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for r.Next() {
		v, err := scan(r)
		if err != nil {
			return nil, tx.fail(doing, err)
		}
		list = append(list, v)
	}
	return list, tx.fail(doing, r.Err())
}

// A scanner is the row that is read.
type scanner interface{ Scan(dest ...any) error }

var _ scanner = (*sql.Rows)(nil)

// scanText reads a row of one text.
func scanText[T ~string](r scanner) (T, error) {
	var s T
	err := r.Scan(&s)
	return s, err
}

func micros(t time.Time) int64     { return t.UnixMicro() }
func fromMicros(n int64) time.Time { return time.UnixMicro(n).UTC() }

// placeholders returns "$first,$first+1,…", n of them.
func placeholders(first, n int) string {
	b := make([]byte, 0, 5*n)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, "$%d", first+i)
	}
	return string(b)
}

// padded returns values as arguments, the last one repeated until their number
// is a power of two: few numbers make few statements to prepare.
func padded[T ~string](values []T) []any {
	n := 1
	for n < len(values) {
		n *= 2
	}
	args := make([]any, 0, n)
	for _, v := range values {
		args = append(args, string(v))
	}
	for len(args) < n {
		args = append(args, args[len(args)-1])
	}
	return args
}

// chunkSize is how many digests one query asks for.
const chunkSize = 512

// sizes reads rows of a digest and a size into found.
func (tx *Tx) sizes(doing, query string, args []any, found map[oci.Digest]int64) error {
	type sized struct {
		digest oci.Digest
		size   int64
	}
	list, err := rows(tx, doing, query, args, func(r scanner) (s sized, err error) {
		err = r.Scan(&s.digest, &s.size)
		return s, err
	})
	for _, s := range list {
		found[s.digest] = s.size
	}
	return err
}
