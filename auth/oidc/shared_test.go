package oidc

import (
	"sync"
	"testing"
	"time"

	"berth/auth"
)

// TestNodesAskOnce: of several nodes one asks about a user, whose refresh token
// serves once, and the others take over what it was told.
func TestNodesAskOnce(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Shared = true })
	alice := f.mustSignIn()
	other, err := New(t.Context(), f.store, f.o)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for round := range 2 {
		before := f.issuer.Requests("/token")
		f.put("1", "alice", "dev", "ops")
		f.wait(10 * time.Minute)
		var all sync.WaitGroup
		for _, node := range []*Provider{f.Provider, other} {
			for range 10 {
				all.Go(func() {
					id, err := node.Resolve(t.Context(), auth.Subject{Name: alice.Name})
					if err != nil || len(id.Groups) != 2 {
						t.Errorf("round %d: %+v, %v", round, id, err)
					}
				})
			}
		}
		all.Wait()
		if n := f.issuer.Requests("/token") - before; n != 1 {
			t.Errorf("round %d: %d questions", round, n)
		}
	}
	if _, err := f.store.DeleteUser(t.Context(), alice.Name); err != nil {
		t.Fatal(err)
	}
	f.wait(10 * time.Minute)
	if err := other.askOnce(t.Context(), f.byName[alice.Name].User); err != nil {
		t.Errorf("who was removed elsewhere: %v", err)
	}
}
