package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// A report is what a part found out.
type report struct {
	Part         string
	Rounds       int
	Acknowledged int           // operations
	Lost         int           // acknowledged and not there
	Broken       int           // there and wrong, or answered wrongly
	Restart      time.Duration // the longest from start to ready
	Took         time.Duration
	Notes        []string
	Command      string
}

// note keeps a figure that has no column.
func (r *report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
	fmt.Printf("   "+format+"\n", args...)
}

// broken counts what is wrong, and says it.
func (r *report) broken(format string, args ...any) {
	r.Broken++
	fmt.Printf("   BROKEN "+format+"\n", args...)
}

func (r *report) lost(format string, args ...any) {
	r.Lost++
	fmt.Printf("   LOST "+format+"\n", args...)
}

func (r report) String() string {
	return fmt.Sprintf("-- %s: %d rounds, %d acknowledged, %d lost, %d broken, restart %v, took %v",
		r.Part, r.Rounds, r.Acknowledged, r.Lost, r.Broken, r.Restart.Round(time.Millisecond), r.Took)
}

func readReport(path string) (report, error) {
	var r report
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(data, &r)
}

// write puts the report into the table that ends the document at path, in place
// of the row of the same part.
func (r report) write(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	restart := "-"
	if r.Restart > 0 {
		restart = fmt.Sprintf("%.2f s", r.Restart.Seconds())
	}
	key := "| " + r.Part + " |"
	row := fmt.Sprintf("%s %d | %d | %d | %d | %s | %s | `%s` |", key, r.Rounds, r.Acknowledged, r.Lost, r.Broken,
		restart, strings.Join(r.Notes, "; "), r.Command)
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	at := len(lines) - 1
	for at >= 0 && !strings.HasPrefix(lines[at], "|---") {
		at--
	}
	if at < 0 {
		return fmt.Errorf("%s has no table", path)
	}
	if i := slices.IndexFunc(lines[at:], func(l string) bool { return strings.HasPrefix(l, key) }); i >= 0 {
		lines[at+i] = row
	} else {
		lines = append(lines, row) // the table is the last thing there
	}
	return os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}
