package meta

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"berth/auth"
	"berth/auth/account"
	"berth/auth/token"
)

func TestAccounts(t *testing.T) { onEach(t, testAccounts) }

func testAccounts(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Accounts()
	a := account.Account{Name: "a", Hash: "h", Groups: []string{"g"}, Created: day, Updated: day}
	b := account.Account{Name: "b", Hash: "h", Disabled: true, Created: day, Updated: day}
	if err := errors.Join(store.CreateAccount(ctx, b), store.CreateAccount(ctx, a)); err != nil {
		t.Fatal(err)
	}
	if err := store.CreateAccount(ctx, a); !errors.Is(err, account.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	a.Hash, a.Groups, a.Disabled, a.Updated = "h2", nil, true, day.Add(time.Second)
	err := store.UpdateAccount(ctx, "a", func(stored *account.Account) error {
		stored.Hash, stored.Groups, stored.Disabled, stored.Updated = a.Hash, a.Groups, a.Disabled, a.Updated
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no")
	err = store.UpdateAccount(ctx, "a", func(stored *account.Account) error {
		stored.Hash = "h3"
		return refused
	})
	if err != refused {
		t.Errorf("UpdateAccount = %v, want what change returned", err)
	}
	got, err := store.Accounts(ctx)
	if diff := cmp.Diff([]account.Account{a, b}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, err := range []error{store.UpdateAccount(ctx, "c", nil), store.DeleteAccount(ctx, "c")} {
		if !errors.Is(err, account.ErrNotExist) {
			t.Errorf("no such account: %v", err)
		}
	}
}

func TestDeletedAccountTakesItsTokens(t *testing.T) { onEach(t, testDeletedAccountTakesItsTokens) }

func testDeletedAccountTakesItsTokens(t *testing.T, db *DB) {
	ctx := t.Context()
	for i, s := range []auth.Subject{{Provider: "accounts", Name: "a"}, {Provider: "accounts", Name: "b"}, {Provider: "ldap", Name: "a"}} {
		id := string(rune('x' + i))
		if err := db.Tokens().AddRefreshToken(ctx, token.RefreshToken{ID: id, Hash: []byte(id), Subject: s}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Accounts().CreateAccount(ctx, account.Account{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := db.Accounts().DeleteAccount(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	left, err := db.Tokens().RefreshTokens(ctx, "")
	if err != nil || len(left) != 2 || left[0].ID != "y" || left[1].ID != "z" {
		t.Errorf("tokens left: %+v, %v", left, err)
	}
}

func TestRefreshTokens(t *testing.T) { onEach(t, testRefreshTokens) }

func testRefreshTokens(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Tokens()
	one := token.RefreshToken{ID: "1", Hash: []byte{1, 0}, Subject: auth.Subject{Provider: "p", Name: "a"}, Version: "v", Service: "s",
		Client: "c", Addr: "127.0.0.1", Created: day, LastUsed: day}
	two := token.RefreshToken{ID: "2", Hash: []byte{2}, Subject: auth.Subject{Name: "b"}, Created: day.Add(1e9), LastUsed: day.Add(1e9)}
	if err := errors.Join(store.AddRefreshToken(ctx, one), store.AddRefreshToken(ctx, two)); err != nil {
		t.Fatal(err)
	}
	got, err := store.RefreshToken(ctx, one.Hash)
	if diff := cmp.Diff(one, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if _, err := store.RefreshToken(ctx, []byte{1}); !errors.Is(err, token.ErrNotExist) {
		t.Errorf("a hash that is not there: %v", err)
	}
	one.LastUsed = day.Add(time.Hour)
	if err := store.TouchRefreshTokens(ctx, map[string]time.Time{"1": one.LastUsed, "none": day}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]token.RefreshToken{"": {two, one}, "a": {one}, "c": nil} {
		got, err := store.RefreshTokens(ctx, name)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(name, err, diff)
		}
	}
	if n, err := store.DeleteIdleRefreshTokens(ctx, one.LastUsed); err != nil || n != 1 {
		t.Errorf("%d idle tokens, %v", n, err)
	}
	if err := store.DeleteRefreshToken(ctx, "1"); err != nil {
		t.Error(err)
	}
	if err := store.DeleteRefreshToken(ctx, "1"); !errors.Is(err, token.ErrNotExist) {
		t.Errorf("deleted twice: %v", err)
	}
}

// TestRefreshTokensOfOneUser: the one more than a user may have takes the place
// of that which was idle the longest, and of nobody else's.
func TestRefreshTokensOfOneUser(t *testing.T) { onEach(t, testRefreshTokensOfOneUser) }

func testRefreshTokensOfOneUser(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Tokens()
	add := func(id string, s auth.Subject, used time.Time) {
		t.Helper()
		if err := store.AddRefreshToken(ctx, token.RefreshToken{ID: id, Hash: []byte(id), Subject: s, Created: day, LastUsed: used}); err != nil {
			t.Fatal(err)
		}
	}
	a := auth.Subject{Provider: "p", Name: "a"}
	add("other provider", auth.Subject{Provider: "q", Name: "a"}, day.Add(-time.Hour))
	add("other name", auth.Subject{Provider: "p", Name: "b"}, day.Add(-time.Hour))
	add("in use", a, day)
	add("idle", a, day.Add(time.Second))
	mustUpdate(t, db, func(tx *Tx) error { // as many as there may be
		for i := 3; i <= token.MaxRefreshTokens; i++ {
			id := fmt.Sprint("more ", i)
			_, err := tx.exec("test", `
				INSERT INTO refresh_tokens (id, hash, provider, name, version, service, client, addr, created, last_used)
				VALUES ($1, $2, 'p', 'a', '', '', '', '', $3, $3)`, id, []byte(id), micros(day.Add(time.Minute)))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := store.TouchRefreshTokens(ctx, map[string]time.Time{"in use": day.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	is := func(id string) bool {
		_, err := store.RefreshToken(ctx, []byte(id))
		return err == nil
	}
	if !is("idle") {
		t.Error("one is gone though there are no more than there may be")
	}
	add("new", a, day.Add(2*time.Hour))
	add("new of a clock that went back", a, day.Add(-time.Hour))
	list, err := store.RefreshTokens(ctx, "a")
	if err != nil || len(list) != token.MaxRefreshTokens+1 { // and the other provider's
		t.Errorf("%d tokens, %v", len(list), err)
	}
	for id, want := range map[string]bool{
		"idle": false, "in use": true, "new": true, "new of a clock that went back": true, "other provider": true, "other name": true,
	} {
		if is(id) != want {
			t.Errorf("%s: %v", id, !want)
		}
	}
}

func TestSigningKeys(t *testing.T) { onEach(t, testSigningKeys) }

func testSigningKeys(t *testing.T, db *DB) {
	ctx := t.Context()
	store := db.Tokens()
	old, young := token.Key{ID: "z", Private: []byte{1}, Created: day}, token.Key{ID: "a", Private: []byte{2}, Created: day.Add(1e9)}
	if err := errors.Join(store.AddKey(ctx, old, ""), store.AddKey(ctx, young, old.ID)); err != nil {
		t.Fatal(err)
	}
	for _, newest := range []string{"", old.ID} {
		if err := store.AddKey(ctx, token.Key{ID: "late", Created: day.Add(2e9)}, newest); !errors.Is(err, token.ErrOtherKey) {
			t.Errorf("a key after %q: %v", newest, err)
		}
	}
	got, err := store.Keys(ctx)
	if diff := cmp.Diff([]token.Key{young, old}, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if err := store.DeleteKey(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if got, err := store.Keys(ctx); err != nil || len(got) != 1 || got[0].ID != "z" {
		t.Errorf("keys left: %v, %v", got, err)
	}
}
