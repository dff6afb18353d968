package meta

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestClaims(t *testing.T) { onEach(t, testClaims) }

func testClaims(t *testing.T, db *DB) {
	l := db.Ledger()
	claim := func(what, holder string, now time.Time) string {
		t.Helper()
		got, err := l.Claim(t.Context(), sha256.Sum256([]byte(what)), holder, now, now.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for _, test := range []struct {
		what, holder string
		after        time.Duration
		want         string
	}{
		{"a", "x", 0, "x"},
		{"a", "y", 0, "x"},
		{"a", "x", time.Second, "x"},
		{"b", "y", time.Second, "y"},
		{"a", "y", time.Minute, "y"}, // it was over
		{"b", "x", time.Minute, "y"},
	} {
		if got := claim(test.what, test.holder, day.Add(test.after)); got != test.want {
			t.Errorf("%s is %s's after %v, want %s", test.what, got, test.after, test.want)
		}
	}
	var mine atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			if holder := fmt.Sprint(i); claim("race", holder, day) == holder {
				mine.Add(1)
			}
		})
	}
	all.Wait()
	if mine.Load() != 1 {
		t.Errorf("%d have what serves once", mine.Load())
	}
}
