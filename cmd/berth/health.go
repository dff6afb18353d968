package main

import (
	"maps"
	"slices"
	"sync"
)

// health gathers what is not as it should be, for /readyz. It is safe for
// concurrent use; the zero value is all well.
type health struct {
	mu      sync.Mutex
	set     map[string]string
	sources map[string]func() string
}

// report sets what is wrong with a part; "" when all is well again.
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

// watch adds a part that is asked what is wrong with it.
func (h *health) watch(part string, problem func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sources == nil {
		h.sources = make(map[string]func() string)
	}
	h.sources[part] = problem
}

// degraded returns the names of the parts that are not well, sorted.
func (h *health) degraded() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	parts := maps.Clone(h.set)
	if parts == nil {
		parts = make(map[string]string)
	}
	for part, problem := range h.sources {
		if p := problem(); p != "" {
			parts[part] = p
		}
	}
	return slices.Sorted(maps.Keys(parts))
}
