package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/meta"
)

// TestFollower: what was announced is read again, once for all that was announced
// meanwhile, and while it cannot be read nobody is let in by what was known.
func TestFollower(t *testing.T) {
	now, read := time.Unix(1_800_000_000, 0), map[string]int{}
	var broken error
	during := func() {}
	f := &follower{
		now: func() time.Time { return now }, due: map[string]bool{}, news: make(chan struct{}, 1),
		reload: map[string]func(context.Context) error{},
	}
	for _, topic := range []string{meta.TopicAccounts, meta.TopicRobots} {
		f.reload[topic] = func(context.Context) error {
			read[topic]++
			during()
			return broken
		}
	}
	follow := func(wantErr bool, accounts, robots int) {
		t.Helper()
		if err := f.follow(t.Context()); (err != nil) != wantErr {
			t.Error(err)
		}
		if read[meta.TopicAccounts] != accounts || read[meta.TopicRobots] != robots {
			t.Errorf("read: %v, want %d and %d", read, accounts, robots)
		}
	}
	current := func(want bool) {
		t.Helper()
		if err := f.current(); (err == nil) != want || err != nil && !errors.Is(err, meta.ErrUnavailable) {
			t.Errorf("current: %v", err)
		}
	}

	f.lost()
	current(true)
	follow(false, 1, 1)
	f.heard("of a later version", "")
	follow(false, 1, 1)

	f.heard(meta.TopicAccounts, "")
	f.heard(meta.TopicAccounts, "")
	broken = errors.New("no answer")
	follow(true, 2, 1)
	current(true)
	now = now.Add(staleAfter)
	current(false)
	follow(true, 3, 1)
	current(false)
	broken = nil
	follow(false, 4, 1)
	current(true)

	// What is announced again and again, slower than it is read, is never stale.
	during = func() {
		f.mark(meta.TopicRobots)
		now = now.Add(staleAfter / 3)
		current(true)
	}
	f.heard(meta.TopicRobots, "")
	for i := range 5 {
		follow(false, 4, 2+i)
	}
}
