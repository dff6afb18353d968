package account

import (
	"context"
	"testing"

	"berth/auth"
)

// TestNameComesBack: an account of a name that there was before is another one,
// even with the same password, made at the same moment, after a restart: what
// was issued to the first stays void.
func TestNameComesBack(t *testing.T) {
	ctx := context.Background()
	store := &memory{}
	seen := make(map[string]bool)
	for range 3 {
		a := newAccounts(t, store)
		for range 2 {
			if err := a.Add(ctx, "alice", "password1", nil); err != nil {
				t.Fatal(err)
			}
			id, err := a.Resolve(ctx, auth.Subject{Name: "alice"})
			if err != nil || id.Version == "" || seen[id.Version] {
				t.Errorf("the account is of version %q again, %v", id.Version, err)
			}
			seen[id.Version] = true
			if err := a.Remove(ctx, "alice"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRemovedIsTold: whoever keeps what belongs to an account hears of its end
// before its name can be anybody else's, and of no other.
func TestRemovedIsTold(t *testing.T) {
	ctx := context.Background()
	a := newAccounts(t, &memory{})
	var told []auth.Subject
	a.Removed = func(s auth.Subject) {
		if _, err := a.Resolve(ctx, auth.Subject{Name: s.Name}); err == nil {
			t.Error("told while the account is there")
		}
		told = append(told, s)
	}
	if err := a.Add(ctx, "alice", "password1", nil); err != nil {
		t.Fatal(err)
	}
	if err := a.Remove(ctx, "bob"); err == nil {
		t.Error("removed who is not there")
	}
	if err := a.Remove(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != (auth.Subject{Provider: "accounts", Name: "alice"}) {
		t.Errorf("told of %v", told)
	}
}
