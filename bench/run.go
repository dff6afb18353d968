package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A result is what was measured for one row, mode and number of clients.
type result struct {
	Work    string              `json:"work"`
	Auth    mode                `json:"auth"`
	Clients int                 `json:"clients"`
	Size    int64               `json:"bytes,omitempty"` // that one op moves
	Median  map[string]sample   `json:"median"`          // by target
	Rounds  map[string][]sample `json:"rounds"`
	Error   string              `json:"error,omitempty"`
}

// runRows measures all rows. A row that fails is in the report with its error,
// and the others are measured all the same.
func (r *report) runRows(l *lab, o options) error {
	var broken []error
	for _, w := range rows(o.sizes) {
		if !o.only.MatchString(w.name) || o.quick && !w.quick {
			continue
		}
		if w.prepare != nil {
			fmt.Fprintf(os.Stderr, "%s: prepare\n", w.name)
			if err := w.prepare(l); err != nil {
				return errors.Join(append(broken, fmt.Errorf("%s: %w", w.name, err))...)
			}
		}
		if len(w.against(l)) == 0 {
			continue // what they need is not installed, which was said
		}
		for _, m := range w.modes {
			if o.mode != "" && o.mode != string(m) {
				continue
			}
			for _, clients := range w.clients {
				if o.clients != 0 && clients != o.clients || o.quick && clients > 8 {
					continue
				}
				res := measureRow(l, o, w, m, clients)
				if res.Error != "" {
					broken = append(broken, fmt.Errorf("%s, %s, %d clients: %s", w.name, m, clients, res.Error))
				}
				r.Results = append(r.Results, res)
			}
		}
	}
	return errors.Join(broken...)
}

func measureRow(l *lab, o options, w row, m mode, clients int) result {
	res := result{Work: w.name, Auth: m, Clients: clients, Size: w.size, Median: make(map[string]sample), Rounds: make(map[string][]sample)}
	var targets []*target
	for _, t := range w.against(l) {
		if t.at[m] != nil {
			targets = append(targets, t)
		}
	}
	works := make(map[*target]op)
	for _, t := range targets {
		work, err := w.work(l, m)(t)
		if err == nil && w.size == 0 {
			err = warmUp(t.at[m], work)
		}
		if err != nil {
			res.Error = fmt.Sprintf("%s: %v", t.name, err)
			return res
		}
		works[t] = work
	}
	for range o.rounds {
		for _, t := range targets {
			stop := func() error { return nil }
			if t == l.berth && o.profiles != "" {
				stop = l.profile(o, fmt.Sprintf("%s-%s-%d", w.name, m, clients))
			}
			s, err := measure(t.at[m], clients, o.duration, works[t])
			if err = errors.Join(err, stop()); err != nil {
				res.Error = fmt.Sprintf("%s: %v", t.name, err)
				return res
			}
			res.Rounds[t.name] = append(res.Rounds[t.name], s)
		}
	}
	fmt.Fprintf(os.Stderr, "%-24s %-9s %2d clients:", w.name, m, clients)
	for _, t := range targets {
		res.Median[t.name] = median(res.Rounds[t.name])
		fmt.Fprintf(os.Stderr, "  %s %.4g/s", t.name, res.Median[t.name].Rate)
	}
	fmt.Fprintln(os.Stderr)
	return res
}

// warmUp does the work once, so that what happens only once is not measured.
func warmUp(p *process, work op) error {
	c, err := dial(p.addr, patience)
	if err != nil {
		return err
	}
	defer c.close()
	return work(c)
}

// profile takes a processor profile of berth while a row is measured, and
// returns what waits for its end.
func (l *lab) profile(o options, name string) func() error {
	seconds := max(1, int(o.duration/time.Second))
	done := make(chan error, 1)
	go func() {
		done <- func() error {
			req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", l.debug, seconds), nil)
			if err != nil {
				return err
			}
			data, err := get(req)
			if err != nil {
				return err
			}
			file := strings.NewReplacer(" ", "-", ",", "").Replace(name) + ".pprof"
			return os.WriteFile(filepath.Join(o.profiles, file), data, 0o644)
		}()
	}()
	return func() error { return <-done }
}

// A limit is what wrk measured of berth and nginx for the same bytes.
type limit struct {
	Work    string             `json:"work"`
	Clients int                `json:"clients"`
	Size    int64              `json:"bytes"`
	Median  map[string]drive   `json:"median"`
	Rounds  map[string][]drive `json:"rounds"`
}

// runLimits lets wrk pull the same blobs from berth and from nginx.
func (r *report) runLimits(l *lab, o options) error {
	if l.files == nil {
		return nil // said when it was not started
	}
	if _, err := exec.LookPath("wrk"); err != nil {
		fmt.Fprintln(os.Stderr, "skipped: what wrk drives, which is not installed (make bench-deps)")
		return nil
	}
	f := newFixture(o.sizes)
	var broken []error
	for _, w := range []struct {
		name    string
		clients int
		blob    func() (*blob, error)
	}{
		{nameBlob, 8, func() (*blob, error) { return f.layers.next() }},
		{nameBlob, 64, func() (*blob, error) { return f.layers.next() }},
		{nameLargePull, 1, func() (*blob, error) { return f.large.next() }},
		{nameLargePull, 8, func() (*blob, error) { return f.large.next() }},
	} {
		if !o.only.MatchString(w.name) || o.quick && w.clients > 8 || o.clients != 0 && w.clients != o.clients {
			continue
		}
		b, err := w.blob()
		if err != nil {
			return err
		}
		res, err := l.measureLimit(o, w.name, b, w.clients)
		if err != nil {
			broken = append(broken, fmt.Errorf("%s beside nginx: %w", w.name, err))
			continue
		}
		r.Limits = append(r.Limits, res)
	}
	return errors.Join(broken...)
}

func (l *lab) measureLimit(o options, name string, b *blob, clients int) (limit, error) {
	res := limit{Work: name, Clients: clients, Size: b.from.size, Median: make(map[string]drive), Rounds: make(map[string][]drive)}
	if err := l.addFile(blobPath(b), b); err != nil {
		return res, err
	}
	c, err := dial(l.berth.at[anonymous].addr, patience)
	if err != nil {
		return res, err
	}
	defer c.close()
	if err := l.storeOnce(c, b); err != nil {
		return res, err
	}
	for range o.rounds {
		for _, t := range []*target{l.berth, l.files} {
			d, err := wrk(t.at[anonymous], blobPath(b), clients, o.duration)
			if err != nil {
				return res, fmt.Errorf("%s: %w", t.name, err)
			}
			res.Rounds[t.name] = append(res.Rounds[t.name], d)
		}
	}
	for name, rounds := range res.Rounds {
		res.Median[name] = medianDrive(rounds)
	}
	return res, nil
}

// storeOnce pushes a blob that another row may have pushed already.
func (l *lab) storeOnce(c *conn, b *blob) error {
	if err := c.send(head("HEAD", blobPath(b)), nil); err != nil {
		return err
	}
	if c.status == http.StatusOK {
		return nil
	}
	return pushBlob(c, repoImage, "", b)
}

// nameDecisions is for -rows.
const nameDecisions = "decisions"

// A decision is what so many rules cost for one request, by the Go benchmark of
// package access.
type decision struct {
	Rules  int     `json:"rules"`
	Name   string  `json:"name"`
	Nanos  float64 `json:"ns"`
	Allocs int     `json:"allocs"`
}

var benchLine = regexp.MustCompile(`(?m)^BenchmarkDecide/rules=(\d+)/(\S+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op\s+\d+ B/op\s+(\d+) allocs/op`)

func decisions(root string, o options) ([]decision, error) {
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkDecide$", "-benchtime", (o.duration / 3).String(), "./access")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("measure the rules: %w: %s", err, out)
	}
	all, err := parseDecisions(string(out))
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("measure the rules: no figures in %s", out)
	}
	return all, nil
}

func parseDecisions(text string) (all []decision, err error) {
	for _, m := range benchLine.FindAllStringSubmatch(text, -1) {
		d := decision{Name: m[2]}
		var errs [3]error
		d.Rules, errs[0] = strconv.Atoi(m[1])
		d.Nanos, errs[1] = strconv.ParseFloat(m[3], 64)
		d.Allocs, errs[2] = strconv.Atoi(m[4])
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}
