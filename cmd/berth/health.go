package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// healthInterval is how often parts are asked how they are, for the log.
const healthInterval = 5 * time.Second

// health gathers what is not as it should be, for /readyz. It is safe for
// concurrent use; the zero value is all well.
type health struct {
	mu      sync.Mutex
	set     map[string]string
	failing map[string]bool // checks without which nothing shall be served
	sources map[string]func() string
	all     func() map[string]string
	logged  map[string]bool // parts of which it was logged that they are not well; of run alone
}

// report sets what is wrong with a part; "" when all is well again. Whoever
// reports has it logged.
func (h *health) report(part, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.set == nil {
		h.set = make(map[string]string)
	}
	if problem == "" {
		delete(h.set, part)
		return
	}
	h.set[part] = problem
}

// check sets whether a check fails without which nothing shall be served.
func (h *health) check(part string, fails bool) {
	problem := ""
	if fails {
		problem = "its check fails"
	}
	h.report(part, problem)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failing == nil {
		h.failing = make(map[string]bool)
	}
	h.failing[part] = fails
}

// ready reports whether no check fails.
func (h *health) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, fails := range h.failing {
		if fails {
			return false
		}
	}
	return true
}

// watch adds a part that is asked what is wrong with it.
func (h *health) watch(part string, problem func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = make(map[string]func() string)
	}
	h.sources[part] = problem
}

// watchAll adds the parts that come and go: problems says by their names what is
// wrong with those that are not well.
func (h *health) watchAll(problems func() map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = problems
}

// degraded returns the names of the parts that are not well, sorted.
func (h *health) degraded() []string {
	parts := h.problems()
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.Copy(parts, h.set)
	return slices.Sorted(maps.Keys(parts))
}

// problems asks the watched parts what is wrong with them.
func (h *health) problems() map[string]string {
	h.mu.Lock()
	sources, all := maps.Clone(h.sources), h.all
	h.mu.Unlock()
	parts := make(map[string]string)
	if all != nil {
		maps.Copy(parts, all())
	}
	for part, problem := range sources {
		if p := problem(); p != "" {
			parts[part] = p
		}
	}
	return parts
}

// run logs of each part that is watched when it begins not to be well, and when
// it is again, until ctx ends.
func (h *health) run(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(healthInterval)
	defer tick.Stop()
	for {
		h.tell(log)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tell logs what has changed since it was called last.
func (h *health) tell(log *slog.Logger) {
	now := h.problems()
	for _, part := range slices.Sorted(maps.Keys(now)) {
		if !h.logged[part] {
			log.Warn("degraded", "part", part, "problem", now[part])
		}
	}
	for _, part := range slices.Sorted(maps.Keys(h.logged)) {
		if now[part] == "" {
			log.Info("not degraded any more", "part", part)
		}
	}
	h.logged = make(map[string]bool)
	for part := range now {
		h.logged[part] = true
	}
}
