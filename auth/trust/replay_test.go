package trust

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestReplay: a token is good again where it was before, and nowhere else.
func TestReplay(t *testing.T) {
	const a, sameNet, b = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"
	mode := func(mode string) func(*Rule) { return func(r *Rule) { r.Replay = mode } }
	for _, test := range []struct {
		name   string
		change func(*Rule)
		addrs  []string
		want   string // one letter for each
	}{
		{"by default", mode(""), []string{a, a, sameNet, b, a}, "yyyny"},
		{"IPv4", mode(ReplayAddress), []string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2", "192.0.2.1"}, "yyny"},
		{"a place that is not known", mode(ReplayAddress), []string{"", "", a}, "yyn"},
		{"not from an unknown place", mode(ReplayAddress), []string{a, ""}, "yn"},
		{"once", mode(ReplayOnce), []string{a, a, b}, "ynn"},
		{"off", mode(ReplayOff), []string{a, b, a}, "yyy"},
	} {
		for _, jti := range []any{"id", nil} {
			f := newFixture(t, test.change)
			token := f.sign(t, f.now, claims{"jti": jti})
			got := ""
			for _, addr := range test.addrs {
				_, err := f.Authenticate(context.Background(), from(addr, token))
				if err == nil {
					got += "y"
					continue
				}
				wantRejected(t, test.name, err, "replay")
				got += "n"
			}
			if got != test.want {
				t.Errorf("%s, jti %v: %s, want %s", test.name, jti, got, test.want)
			}
		}
	}
}

// TestReplayIsOfTheToken: another signature over the same, or the same ID, is no
// other token; a token that was refused was not used.
func TestReplayIsOfTheToken(t *testing.T) {
	f := newFixture(t)
	for _, jti := range []any{"id", nil} {
		changes := claims{"jti": jti}
		if _, err := f.Authenticate(context.Background(), from("192.0.2.1", f.sign(t, f.now, changes))); err != nil {
			t.Fatal(err)
		}
		_, err := f.Authenticate(context.Background(), from("192.0.2.2", f.sign(t, f.now, changes)))
		wantRejected(t, "signed again", err, "replay")
	}
	changes := claims{"jti": "other", "ref": "x"}
	if _, err := f.Authenticate(context.Background(), from("192.0.2.1", f.sign(t, f.now, changes))); err == nil {
		t.Error("another branch is taken")
	}
	if _, err := f.Authenticate(context.Background(), from("192.0.2.2", f.sign(t, f.now, claims{"jti": "other"}))); err != nil {
		t.Errorf("the ID of a token that was refused: %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	m, now := newMemory(), time.Unix(1_800_000_000, 0)
	key := func(i int) (k [32]byte) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
	c := from("192.0.2.1", "")
	for i := range maxTokens {
		if ok, err := m.present(key(i), c.Addr, false, now, now.Add(time.Hour)); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	if ok, err := m.present(key(maxTokens), c.Addr, false, now, now.Add(time.Hour)); ok || !errors.Is(err, errFull) {
		t.Errorf("one more: %v, %v", ok, err)
	}
	if ok, err := m.present(key(1), c.Addr, false, now, now.Add(time.Hour)); !ok || err != nil {
		t.Errorf("one that is known: %v, %v", ok, err)
	}
	now = now.Add(time.Hour)
	if ok, err := m.present(key(maxTokens), c.Addr, false, now, now.Add(time.Hour)); !ok || err != nil || len(m.tokens) != 1 {
		t.Errorf("when all have run out: %v, %v, %d tokens", ok, err, len(m.tokens))
	}
}

// ledger is an auth.Ledger in memory.
type ledger struct {
	holders map[[32]byte]string
	err     error
}

func (l *ledger) Claim(_ context.Context, hash [32]byte, holder string, _, _ time.Time) (string, error) {
	if l.holders[hash] == "" && l.err == nil {
		l.holders[hash] = holder
	}
	return l.holders[hash], l.err
}

// TestReplayOnAnotherNode: what was presented to one node is known to the others.
func TestReplayOnAnotherNode(t *testing.T) {
	for _, test := range []struct{ mode, want string }{{ReplayAddress, "yyyn"}, {ReplayOnce, "ynnn"}} {
		l := &ledger{holders: make(map[[32]byte]string)}
		f := newFixture(t, func(r *Rule) { r.Replay = test.mode })
		token := f.sign(t, f.now, claims{"jti": "id"})
		present := func(node *memory, addr string) error {
			f.seen, f.ledger = node, l
			_, err := f.Authenticate(context.Background(), from(addr, token))
			return err
		}
		a, b := newMemory(), newMemory()
		got := ""
		for _, p := range []struct {
			node *memory
			addr string
		}{{a, "192.0.2.1"}, {b, "192.0.2.1"}, {a, "192.0.2.1"}, {b, "192.0.2.2"}} {
			if err := present(p.node, p.addr); err == nil {
				got += "y"
			} else {
				wantRejected(t, test.mode, err, "replay")
				got += "n"
			}
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.mode, got, test.want)
		}
		l.err = errors.New("no answer")
		if err := present(newMemory(), "192.0.2.1"); !errors.Is(err, l.err) {
			t.Errorf("%s, without a database: %v", test.mode, err)
		}
	}
}
