package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"berth/server"
)

const (
	lowSpace = 64 << 20    // bytes of a disk, below which it shows as degraded
	fullFor  = time.Minute // after a push that found no room
)

// space watches the disks that the data is on, for /readyz. It writes nothing:
// it asks how much is left, and is told of pushes that found no room, as a quota
// may leave less than the disk has. It is safe for concurrent use.
type space struct {
	dirs []string
	left func(dir string) (bytes int64, readOnly bool, err error)
	now  func() time.Time
	full atomic.Pointer[time.Time] // when the last push found no room
}

func newSpace(dirs ...string) *space { return &space{dirs: dirs, left: leftOnDisk, now: time.Now} }

// degraded says what is wrong, "" when nothing is.
func (s *space) degraded() string {
	if at := s.full.Load(); at != nil && s.now().Sub(*at) < fullFor {
		return "a push found no room"
	}
	for _, dir := range s.dirs {
		left, readOnly, err := s.left(dir)
		switch {
		case err != nil:
			return fmt.Sprintf("look at the disk of %s: %v", dir, err)
		case readOnly:
			return fmt.Sprintf("the disk of %s is read-only", dir)
		case left < lowSpace:
			return fmt.Sprintf("the disk of %s has %d MiB left", dir, left>>20)
		}
	}
	return ""
}

// meter returns m, and learns from what it is told.
func (s *space) meter(m server.Meter) server.Meter { return fullMeter{m, s} }

type fullMeter struct {
	server.Meter
	space *space
}

// End implements server.Meter.
func (m fullMeter) End(sample server.Sample) {
	if sample.Status == http.StatusInsufficientStorage {
		now := m.space.now()
		m.space.full.Store(&now)
	}
	m.Meter.End(sample)
}
