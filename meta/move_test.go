package meta

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/auth/account"
	"berth/auth/oidc"
	"berth/auth/robot"
	"berth/auth/session"
	"berth/auth/token"
	"berth/oci"
)

// fill writes rows of every kind.
func fill(t *testing.T, db *DB) {
	t.Helper()
	for _, repo := range []oci.Name{"a", "b/c"} {
		id := putManifest(t, db, repo, "m", Manifest{Subject: digest("s"), ArtifactType: "x/y", Annotations: map[string]string{"ü": "\x00'\n"}}, Child{digest("l"), KindLayer})
		mustUpdate(t, db, func(tx *Tx) error {
			b, err := tx.PutBlob(Blob{Digest: digest("l"), Size: 5, Key: "l"}, "", day)
			return errors.Join(err, tx.LinkBlob(repo, b, day), tx.PutTag(id, "v1", digest("m"), day), tx.PutTag(id, "V1", digest("m"), day))
		})
	}
	ctx := t.Context()
	subject := auth.Subject{Provider: "accounts", Name: "alice"}
	err := errors.Join(
		db.Accounts().CreateAccount(ctx, account.Account{Name: "alice", Hash: "h", Groups: []string{"g"}, Created: day, Updated: day}),
		db.Robots().CreateRobot(ctx, robot.Robot{Name: "r", Settings: robot.Settings{Disabled: true}, Created: day, Updated: day, Secrets: []robot.Secret{{ID: "1", Hash: []byte{0, 255}, Created: day}}}),
		db.Robots().CreateToken(ctx, robot.Token{Secret: robot.Secret{ID: "1", Hash: []byte{1}, Created: day}, Owner: subject}),
		db.Sessions().AddSession(ctx, session.Session{Hash: []byte("s"), Subject: subject, Created: day, LastUsed: day}),
		db.Tokens().AddRefreshToken(ctx, token.RefreshToken{ID: "1", Hash: []byte("r"), Subject: subject, Created: day, LastUsed: day}),
		db.Tokens().AddKey(ctx, token.Key{ID: "k", Private: []byte{7}, Created: day}, ""),
		db.SSO().CreateUser(ctx, oidc.User{Issuer: "i", Subject: "s", Provider: "p", Name: "p/s", Suspended: true}),
		put(db, "instance", "mark"),
	)
	mustUpdate(t, db, func(tx *Tx) error {
		return errors.Join(
			tx.CreateUpload(Upload{ID: "u", Repository: "a", Key: "u", Created: day, Updated: day}),
			tx.CreateUpload(Upload{ID: "v", Repository: "a", Owner: "\x00\xff", Key: "v", HashState: []byte{}, StoreState: []byte{0}, Created: day, Updated: day}))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestMove(t *testing.T) {
	s := shared.Server(t)
	from := open(t)
	fill(t, from)
	o := PostgresOptions{URL: s.URL(s.Database(t))}
	progress := make(map[string]int64)
	moved, err := Move(t.Context(), from, o, func(table string, done, all int64) {
		if done < progress[table] || done > all {
			t.Errorf("%d of %d rows of %s are done, after %d", done, all, table, progress[table])
		}
		progress[table] = done
	})
	if err != nil {
		t.Fatal(err)
	}
	rowsOf := make(map[string]int64)
	for _, m := range moved {
		rowsOf[m.Table] = m.Rows
	}
	if rowsOf["tags"] != 4 || rowsOf["blobs"] != 2 || rowsOf["settings"] < 1 || rowsOf["robot_secrets"] != 1 {
		t.Errorf("rows: %v", rowsOf)
	}
	to := openURL(t, o.URL)
	wantUsage(t, to, "a", 6, 2)
	putManifest(t, to, "a", "after", Manifest{})
	wantUsage(t, to, "a", 11, 2)
	mustUpdate(t, to, func(tx *Tx) error {
		id, err := tx.Repository("a")
		if err == nil {
			_, err = tx.DeleteManifest(id, digest("after"))
		}
		return err
	})
	for name, look := range map[string]func(*DB) (any, error){
		"accounts": func(db *DB) (any, error) { return db.Accounts().Accounts(t.Context()) },
		"robots":   func(db *DB) (any, error) { return db.Robots().Robots(t.Context()) },
		"sso":      func(db *DB) (any, error) { return db.SSO().Users(t.Context(), "p") },
		"keys":     func(db *DB) (any, error) { return db.Tokens().Keys(t.Context()) },
		"upload": func(db *DB) (u any, err error) {
			err = db.View(t.Context(), func(tx *Tx) (err error) {
				u, err = tx.Upload("u")
				return err
			})
			return u, err
		},
		"referrers": func(db *DB) (list any, err error) {
			err = db.View(t.Context(), func(tx *Tx) error {
				id, err := tx.Repository("a")
				if err != nil {
					return err
				}
				list, err = tx.Referrers(id, digest("s"), "", nil, 10)
				return err
			})
			return list, err
		},
	} {
		want, err := look(from)
		got, err2 := look(to)
		if err != nil || err2 != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v, %v", name, got, err2, want, err)
		}
	}
	putManifest(t, to, "d", "new", Manifest{}) // under numbers of its own
	if _, err := Move(t.Context(), from, o, func(string, int64, int64) {}); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "moved to it before") {
		t.Errorf("moved again: %v", err)
	}
}

// TestMoveThatFails leaves nothing, and can be done again.
func TestMoveThatFails(t *testing.T) {
	s := shared.Server(t)
	from := open(t)
	fill(t, from)
	database := s.Database(t)
	o := PostgresOptions{URL: s.URL(database)}
	db := openURL(t, o.URL)
	mustUpdate(t, db, func(tx *Tx) error {
		_, err := tx.exec("test", `ALTER TABLE tags ADD CHECK (name <> 'v1')`) // the last to be written
		return err
	})
	if _, err := Move(t.Context(), from, o, func(string, int64, int64) {}); err == nil {
		t.Fatal("a row that is refused was moved")
	}
	if got := setting(t, db, "instance"); got != "" {
		t.Errorf("the mark %q is there", got)
	}
	mustUpdate(t, db, func(tx *Tx) error {
		_, err := tx.exec("test", `ALTER TABLE tags DROP CONSTRAINT tags_name_check`)
		return err
	})
	if _, err := Move(t.Context(), from, o, func(string, int64, int64) {}); err != nil {
		t.Error(err)
	}
	mustUpdate(t, db, func(tx *Tx) error { return tx.PutSetting("instance", "other") })
	if _, err := Move(t.Context(), from, o, func(string, int64, int64) {}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("moved over others' names: %v", err)
	}
}

// TestMoveOfMany is long enough for a page of rows.
func TestMoveOfMany(t *testing.T) {
	s := shared.Server(t)
	from := open(t)
	mustUpdate(t, from, func(tx *Tx) error {
		_, err := tx.exec("test", `
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
			INSERT INTO settings (name, value) SELECT 'n' || i, 'x' FROM n`)
		return err
	})
	calls := 0
	begun := time.Now()
	moved, err := Move(t.Context(), from, PostgresOptions{URL: s.URL(s.Copy(t, emptyTables(t)))}, func(string, int64, int64) { calls++ })
	if err != nil || len(moved) == 0 || calls < 5 {
		t.Errorf("Move = %v, %v after %d calls", moved, err, calls)
	}
	t.Logf("25,000 rows in %v", time.Since(begun))
}
