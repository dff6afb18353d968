package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
	"time"
)

// How an operation ended.
const (
	acknowledged = "acknowledged" // done, and must stay done
	unknown      = "unknown"      // no answer, or a 5xx: done or not
	refused      = "refused"      // a 4xx: not done
)

// An operation writes one value to one register: "tag REPO:TAG", "manifest
// REPO@DIGEST" or "blob REPO@DIGEST". The value is a digest, or empty for what is
// deleted.
type operation struct {
	Client   int           `json:"client"`
	Start    time.Duration `json:"start"` // nanoseconds since the history began
	End      time.Duration `json:"end"`
	Register string        `json:"register"`
	Value    string        `json:"value"`
	Result   string        `json:"result"`
}

// A history is what the clients did, in a file and, for each register, since its
// value was last seen.
type history struct {
	began time.Time

	mu           sync.Mutex
	file         *os.File
	out          *bufio.Writer
	registers    map[string][]operation
	touched      map[string]bool // since the last check
	acknowledged int
}

func newHistory(path string) (*history, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &history{began: time.Now(), file: f, out: bufio.NewWriter(f),
		registers: make(map[string][]operation), touched: make(map[string]bool)}, nil
}

func (h *history) close() error { return errors.Join(h.out.Flush(), h.file.Close()) }

// write records that client has write the values by do, which returns how it
// ended. The values are pairs of register and value.
func (h *history) write(client int, do func() string, values ...string) string {
	start := time.Since(h.began)
	result := do()
	end := time.Since(h.began)
	h.mu.Lock()
	defer h.mu.Unlock()
	if result == acknowledged {
		h.acknowledged++
	}
	for i := 0; i+1 < len(values); i += 2 {
		op := operation{client, start, end, values[i], values[i+1], result}
		data, _ := json.Marshal(op) // of strings and numbers
		h.out.Write(append(data, '\n'))
		h.touched[op.Register] = true
		if result != refused {
			h.registers[op.Register] = append(h.registers[op.Register], op)
		}
	}
	return result
}

// possible returns the values that the register may have, once nobody writes any
// more: of each operation that no acknowledged one followed. One that got no
// answer ended when its connection did.
func (h *history) possible(register string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops := h.registers[register]
	var last time.Duration // the latest start of an acknowledged operation
	certain := false
	for _, op := range ops {
		if op.Result == acknowledged {
			certain = true
			last = max(last, op.Start)
		}
	}
	var values []string
	for _, op := range ops {
		if op.End >= last && !slices.Contains(values, op.Value) {
			values = append(values, op.Value)
		}
	}
	if !certain && !slices.Contains(values, "") {
		values = append(values, "")
	}
	return values
}

// settle makes value, which was seen when nobody wrote, the value of the register.
func (h *history) settle(register, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Since(h.began)
	h.registers[register] = []operation{{Start: now, End: now, Register: register, Value: value, Result: acknowledged}}
	delete(h.touched, register)
}

// forget drops the registers of a server that will not be asked again.
func (h *history) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.registers)
	clear(h.touched)
}

// takeTouched returns the registers that were written since the last check.
func (h *history) takeTouched() []string {
	return h.sorted(func(r string) bool { return h.touched[r] })
}

func (h *history) all() []string { return h.sorted(func(string) bool { return true }) }

func (h *history) sorted(keep func(string) bool) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for r := range h.registers {
		if keep(r) {
			names = append(names, r)
		}
	}
	slices.Sort(names)
	return names
}
