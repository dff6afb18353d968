package local

import "sync"

// A cache remembers what was read from the database, as far as its limit goes.
// It never answers what a change that was acknowledged has made wrong: whoever
// changes something holds its key meanwhile. One without a limit remembers
// nothing. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	limit int64
	costs func(V) int64 // nil: each 1

	mu      sync.RWMutex
	entries map[K]V
	cost    int64
	held    map[K]int
	all     int    // how many hold every key
	changes uint64 // counts holds that ended
}

func newCache[K comparable, V any](limit int64, costs func(V) int64) *cache[K, V] {
	return &cache[K, V]{limit: limit, costs: costs, entries: make(map[K]V), held: make(map[K]int)}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	v, ok, _ := c.look(k)
	return v, ok
}

// look returns the entry of k, if there is one, and what learn has to be told of
// the time before k is read from the database.
func (c *cache[K, V]) look(k K) (v V, ok bool, before uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok = c.entries[k]
	return v, ok, c.changes
}

// learn makes v, which was read, the entry of k, unless k may have been changed
// meanwhile.
func (c *cache[K, V]) learn(k K, v V, before uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes == before && c.held[k] == 0 && c.all == 0 {
		c.put(k, v)
	}
}

// load returns the entry of k, or what read returns, and learns that.
func (c *cache[K, V]) load(k K, read func() (V, error)) (V, error) {
	v, ok, before := c.look(k)
	if ok {
		return v, nil
	}
	v, err := read()
	if err == nil {
		c.learn(k, v, before)
	}
	return v, err
}

// set makes v the entry of k, whatever is held: for what cannot become wrong.
func (c *cache[K, V]) set(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(k, v)
}

// put makes room where there is none: what goes is picked by the map's order,
// which is as good as random. The caller holds the lock.
func (c *cache[K, V]) put(k K, v V) {
	c.remove(k)
	cost := c.costOf(v)
	if cost > c.limit/4 {
		return
	}
	for other := range c.entries {
		if c.cost+cost <= c.limit {
			break
		}
		c.remove(other)
	}
	c.entries[k] = v
	c.cost += cost
}

func (c *cache[K, V]) costOf(v V) int64 {
	if c.costs == nil {
		return 1
	}
	return c.costs(v)
}

// remove forgets k. The caller holds the lock.
func (c *cache[K, V]) remove(k K) {
	if v, ok := c.entries[k]; ok {
		delete(c.entries, k)
		c.cost -= c.costOf(v)
	}
}

// hold forgets keys, and remembers nothing of them until release is called.
func (c *cache[K, V]) hold(keys ...K) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		c.remove(k)
		c.held[k]++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changes++
		for _, k := range keys {
			if c.held[k]--; c.held[k] == 0 {
				delete(c.held, k)
			}
		}
	}
}

// holdAll is hold for every key.
func (c *cache[K, V]) holdAll() (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.cost = 0
	c.all++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.changes++
		c.all--
	}
}
