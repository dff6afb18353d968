package web

import (
	"fmt"
	"testing"
	"time"
)

// TestUsed: a sign-in lets in once, and a flood of others stops none.
func TestUsed(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	u := used{now: func() time.Time { return now }}
	expect := func(what, state string, want bool) {
		t.Helper()
		if got := u.begin(state); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	until := now.Add(signInTime)
	expect("the first", "alice", true)
	expect("while it ends", "alice", false)
	u.end("alice", false, until)
	expect("after it came to nothing", "alice", true)
	u.end("alice", true, until)
	expect("after it let in", "alice", false)
	for i := range 3 * maxUsed {
		state := fmt.Sprint("broken ", i)
		if !u.begin(state) {
			t.Fatalf("%s is refused", state)
		}
		u.end(state, false, until)
	}
	expect("after many that came to nothing", "alice", false)
	if len(u.until) != 1 {
		t.Errorf("%d are remembered", len(u.until))
	}
	for i := range maxUsed + 1 {
		state := fmt.Sprint("whole ", i)
		if !u.begin(state) {
			t.Fatalf("%s is refused", state)
		}
		u.end(state, true, until)
	}
	expect("the oldest of too many", "alice", true)
	expect("one of the latest", fmt.Sprint("whole ", maxUsed), false)
	u.end("alice", false, until)
	now = until
	expect("which took too long", "carol", true)
	u.end("carol", true, now)
	expect("later", "bob", true)
	u.end("bob", true, now.Add(signInTime))
	if len(u.until) != 1 || len(u.order) != 1 {
		t.Errorf("%d and %d are remembered of those that have run out", len(u.until), len(u.order))
	}
}
