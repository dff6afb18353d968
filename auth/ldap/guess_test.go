package ldap

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"berth/auth"
)

// A clock is set by its test.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }

var (
	home     = netip.MustParseAddr("10.0.0.1")
	stranger = netip.MustParseAddr("10.0.0.9")
	errWrong = &auth.RejectedError{Reason: "wrong password"}
)

// try takes a place for alice and gives it back with a result.
func try(t *testing.T, g *guesses, addr netip.Addr, result error) error {
	t.Helper()
	end, err := g.begin(t.Context(), "alice", addr)
	if err == nil {
		end(result)
	}
	return err
}

// TestGuesses is a stranger who guesses while alice works.
func TestGuesses(t *testing.T) {
	c := newClock()
	g := newGuesses(5, c.now)
	if err := try(t, g, home, nil); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := try(t, g, stranger, errWrong); err != nil {
			t.Fatal(err)
		}
	}
	var throttled *auth.ThrottledError
	if err := try(t, g, netip.MustParseAddr("10.7.0.1"), nil); !errors.As(err, &throttled) || throttled.RetryAfter != attemptsWindow {
		t.Fatalf("the sixth from anywhere: %v", err)
	}
	for range 4 {
		if err := try(t, g, home, errWrong); err != nil {
			t.Fatal(err)
		}
	}
	if err := try(t, g, home, nil); err != nil { // ends her own count
		t.Fatal(err)
	}
	for range 5 {
		if err := try(t, g, home, errWrong); err != nil {
			t.Fatal(err)
		}
	}
	if err := try(t, g, home, nil); !errors.As(err, &throttled) {
		t.Fatalf("the sixth from home: %v", err)
	}
	c.add(attemptsWindow)
	if err := try(t, g, stranger, errWrong); err != nil {
		t.Fatal(err)
	}
}

// TestGuessesAtOnce has twenty guesses at the same time: five pass, and the
// others wait for those and are refused.
func TestGuessesAtOnce(t *testing.T) {
	g := newGuesses(5, time.Now)
	var passed, refused atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			end, err := g.begin(context.Background(), "alice", stranger)
			if err != nil {
				refused.Add(1)
				return
			}
			passed.Add(1)
			time.Sleep(10 * time.Millisecond)
			end(errWrong)
		})
	}
	all.Wait()
	if passed.Load() != 5 || refused.Load() != 15 {
		t.Errorf("%d passed, %d were refused", passed.Load(), refused.Load())
	}
}

// TestGuessesThatSayNothing: an answer that is none, and a right password that
// has expired, cost nothing.
func TestGuessesThatSayNothing(t *testing.T) {
	g := newGuesses(1, time.Now)
	for range 10 {
		for _, result := range []error{errNoAnswer, &auth.RejectedError{Reason: "expired", Told: "change it"}} {
			if err := try(t, g, stranger, result); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(g.count) != 0 {
		t.Errorf("%d are remembered", len(g.count))
	}
	end, err := g.begin(t.Context(), "alice", stranger)
	if err != nil {
		t.Fatal(err)
	}
	defer end(nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.begin(ctx, "alice", stranger); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves while waiting: %v", err)
	}
}

// TestGuessersAreBounded: with the memory full nobody new may try, and no count
// is lost.
func TestGuessersAreBounded(t *testing.T) {
	c := newClock()
	g := newGuesses(1, c.now)
	for i := range maxGuessers {
		g.count[guesser{user: string(rune(0x4e00+i%20000)) + string(rune('a'+i/20000))}] = &attempts{began: c.now(), wrong: 1}
	}
	g.swept = c.now()
	if err := try(t, g, home, errWrong); !errors.As(err, new(*auth.ThrottledError)) {
		t.Errorf("one more: %v", err)
	}
	c.add(attemptsWindow + time.Second)
	if err := try(t, g, home, errWrong); err != nil || len(g.count) != 1 {
		t.Errorf("later: %v, %d are remembered", err, len(g.count))
	}
}

func TestAddressesOfAUserAreBounded(t *testing.T) {
	g := newGuesses(1, time.Now)
	for i := range 100 {
		g.learn("alice", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
	}
	if known, _ := g.known.GetIfPresent("alice"); len(known) != maxAddresses {
		t.Errorf("%d are remembered", len(known))
	}
	if a, b := network(netip.MustParseAddr("2001:db8::1")), network(netip.MustParseAddr("2001:db8::ffff:1")); a != b {
		t.Errorf("%v and %v are one host's", a, b)
	}
}

func loginFrom(d *Directory, user, password, addr string) (auth.Identity, error) {
	c := auth.Credentials{User: user, Password: auth.Secret(password), Addr: netip.MustParseAddr(addr)}
	return d.Authenticate(context.Background(), c)
}
