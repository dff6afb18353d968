package meta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/test/postgres"
)

func put(db *DB, name, value string) error {
	return db.Update(context.Background(), func(tx *Tx) error { return tx.PutSetting(name, value) })
}

// TestUpdatesOfNodesAreOneAfterTheOther: what is decided in a transaction holds
// on every node.
func TestUpdatesOfNodesAreOneAfterTheOther(t *testing.T) {
	const nodes, writers, each = 2, 8, 10
	s := shared.Server(t)
	url := s.URL(s.Copy(t, emptyTables(t)))
	var all sync.WaitGroup
	for range nodes {
		db := openURL(t, url)
		for range writers {
			all.Go(func() {
				for range each {
					err := db.Update(context.Background(), func(tx *Tx) error {
						value, err := tx.Setting("count")
						if err != nil && !errors.Is(err, ErrNotExist) {
							return err
						}
						return tx.PutSetting("count", value+"x")
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	db := openURL(t, url)
	if got := len(setting(t, db, "count")); got != nodes*writers*each {
		t.Errorf("%d of %d updates are there", got, nodes*writers*each)
	}
}

// TestNodesStartAtOnce: one of them makes the tables.
func TestNodesStartAtOnce(t *testing.T) {
	s := shared.Server(t)
	url := s.URL(s.Database(t))
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			db, err := OpenPostgres(context.Background(), PostgresOptions{URL: url})
			if err != nil {
				t.Error(err)
				return
			}
			defer db.Close()
			if err := put(db, fmt.Sprint(i), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestNewerTables: a program works with tables that have only been added to.
func TestNewerTables(t *testing.T) {
	s := shared.Server(t)
	url := s.URL(s.Copy(t, emptyTables(t)))
	newer := openURL(t, url)
	mustUpdate(t, newer, func(tx *Tx) error {
		_, err := tx.exec("test", `ALTER TABLE accounts ADD COLUMN later TEXT NOT NULL DEFAULT ''`)
		_, err2 := tx.exec("test", `INSERT INTO goose_db_version (version_id, is_applied) VALUES (90000, TRUE)`)
		return errors.Join(err, err2)
	})
	older := openURL(t, url)
	if err := put(older, "a", "x"); err != nil {
		t.Error(err)
	}
	if err := put(newer, minimumSetting, "90000"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPostgres(t.Context(), PostgresOptions{URL: url}); err == nil || !strings.Contains(err.Error(), "90000") {
		t.Errorf("opened tables that this program does not know: %v", err)
	}
}

// TestTablesAreTheSame: both databases have the same columns, and text sorts by
// byte in each.
func TestTablesAreTheSame(t *testing.T) {
	columns := func(db *DB, query string) (list []string) {
		mustView(t, db, func(tx *Tx) (err error) {
			list, err = rows(tx, "test", query, nil, scanText[string])
			return err
		})
		return list
	}
	sqlite := columns(open(t), `
		SELECT s.name || '.' || c.name || ' ' || CASE c.type WHEN 'BLOB' THEN 'BYTEA' WHEN 'INTEGER' THEN 'BIGINT' ELSE c.type END
			|| CASE WHEN c."notnull" OR c.pk THEN '' ELSE ' NULL' END
		FROM sqlite_schema s, pragma_table_info(s.name) c
		WHERE s.type = 'table' AND s.name NOT LIKE 'sqlite%' AND s.name <> 'goose_db_version' ORDER BY 1`)
	inPostgres := columns(openShared(t), `
		SELECT description FROM (SELECT table_name || '.' || column_name || ' ' || upper(data_type) || CASE is_nullable WHEN 'YES' THEN ' NULL' ELSE '' END
			|| CASE WHEN data_type = 'text' AND collation_name IS DISTINCT FROM 'C' THEN ' which does not sort by byte' ELSE '' END AS description
			FROM information_schema.columns
			WHERE table_schema = current_schema() AND table_name <> 'goose_db_version') AS one ORDER BY description COLLATE "C"`)
	if diff := cmp.Diff(sqlite, inPostgres); diff != "" {
		t.Errorf("columns in SQLite (-) and PostgreSQL (+):\n%s", diff)
	}
	if diff := cmp.Diff(
		columns(open(t), `SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY name`),
		columns(openShared(t), `
			SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename <> 'goose_db_version'
			AND indexname !~ '_(pkey|key)$' ORDER BY indexname COLLATE "C"`)); diff != "" {
		t.Errorf("indexes in SQLite (-) and PostgreSQL (+):\n%s", diff)
	}
}

// TestPostgresPlans asks PostgreSQL how it would run each statement, in tables
// that it knows nothing about.
func TestPostgresPlans(t *testing.T) {
	db := openShared(t)
	allowed := regexp.MustCompile(`Seq Scan on (blobs|repositories|sessions)\b`)
	mustUpdate(t, db, func(tx *Tx) error {
		callAll(t, tx)
		if _, err := tx.exec("test", `SET LOCAL plan_cache_mode = force_generic_plan`); err != nil {
			return err
		}
		n := 0
		for query := range tx.conn.stmts {
			if !strings.Contains(query, "$") || strings.Contains(query, "pg_") {
				continue
			}
			n++
			name := fmt.Sprintf("plan%d", n)
			if err := tx.conn.run("PREPARE " + name + " AS " + query); err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			args := strings.Repeat("NULL, ", countParameters(query)-1) + "NULL"
			steps, err := rows(tx, "explain", "EXPLAIN EXECUTE "+name+"("+args+")", nil, scanText[string])
			if err != nil {
				return fmt.Errorf("%s: %w", query, err)
			}
			plan := strings.Join(steps, "\n")
			if strings.Contains(allowed.ReplaceAllString(plan, ""), "Seq Scan") {
				t.Errorf("%s\n%s", query, plan)
			}
			if strings.Contains(query, "ORDER BY") && strings.Contains(plan, "Sort") && !strings.Contains(query, "RECURSIVE reaching") {
				t.Errorf("in no order of an index: %s\n%s", query, plan)
			}
		}
		return tx.err
	})
}

// countParameters returns the greatest number of a parameter.
func countParameters(query string) int {
	most := 0
	for _, p := range parameter.FindAllString(query, -1) {
		var n int
		if _, err := fmt.Sscanf(p, "$%d", &n); err == nil {
			most = max(most, n)
		}
	}
	return most
}

// TestPasswordIsNotTold: not by any error.
func TestPasswordIsNotTold(t *testing.T) {
	s := shared.Server(t)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(postgres.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	database := s.Copy(t, emptyTables(t))
	withPassword := s.URL(database)
	without := strings.Replace(withPassword, ":"+postgres.Password, "", 1)
	db, err := OpenPostgres(t.Context(), PostgresOptions{URL: without, PasswordFile: file})
	closedAfter(t, db, err)
	for _, o := range []PostgresOptions{
		{URL: strings.Replace(withPassword, "127.0.0.1", "127.0.0.1:x", 1)},
		{URL: strings.Replace(withPassword, "sslmode=disable", "sslmode=perhaps", 1)},
		{URL: strings.Replace(withPassword, database, "nothing", 1)},
		{URL: strings.Replace(withPassword, postgres.Password, postgres.Password+"%zz", 1)},
		{URL: strings.Replace(withPassword, "sslmode=disable", "sslmode=verify-full&sslrootcert=/nowhere.pem", 1)},
		{URL: strings.Replace(withPassword, "berth:", "nobody:", 1)},
		{URL: withPassword + "&password=" + postgres.Password + "&sslmode=x"},
		{URL: without},
		{URL: without, PasswordFile: file + ".missing"},
		{URL: withPassword, MaxConnections: 2},
	} {
		db, err := OpenPostgres(t.Context(), o)
		if err == nil {
			t.Errorf("opened %+v", o)
			_ = db.Close()
			continue
		}
		if strings.Contains(err.Error(), postgres.Password) {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestProtected(t *testing.T) {
	for url, want := range map[string]bool{
		"postgres://berth@db.example.org/berth":                                  false,
		"postgres://berth@db.example.org/berth?sslmode=require":                  false,
		"postgres://berth@db.example.org/berth?sslmode=verify-full":              true,
		"postgres://berth@a.example.org,b.example.org/berth?sslmode=verify-full": true,
		"postgres://berth@127.0.0.1/berth":                                       true,
		"postgres:///berth?host=/run/postgresql":                                 true,
		"host=db.example.org sslmode=disable":                                    false,
	} {
		if got := (PostgresOptions{URL: url}).Protected(); got != want {
			t.Errorf("Protected(%s) = %v", url, got)
		}
	}
}

// TestFrozenNode: a node that stands still in a transaction holds the others up
// for a moment, and learns that its own is lost.
func TestFrozenNode(t *testing.T) {
	s := shared.Server(t)
	url := s.URL(s.Copy(t, emptyTables(t)))
	one, other := openURL(t, url), openURL(t, url)
	held, gate := make(chan struct{}), make(chan struct{})
	var once sync.Once
	frozen := make(chan error, 1)
	go func() {
		frozen <- one.Update(context.Background(), func(tx *Tx) error {
			err := tx.PutSetting("a", "one")
			once.Do(func() { close(held) })
			<-gate
			return err
		})
	}()
	<-held
	begun := time.Now()
	if err := put(other, "a", "other"); err != nil {
		t.Errorf("beside a node that stands still: %v", err)
	}
	if took := time.Since(begun); took > 2*idleTime {
		t.Errorf("that took %v", took)
	}
	close(gate)
	if err := <-frozen; err == nil {
		t.Error("the transaction of the node that stood still was acknowledged")
	}
	if err := put(one, "b", "one"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if got := setting(t, one, "a"); got != "other" {
		t.Errorf("setting %q", got)
	}
}

func TestAnnouncements(t *testing.T) {
	s := shared.Server(t)
	database := s.Copy(t, emptyTables(t))
	one, other := openURL(t, s.URL(database)), openURL(t, s.URL(database))
	heard := make(chan string, 10)
	lost := make(chan struct{}, 100)
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		other.Listen(ctx, func(topic, payload string) { heard <- topic + "=" + payload }, func() { lost <- struct{}{} })
	})
	defer all.Wait()
	defer stop()
	next := func() string {
		t.Helper()
		select {
		case h := <-heard:
			return h
		case <-time.After(5 * time.Second):
			t.Fatal("nothing is heard")
		}
		return ""
	}
	<-lost // it listens
	failed := errors.New("not this one")
	err := one.Update(t.Context(), func(tx *Tx) error { return errors.Join(tx.Announce("a", "never"), failed) })
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	mustUpdate(t, one, func(tx *Tx) error { return tx.Announce("a", "line\nline") })
	if got := next(); got != "a=line\nline" {
		t.Errorf("heard %q", got)
	}
	if err := one.Update(t.Context(), func(tx *Tx) error { return tx.Announce("a", strings.Repeat("x", MaxAnnouncement)) }); err == nil {
		t.Error("announced more than can be told")
	}
	s.CutConnections(t, database)
	<-lost // at once
	<-lost // it listens again
	mustUpdate(t, one, func(tx *Tx) error { return tx.Announce("b", "") })
	if got := next(); got != "b=" {
		t.Errorf("heard %q", got)
	}
}

// TestSilence: SQLite announces to nobody.
func TestSilence(t *testing.T) {
	db := open(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		db.Listen(ctx, func(string, string) { t.Error("something is heard") }, func() { t.Error("something was missed") })
	}()
	mustUpdate(t, db, func(tx *Tx) error { return tx.Announce("a", "b") })
	stop()
	<-done
}

// TestConnectionsAreKept: to make one takes longer than most that is asked on it.
func TestConnectionsAreKept(t *testing.T) {
	db := openShared(t)
	backends := make(map[int]bool)
	note := func(tx *Tx) error {
		var pid int
		err := tx.row("test", "SELECT pg_backend_pid()", nil, &pid)
		backends[pid] = true
		return err
	}
	for range 3 * cap(db.readers) {
		if err := errors.Join(db.Lookup(t.Context(), note), db.View(t.Context(), note), db.Update(t.Context(), note)); err != nil {
			t.Fatal(err)
		}
	}
	if len(backends) > cap(db.readers)+1 {
		t.Errorf("%d connections were made", len(backends))
	}
}

// TestCutConnections: whoever asks next gets a new connection, and no error.
func TestCutConnections(t *testing.T) {
	s := shared.Server(t)
	database := s.Copy(t, emptyTables(t))
	db := openURL(t, s.URL(database))
	for i := range 3 {
		if err := put(db, "a", fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
		for range 2 * cap(db.readers) {
			if got := setting(t, db, "a"); got != fmt.Sprint(i) {
				t.Errorf("setting %q", got)
			}
		}
		s.CutConnections(t, database)
		time.Sleep(50 * time.Millisecond)
	}
}

// TestCutInTransaction: an update whose connection ends under it fails, and
// leaves nothing.
func TestCutInTransaction(t *testing.T) {
	s := shared.Server(t)
	database := s.Copy(t, emptyTables(t))
	db := openURL(t, s.URL(database))
	var calls atomic.Int32
	err := db.Update(t.Context(), func(tx *Tx) error {
		calls.Add(1)
		err := tx.PutSetting("a", "x")
		s.CutConnections(t, database)
		return err
	})
	if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("Update = %v", err)
	}
	if db.Degraded() == "" {
		t.Error("nothing shows")
	}
	if calls.Load() != 1 {
		t.Errorf("%d calls", calls.Load())
	}
	if got := setting(t, db, "a"); got != "" {
		t.Errorf("setting %q", got)
	}
	if db.Degraded() != "" {
		t.Error("it still shows")
	}
}
