package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that tests move.
type clock struct{ t time.Time }

func newClock() *clock                { return &clock{time.Unix(1_000_000, 0)} }
func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }

func from(addr, user string) Credentials {
	return Credentials{User: user, Password: "p", Addr: netip.MustParseAddr(addr)}
}

func TestThrottle(t *testing.T) {
	clk := newClock()
	th := newThrottle(2, 3, clk.now)
	count := func(addr, user string, allowed bool) {
		t.Helper()
		err := th.count(from(addr, user))
		if allowed != (err == nil) {
			t.Errorf("%s from %s: %v", user, addr, err)
		}
	}
	count("192.0.2.1", "alice", true)
	clk.pass(10 * time.Second)
	count("192.0.2.1", "alice", true)
	count("192.0.2.1", "alice", false)
	count("::ffff:192.0.2.1", "alice", false) // the same address
	count("192.0.2.2", "alice", true)         // another
	count("192.0.2.1", "bob", true)           // another account
	count("192.0.2.1", "carol", false)        // too many of the address
	var throttled *ThrottledError
	if err := th.count(from("192.0.2.1", "dave")); !errors.As(err, &throttled) || throttled.RetryAfter != 50*time.Second {
		t.Errorf("retry after %v", err)
	}
	clk.pass(50 * time.Second)
	count("192.0.2.1", "alice", true)

	count("2001:db8::1", "alice", true)
	count("2001:db8::2", "alice", true)
	count("2001:db8::ffff:1", "alice", false) // one network
	count("2001:db8:0:1::1", "alice", true)
}

func TestThrottlePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(2, 10, time.Now)
		alice := from("192.0.2.1", "alice")
		ctx := t.Context()
		endA, errA := th.begin(ctx, alice)
		endB, errB := th.begin(ctx, alice)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		results := make(chan error, 2)
		for range 2 { // find no place, and wait
			go func() {
				end, err := th.begin(ctx, alice)
				if err == nil {
					end(false)
				}
				results <- err
			}()
		}
		synctest.Wait()
		if len(results) != 0 {
			t.Fatal("somebody did not wait")
		}
		endA(false) // was right: one place is free again
		synctest.Wait()
		for range 2 {
			if err := <-results; err != nil {
				t.Errorf("behind a right password: %v", err)
			}
		}
		endC, err := th.begin(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, err := th.begin(ctx, alice); results <- err }()
		synctest.Wait()
		endB(true)
		endC(true)
		var throttled *ThrottledError
		if err := <-results; !errors.As(err, &throttled) {
			t.Errorf("behind two wrong passwords: %v", err)
		}
		gone, cancel := context.WithCancel(ctx)
		cancel()
		bob := from("192.0.2.1", "bob")
		for range 2 {
			if _, err := th.begin(gone, bob); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := th.begin(gone, bob); !errors.Is(err, context.Canceled) {
			t.Errorf("left while waiting: %v", err)
		}
	})
}

// TestThrottleMemory: who is refused is not remembered, nor who was right.
func TestThrottleMemory(t *testing.T) {
	clk := newClock()
	th := newThrottle(10, 50, clk.now)
	for i := range 1000 {
		_ = th.count(from("192.0.2.1", fmt.Sprint("user", i)))
	}
	if n := len(th.guessers); n != 51 {
		t.Errorf("%d are remembered of one address", n)
	}
	clk.pass(2 * time.Minute)
	for i := range 100 {
		end, err := th.begin(context.Background(), from("192.0.2.3", fmt.Sprint("user", i)))
		if err != nil {
			t.Fatal(err)
		}
		end(false)
	}
	if n := len(th.guessers); n != 0 {
		t.Errorf("%d are remembered after all windows are over", n)
	}
}

// TestThrottleNeverMore: in no window of a minute are there more wrong
// passwords than two windows of a guesser hold.
func TestThrottleNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clk := newClock()
		th := newThrottle(3, 100, clk.now)
		var wrong []time.Time
		for _, wait := range rapid.SliceOfN(rapid.IntRange(0, 30), 1, 60).Draw(t, "seconds") {
			clk.pass(time.Duration(wait) * time.Second)
			end, err := th.begin(context.Background(), from("192.0.2.1", "alice"))
			if err != nil {
				continue
			}
			end(true)
			wrong = append(wrong, clk.now())
		}
		for i := range wrong {
			if i >= 6 && wrong[i].Sub(wrong[i-6]) < time.Minute {
				t.Fatalf("7 wrong passwords within %v", wrong[i].Sub(wrong[i-6]))
			}
		}
	})
}
