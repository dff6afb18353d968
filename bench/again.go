package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A rerun is a run of a part of the rows, whose figures took the place of those
// before.
type rerun struct {
	Command  string   `json:"command"`
	Time     string   `json:"time"`
	Versions []string `json:"versions"`
}

// partial reports whether not all rows are measured.
func (o options) partial() bool { return o.only.String() != "" || o.clients != 0 || o.mode != "" }

// onto returns the report in folder with the figures of r in the place of its
// own, or r when there is none. The peak of memory stays that of the whole run.
func (r *report) onto(folder string) (*report, error) {
	data, err := os.ReadFile(filepath.Join(folder, "performance.json"))
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	old := new(report)
	if err := json.Unmarshal(data, old); err != nil {
		return nil, fmt.Errorf("read the report of before: %w", err)
	}
	if old.Few != r.Few || old.Many != r.Many || old.Layer != r.Layer {
		return nil, errors.New("the report of before is about other sizes: give the same -many and -layer, or measure all rows")
	}
	old.Goals = nil
	old.Results = replace(old.Results, r.Results, func(a, b result) bool {
		return a.Work == b.Work && a.Auth == b.Auth && a.Clients == b.Clients
	})
	old.Limits = replace(old.Limits, r.Limits, func(a, b limit) bool { return a.Work == b.Work && a.Clients == b.Clients })
	if len(r.Decisions) > 0 {
		old.Decisions = r.Decisions
	}
	old.Reruns = append(old.Reruns, rerun{r.Command, r.Time, r.Versions})
	old.judge()
	return old, nil
}

// replace puts each of anew in the place of what is the same in old, or after
// it.
func replace[T any](old, anew []T, same func(a, b T) bool) []T {
	for _, n := range anew {
		i := slices.IndexFunc(old, func(o T) bool { return same(o, n) })
		if i < 0 {
			old = append(old, n)
			continue
		}
		old[i] = n
	}
	return old
}

func (r *report) writeReruns(b *strings.Builder) {
	if len(r.Reruns) == 0 {
		return
	}
	b.WriteString("Some rows were measured again later, with the same sizes, and stand in the place of the first:\n\n```\n")
	for _, again := range r.Reruns {
		fmt.Fprintf(b, "%s   # %s UTC; %s\n", again.Command, again.Time, strings.Join(again.Versions, ", "))
	}
	b.WriteString("```\n\n")
}
