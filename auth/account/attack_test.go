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
