package audit

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/oci"
)

func TestFilter(t *testing.T) {
	e := Event{
		Time: noon, Kind: "user.disable", Result: Denied, User: "alice", Target: "bob", Repository: "team/app",
		Address: netip.MustParseAddr("10.1.2.3"), Ref: "ABC",
	}
	result := func(r Result) Event { e := e; e.Result = r; return e }
	for _, tt := range []struct {
		name   string
		filter Filter
		event  Event
		want   bool
	}{
		{"all", Filter{}, e, true},
		{"denied", Filter{Denied: true}, e, true},
		{"denied, of one that is ok", Filter{Denied: true}, result(OK), false},
		{"failed, of one that is denied", Filter{Failed: true}, e, false},
		{"failed", Filter{Failed: true}, result(Failed), true},
		{"throttled", Filter{Failed: true}, result(Throttled), true},
		{"error", Filter{Failed: true}, result(Error), true},
		{"failed, of one without a result", Filter{Failed: true}, result(""), false},
		{"either", Filter{Failed: true, Denied: true}, e, true},
		{"who did it", Filter{User: "alice"}, e, true},
		{"whom", Filter{User: "bob"}, e, true},
		{"nobody", Filter{User: "anonymous"}, Event{Kind: Refused}, true},
		{"somebody", Filter{User: "anonymous"}, e, false},
		{"whose robot did", Filter{User: "alice"}, Event{Kind: Push, User: "robot:ci", Owner: "alice"}, true},
		{"neither", Filter{User: "carol"}, e, false},
		{"kind", Filter{Kind: "user.disable"}, e, true},
		{"kinds", Filter{Kind: "user"}, e, true},
		{"part of a kind", Filter{Kind: "use"}, e, false},
		{"since", Filter{Since: noon}, e, true},
		{"since later", Filter{Since: noon.Add(1)}, e, false},
		{"until", Filter{Until: noon}, e, false},
		{"until later", Filter{Until: noon.Add(1)}, e, true},
		{"repository", Filter{Repository: func(n oci.Name) bool { return n == "team/app" }}, e, true},
		{"another repository", Filter{Repository: func(oci.Name) bool { return false }}, e, false},
		{"no repository", Filter{Repository: func(oci.Name) bool { return true }}, Event{Kind: Login}, false},
		{"address", Filter{Address: netip.MustParsePrefix("10.0.0.0/8")}, e, true},
		{"another address", Filter{Address: netip.MustParsePrefix("11.0.0.0/8")}, e, false},
		{"no address", Filter{Address: netip.MustParsePrefix("0.0.0.0/0")}, Event{Kind: Login}, false},
		{"ref", Filter{Ref: "ABC"}, e, true},
		{"another ref", Filter{Ref: "AB"}, e, false},
	} {
		if got := tt.filter.Matches(&tt.event); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// write writes a file that holds events of those numbers, an hour apart.
func write(t *testing.T, path string, from, to int) {
	t.Helper()
	var text []byte
	for i := from; i < to; i++ {
		text = append(text, string(Event{Time: noon.Add(time.Duration(i) * time.Hour), Kind: UserAdd, Target: fmt.Sprint(i), Ref: fmt.Sprint("R", i)}.Line())...)
	}
	if strings.HasSuffix(path, packedExt) {
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		text = packed.Bytes()
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestQuery goes through files of every kind, among others that are no part of
// the log.
func TestQuery(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	hour := func(i int) time.Time { return noon.Truncate(time.Second).Add(time.Duration(i) * time.Hour) }
	write(t, path, 8, 10)
	write(t, rotatedName(path, hour(7)), 6, 8)
	write(t, rotatedName(path, hour(5))+packedExt, 4, 6)
	write(t, rotatedName(path, hour(5)), 4, 6) // a crash came before it was removed
	write(t, rotatedName(path, hour(3))+packedExt, 2, 4)
	write(t, rotatedName(path, hour(1))+packedExt+halfExt, 0, 2)
	write(t, rotatedName(path, hour(1)), 0, 2)
	write(t, filepath.Join(dir, "audit-copy.log"), 100, 110)
	write(t, filepath.Join(dir, "audit.log.1"), 100, 110)
	write(t, rotatedName(filepath.Join(dir, "other.log"), hour(1)), 100, 110)

	if got := targets(t, path, Filter{}, 0); !slices.Equal(got, numbers(0, 10)) {
		t.Errorf("all: %q", got)
	}
	if got := targets(t, path, Filter{Since: hour(3), Until: hour(7)}, 0); !slices.Equal(got, numbers(3, 7)) {
		t.Errorf("a part: %q", got)
	}
	if got := targets(t, path, Filter{Ref: "R4"}, 0); !slices.Equal(got, numbers(4, 5)) {
		t.Errorf("one: %q", got)
	}

	if e, err := Find(t.Context(), path, Filter{Ref: "R4"}); err != nil || e.Target != "4" {
		t.Errorf("find one: %+v, %v", e, err)
	}
	if e, err := Find(t.Context(), path, Filter{}); err != nil || e.Target != "8" {
		t.Errorf("find one of the latest: %+v, %v", e, err)
	}
	if _, err := Find(t.Context(), path, Filter{Ref: "R10"}); err != ErrNotFound {
		t.Errorf("find none: %v", err)
	}

	// Damage is skipped, and so is what cannot hold what is asked for.
	if err := os.WriteFile(rotatedName(path, hour(3))+packedExt, []byte("no gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(rotatedName(path, hour(5)) + packedExt)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rotatedName(path, hour(5))+packedExt, packed[:len(packed)-6], 0o600); err != nil {
		t.Fatal(err)
	}
	if got := targets(t, path, Filter{}, 2); !slices.Equal(got, append(numbers(0, 2), numbers(4, 10)...)) {
		t.Errorf("with damage: %q", got)
	}
	if got := targets(t, path, Filter{Since: hour(6)}, 0); !slices.Equal(got, numbers(6, 10)) {
		t.Errorf("after the damage: %q", got)
	}
	if got := targets(t, path, Filter{Until: hour(1).Add(-2 * clockSlack)}, 0); !slices.Equal(got, numbers(0, 1)) {
		t.Errorf("before the damage: %q", got)
	}
}

func TestQueryStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	write(t, path, 0, 10)
	enough := errors.New("enough")
	n := 0
	_, err := Query(t.Context(), path, Filter{}, func(Event) error { n++; return enough })
	if err != enough || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Query(ctx, path, Filter{}, func(Event) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestFollow: what is written later comes too, over the end of a file, and each
// once.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		l := openLog(t, path, Options{MaxSize: 500})
		add(l, 0)
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var got []string
		end := make(chan error, 1)
		go func() {
			end <- Follow(ctx, path, Filter{}, func(e Event) error {
				got = append(got, e.Target)
				return nil
			})
		}()
		for i := 1; i < 50; i++ {
			add(l, i)
			time.Sleep(pace)
		}
		time.Sleep(time.Second)
		cancel()
		if err := <-end; err != nil || !slices.Equal(got, numbers(0, 50)) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestFollowHalfLine: a line that is being written is not one yet.
func TestFollowHalfLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "audit.log")
		line := string(Event{Time: noon, Kind: UserAdd, Target: "0"}.Line())
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		enough := errors.New("enough")
		end := make(chan error, 1)
		go func() { end <- Follow(t.Context(), path, Filter{}, func(Event) error { return enough }) }()
		for _, part := range []string{line[:20], line[20:]} {
			time.Sleep(time.Second)
			select {
			case err := <-end:
				t.Fatalf("too early: %v", err)
			default:
			}
			if _, err := f.WriteString(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-end; err != enough {
			t.Error(err)
		}
	})
}
