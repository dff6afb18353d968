package meta

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/test/postgres"
)

// TestKilledServer: what was acknowledged is there when the server is back, and
// the database goes on by itself.
func TestKilledServer(t *testing.T) {
	s := postgres.Start(t, postgres.Options{})
	db := openURL(t, s.URL(s.Database(t)))
	acknowledged := make(map[string]bool)
	n := 0
	write := func() error {
		n++
		name := fmt.Sprint(n)
		err := put(db, name, "x")
		if err == nil {
			acknowledged[name] = true
		}
		return err
	}
	for _, end := range []func(){s.Kill, s.Stop} {
		stopped := make(chan struct{})
		time.AfterFunc(200*time.Millisecond, func() {
			end()
			close(stopped)
		})
		var err error
		for err == nil {
			err = write()
		}
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("the server is gone: %v", err)
		}
		<-stopped
		begun := time.Now()
		if err := db.View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrUnavailable) || db.Degraded() == "" {
			t.Errorf("View = %v, degraded %q", err, db.Degraded())
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("it took %v to learn that nobody is there", took)
		}
		s.Start(t)
		if err := write(); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
	if len(acknowledged) < 10 {
		t.Errorf("only %d updates", len(acknowledged))
	}
	for name := range acknowledged {
		if setting(t, db, name) != "x" {
			t.Errorf("update %s was acknowledged, and is lost", name)
		}
	}
}

// TestFrozenServer: nobody waits for 10 seconds, nothing wrong is told, and when
// the server goes on so does the database.
func TestFrozenServer(t *testing.T) {
	s := postgres.Start(t, postgres.Options{Fast: true})
	db := openURL(t, s.URL(s.Database(t)))
	if err := put(db, "a", "before"); err != nil {
		t.Fatal(err)
	}
	lost := make(chan time.Time, 100)
	ctx, stop := context.WithCancel(t.Context())
	var listener, callers sync.WaitGroup
	listener.Go(func() { db.Listen(ctx, func(string, string) {}, func() { lost <- time.Now() }) })
	defer listener.Wait()
	defer stop()
	<-lost
	s.Freeze()
	begun := time.Now()
	for i := range 40 {
		callers.Go(func() {
			call := func() error { return put(db, "a", "frozen") }
			if i%2 == 0 {
				call = func() error { return db.View(context.Background(), func(*Tx) error { return nil }) }
			}
			err := call()
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("of a server that stands still: %v", err)
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("that took %v: %v", took, err)
			}
		})
	}
	select {
	case at := <-lost:
		if took := at.Sub(begun); took > 5*time.Second {
			t.Errorf("it took %v to notice that nothing is heard", took)
		}
	case <-time.After(6 * time.Second):
		t.Error("nobody notices that nothing is heard")
	}
	callers.Wait()
	s.Thaw()
	for deadline := time.Now().Add(5 * time.Second); put(db, "b", "after") != nil; {
		if time.Now().After(deadline) {
			t.Fatal("it does not go on")
		}
	}
	if got := setting(t, db, "a"); got != "before" && got != "frozen" {
		t.Errorf("setting %q", got)
	}
}

// TestFailOver: of several hosts the one that takes writes is found, and found
// again. A database that takes none stands for a server that is not the primary.
func TestFailOver(t *testing.T) {
	one := postgres.Start(t, postgres.Options{Fast: true})
	two := postgres.Start(t, postgres.Options{Fast: true})
	database := one.Database(t)
	if got := two.Database(t); got != database {
		t.Fatalf("databases %s and %s", database, got)
	}
	first, err := OpenPostgres(t.Context(), PostgresOptions{URL: two.URL(database)}) // which makes the tables
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := two.Exec(t.Context(), "postgres", "ALTER DATABASE "+database+" SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	both := two.Addr() + "," + one.Addr()
	db := openURL(t, strings.Replace(one.URL(database), one.Addr(), both, 1)+"&target_session_attrs=read-write")
	if err := put(db, "a", "one"); err != nil {
		t.Fatal(err)
	}
	if got := setting(t, db, "a"); got != "one" {
		t.Errorf("setting %q", got)
	}
	one.Kill()
	if err := put(db, "a", "nobody"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without a primary: %v", err)
	}
	if err := two.Exec(t.Context(), "postgres", "ALTER DATABASE "+database+" RESET default_transaction_read_only"); err != nil {
		t.Fatal(err)
	}
	if err := put(db, "a", "two"); err != nil {
		t.Errorf("after the fail-over: %v", err)
	}
	if got := setting(t, db, "a"); got != "two" {
		t.Errorf("setting %q", got)
	}
}

// TestReadOnlyServer: what is there can be read.
func TestReadOnlyServer(t *testing.T) {
	s := postgres.Start(t, postgres.Options{Fast: true})
	database := s.Database(t)
	db := openURL(t, s.URL(database))
	if err := put(db, "a", "x"); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(t.Context(), "postgres", "ALTER DATABASE "+database+" SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	s.CutConnections(t, database)
	time.Sleep(50 * time.Millisecond)
	if err := put(db, "a", "y"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Update = %v", err)
	}
	if got := setting(t, db, "a"); got != "x" {
		t.Errorf("setting %q", got)
	}
}

// TestLostAnswer: a commit whose answer is lost is of unknown outcome.
func TestLostAnswer(t *testing.T) {
	s := shared.Server(t)
	database := s.Copy(t, emptyTables(t))
	p := newProxy(t, s.Addr())
	db := openURL(t, strings.Replace(s.URL(database), s.Addr(), p.addr(), 1))
	if err := put(db, "a", "x"); err != nil {
		t.Fatal(err)
	}
	p.cutAfter("COMMIT\x00")
	err := put(db, "a", "y")
	if !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("Update = %v", err)
	}
	p.cutAfter("")
	if got := setting(t, db, "a"); got != "y" { // this one was
		t.Errorf("setting %q", got)
	}
}
