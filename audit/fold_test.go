package audit

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// folded gives the events to a folder and returns those that are written at
// once, and those that are when they expire.
func folded(t *testing.T, events []Event) (first, later []Event) {
	t.Helper()
	f := newFolder()
	for _, e := range events {
		if !f.takes(&e, noon) {
			first = append(first, e)
		}
	}
	f.expire(noon.Add(foldTime-1), false, func(e *Event) { t.Errorf("too early: %+v", e) })
	f.expire(noon.Add(foldTime), false, func(e *Event) { later = append(later, *e) })
	if len(f.open)+len(f.addresses) != 0 {
		t.Errorf("what stays: %v, %v", f.open, f.addresses)
	}
	return first, later
}

func repeated(n int, event func(i int) Event) []Event {
	events := make([]Event, n)
	for i := range events {
		events[i] = event(i)
	}
	return events
}

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestFold(t *testing.T) {
	for _, tt := range []struct {
		name         string
		events       []Event
		first, later int
		count        int // of the lines that come later
	}{
		{"one", repeated(1, func(int) Event { return Event{Kind: Refused, User: "bob"} }), 1, 0, 0},
		{"the same again and again", repeated(5000, func(i int) Event {
			return Event{Kind: Refused, Result: Denied, User: "bob", Address: address(1), Repository: "a", Ref: fmt.Sprint(i)}
		}), 1, 1, 4999},
		{"other passwords of one user", repeated(50, func(int) Event {
			return Event{Kind: Login, Result: Failed, User: "bob", Address: address(1)}
		}), 1, 1, 49},
		{"one network of IPv6", repeated(50, func(i int) Event {
			return Event{Kind: Login, Result: Failed, User: "bob", Address: netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1))}
		}), 1, 1, 49},
		{"other users", repeated(50, func(i int) Event {
			return Event{Kind: Login, Result: Failed, User: fmt.Sprint(i), Address: address(1)}
		}), 50, 0, 0},
		{"other addresses", repeated(50, func(i int) Event {
			return Event{Kind: Login, Result: Failed, User: "bob", Address: address(i)}
		}), 50, 0, 0},
		{"other results", []Event{{Kind: Login, Result: Failed}, {Kind: Login, Result: Throttled}, {Kind: Login, Result: Error}}, 3, 0, 0},
		{"more repositories than one address may have", repeated(5000, func(i int) Event {
			return Event{Kind: Refused, Result: Denied, Address: address(1), Repository: fmt.Sprint(i)}
		}), foldPerAddress, 1, 5000 - foldPerAddress},
		{"more users and addresses than there may be", repeated(50_000, func(i int) Event {
			return Event{Kind: Login, Result: Failed, User: fmt.Sprint(i), Address: address(i)}
		}), foldMost, 1, 50_000 - foldMost},
		{"what everybody stands for himself", repeated(300, func(i int) Event {
			return Event{Kind: [...]Kind{Push, Delete, UserAdd}[i%3], User: "bob"}
		}), 300, 0, 0},
		{"logins that were right", repeated(300, func(int) Event { return Event{Kind: Login, Result: OK, User: "bob"} }), 1, 1, 299},
		{"tokens for the same", repeated(30, func(int) Event { return Event{Kind: Token, Result: OK, User: "bob", Scope: "s"} }), 1, 1, 29},
		{"tokens for other things", repeated(30, func(i int) Event { return Event{Kind: Token, Result: OK, User: "bob", Scope: fmt.Sprint(i)} }), 30, 0, 0},
		{"pulls of the same", repeated(30, func(int) Event { return Event{Kind: Pull, Result: OK, Repository: "a", Digest: "d"} }), 1, 1, 29},
	} {
		t.Run(tt.name, func(t *testing.T) {
			first, later := folded(t, tt.events)
			if len(first) != tt.first || len(later) != tt.later {
				t.Fatalf("%d lines and %d later, want %d and %d", len(first), len(later), tt.first, tt.later)
			}
			for _, e := range later {
				if e.Count != tt.count {
					t.Errorf("count %d, want %d: %+v", e.Count, tt.count, e)
				}
			}
		})
	}
}

// TestFoldLines: what stands for several says what they have in common.
func TestFoldLines(t *testing.T) {
	last := Event{Time: noon.Add(time.Second), Kind: Refused, Result: Denied, User: "bob", Address: address(1), Repository: "a", Ref: "LAST"}
	_, later := folded(t, []Event{{Kind: Refused, Result: Denied, User: "bob", Address: address(1), Repository: "a"}, last})
	if e := later[0]; e.Ref != "LAST" || !e.Time.Equal(last.Time) || e.Count != 1 {
		t.Errorf("%+v", e)
	}
	_, later = folded(t, repeated(foldPerAddress+7, func(i int) Event {
		return Event{Time: noon, Kind: Refused, Result: Denied, User: fmt.Sprint(i), Address: address(1), Repository: fmt.Sprint(i), Ref: "X"}
	}))
	if e := later[0]; e.User != "" || e.Repository != "" || e.Ref != "" || e.Address != address(1) || e.Count != 7 || e.Reason == "" || !e.Time.Equal(noon) {
		t.Errorf("%+v", e)
	}
}

// TestFoldFailures: a flood that goes on takes little, and leaves room for what
// was right.
func TestFoldFailures(t *testing.T) {
	f := newFolder()
	lines := func(addresses int, result Result, end time.Duration) (n int) {
		for at := time.Duration(0); at < end; at += foldTime {
			f.expire(noon.Add(at), false, func(*Event) { n++ })
			for i := range 5000 {
				if !f.takes(&Event{Kind: Login, Result: result, User: fmt.Sprint(at, i), Address: address(i % addresses)}, noon.Add(at)) {
					n++
				}
			}
		}
		return n
	}
	ticks := int(failTime / foldTime)
	if n := lines(1, Failed, failTime); n < failPerAddress || n > failPerAddress+ticks {
		t.Errorf("%d lines of one address", n)
	}
	if n := lines(5000, Failed, failTime-1); n > failMost+2*ticks {
		t.Errorf("%d lines of many", n)
	}
	if n := lines(10, OK, foldTime); n < foldMost/2 {
		t.Errorf("%d lines of logins that were right", n)
	}
	f.expire(noon.Add(2*failTime), false, func(*Event) {})
	if e := (Event{Kind: Refused, Result: Denied, Address: address(1)}); f.takes(&e, noon.Add(2*failTime)) {
		t.Error("an hour later it goes on")
	}
}
