package main

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"berth/server"
)

func TestSpace(t *testing.T) {
	type disk struct {
		left     int64
		readOnly bool
		err      error
	}
	tests := map[string]struct {
		blobs, database disk
		want            string // part of what is wrong
	}{
		"enough":                   {disk{left: lowSpace}, disk{left: math.MaxInt64}, ""},
		"blobs have little":        {disk{left: lowSpace - 1}, disk{left: math.MaxInt64}, "the disk of blobs has 63 MiB left"},
		"the database has nothing": {disk{left: math.MaxInt64}, disk{}, "the disk of database has 0 MiB left"},
		"a disk cannot be written": {disk{left: math.MaxInt64}, disk{left: math.MaxInt64, readOnly: true}, "read-only"},
		"a disk is gone":           {disk{err: errors.New("stale")}, disk{left: math.MaxInt64}, "stale"},
	}
	for name, test := range tests {
		s := newSpace("blobs", "database")
		s.left = func(dir string) (int64, bool, error) {
			d := map[string]disk{"blobs": test.blobs, "database": test.database}[dir]
			return d.left, d.readOnly, d.err
		}
		if got := s.degraded(); !strings.Contains(got, test.want) || (got == "") != (test.want == "") {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestSpaceAfterPush: a push that finds no room shows for a minute, whatever the
// disk says.
func TestSpaceAfterPush(t *testing.T) {
	now := time.Now()
	s := newSpace("blobs")
	s.now = func() time.Time { return now }
	s.left = func(string) (int64, bool, error) { return math.MaxInt64, false, nil }
	told := 0
	meter := s.meter(countedMeter{&told})
	meter.Begin("blob_upload")
	meter.End(server.Sample{Status: 201})
	if got := s.degraded(); got != "" {
		t.Errorf("after a push: %q", got)
	}
	meter.End(server.Sample{Status: 507})
	now = now.Add(fullFor - 1)
	if got := s.degraded(); got != "a push found no room" {
		t.Errorf("after a push that found no room: %q", got)
	}
	now = now.Add(1)
	if got := s.degraded(); got != "" {
		t.Errorf("a minute after it: %q", got)
	}
	if told != 3 {
		t.Errorf("the meter was told %d times of 3", told)
	}
}

type countedMeter struct{ n *int }

func (m countedMeter) Begin(string)      { *m.n++ }
func (m countedMeter) End(server.Sample) { *m.n++ }

func TestLeftOnDisk(t *testing.T) {
	left, readOnly, err := leftOnDisk(t.TempDir())
	if left <= 0 || readOnly || err != nil {
		t.Errorf("of a disk that tests write to: %d, %v, %v", left, readOnly, err)
	}
	if s := newSpace("/proc/self/none"); s.degraded() == "" {
		t.Error("a folder that is not there is well")
	}
}
