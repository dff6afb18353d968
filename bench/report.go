package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is all that a run found.
type report struct {
	Command  string        `json:"command"`
	Time     string        `json:"time"`
	Machine  string        `json:"machine"`
	Versions []string      `json:"versions"`
	Duration time.Duration `json:"duration_ns"` // of a row and round
	Repeats  int           `json:"rounds"`
	Few      int           `json:"few"`
	Many     int           `json:"many"`
	Layer    int64         `json:"large_layer_bytes"`

	Results   []result   `json:"results"`
	Limits    []limit    `json:"limits"`
	Decisions []decision `json:"decisions"`
	Peak      int64      `json:"berth_peak_bytes"` // over the whole run
	Goals     []goal     `json:"goals"`
	Reruns    []rerun    `json:"reruns,omitempty"`
}

func newReport(o options, root string) *report {
	return &report{
		Command:  "cd bench && go run . " + strings.Join(os.Args[1:], " "),
		Time:     time.Now().UTC().Format("2006-01-02 15:04"),
		Machine:  machine(),
		Versions: versions(root),
		Duration: o.duration, Repeats: o.rounds,
		Few: o.sizes.few, Many: o.sizes.many, Layer: o.sizes.layer,
	}
}

func machine() string {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	model := "an unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d cores of %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

func versions(root string) []string {
	_, peer, _ := strings.Cut(distribution, "@")
	all := []string{"Distribution " + peer}
	git := exec.Command("git", "describe", "--tags", "--always")
	git.Dir = root
	if out, err := git.Output(); err == nil {
		all = append(all, "berth "+strings.TrimSpace(string(out)))
	}
	if out, err := exec.Command("nginx", "-v").CombinedOutput(); err == nil {
		_, version, _ := strings.Cut(strings.TrimSpace(string(out)), "nginx/")
		all = append(all, "nginx "+version)
	}
	slices.Sort(all)
	return all
}

// markdown returns the report for readers.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured %s UTC on %s; %s.\n", r.Time, r.Machine, strings.Join(r.Versions, ", "))
	fmt.Fprintf(&b, "Each figure is the median of %d rounds of %v, in which the servers took turns.\n", r.Repeats, r.Duration)
	fmt.Fprintf(&b, "Client and servers share the cores. Made by:\n\n```\n%s\n```\n\n", r.Command)
	r.writeReruns(&b)
	r.writeGoals(&b)
	r.writeResults(&b)
	r.writeLimits(&b)
	r.writeDirectory(&b)
	r.writeDecisions(&b)
	return b.String()
}

func (r *report) writeGoals(b *strings.Builder) {
	if len(r.Goals) == 0 {
		return
	}
	fmt.Fprintf(b, "## Goals\nWith %d clients, or 1 for large layers and for the same time with few as with many.\n\n| work | to reach | measured | |\n|---|---|---|---|\n", at)
	for _, g := range r.Goals {
		met := "**not reached**"
		if g.Met {
			met = "reached"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", g.Work, g.Want, g.Have, met)
	}
	b.WriteString("\n")
}

// explain says what the rows are.
const explain = `Berth has authentication and rules on in every row; without credentials it decides as for any other user. Distribution can have
one kind of authentication at a time, so three of it run over the same files: none, htpasswd, token; its descriptor cache is on. Both
have their logs off. Basic is bcrypt of cost 10. A small image is %d layers of 64 KiB and a configuration. It is pulled by 13 requests
and pushed by 45, one after the other, as docker makes them, over one connection for each client; what is pushed differs from all that
was pushed before. Few is %d tags of a repository, or repositories of a registry; many is %d; a page is %d from the middle. The large
layer is %s. Tokens are compared with a server of bcrypt and RS256 for every request, as Distribution has none. Processor time is that
of the server for one unit of work, in steps of 10 ms over the whole round. Memory is the most that was resident in the row.
`

func (r *report) writeResults(b *strings.Builder) {
	results := r.besideOthers()
	if len(results) == 0 {
		return
	}
	b.WriteString("## Beside Distribution\n")
	fmt.Fprintf(b, explain, imageLayers, r.Few, r.Many, page, bytesText(float64(r.Layer)))
	b.WriteString("\n![Rates](performance-rate.svg)\n![Processor time](performance-cpu.svg)\n\n")
	b.WriteString("In each cell: berth, then the other. For large layers the rate is bytes.\n\n")
	b.WriteString("| work | auth | clients | rate, 1/s | factor | p50 | p99 | processor | memory |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, res := range results {
		if res.Error != "" {
			fmt.Fprintf(b, "| %s | %s | %d | failed | | | | | |\n", res.Work, res.Auth, res.Clients)
			continue
		}
		a, o := res.Median["berth"], res.other()
		pair := func(of func(sample) string) string { return of(a) + " · " + of(o) }
		fmt.Fprintf(b, "| %s | %s | %d | %s | %.3g | %s | %s | %s | %s |\n", res.Work, res.Auth, res.Clients,
			pair(func(s sample) string { return rateText(s.Rate, res.Size) }), quotient(a.Rate, o.Rate),
			pair(func(s sample) string { return timeText(s.P50) }),
			pair(func(s sample) string { return timeText(s.P99) }),
			pair(func(s sample) string { return timeText(s.CPU) }),
			pair(func(s sample) string { return bytesText(float64(s.Peak)) }))
	}
	b.WriteString("\n")
}

// other returns the figures of what berth is compared with.
func (res *result) other() sample {
	for name, s := range res.Median {
		if name != "berth" && name != "nginx" {
			return s
		}
	}
	return sample{}
}

func (r *report) writeLimits(b *strings.Builder) {
	b.WriteString("## Beside nginx\n")
	b.WriteString("nginx serves the same bytes as files, with sendfile, and without any question of who asks.\n\n")
	var lines strings.Builder
	for _, l := range r.Limits {
		a, n := l.Median["berth"], l.Median["nginx"]
		fmt.Fprintf(&lines, "| %s | wrk | %d | %s · %s | %.2f | %s · %s | %s · %s |\n", l.Work, l.Clients,
			driveText(a, l.Size), driveText(n, l.Size), quotient(a.Bytes, n.Bytes), timeText(a.P50), timeText(n.P50), timeText(a.P99), timeText(n.P99))
	}
	for _, res := range r.Results {
		if n, ok := res.Median["nginx"]; ok {
			a := res.Median["berth"]
			fmt.Fprintf(&lines, "| %s | bench | %d | %s · %s | %.2f | %s · %s | %s · %s |\n", res.Work, res.Clients,
				rateText(a.Rate, res.Size), rateText(n.Rate, res.Size), quotient(a.Rate, n.Rate), timeText(a.P50), timeText(n.P50), timeText(a.P99), timeText(n.P99))
		}
	}
	if lines.Len() == 0 {
		b.WriteString("Not measured: nginx or wrk was not installed, or the rows were left out.\n")
		return
	}
	b.WriteString("![Beside nginx](performance-nginx.svg)\n\n| work | client | clients | rate, 1/s | factor | p50 | p99 |\n|---|---|---:|---:|---:|---:|---:|\n" + lines.String())
}

func driveText(d drive, size int64) string {
	if size > 1<<20 {
		return bytesText(d.Bytes) + "/s"
	}
	return rateText(d.Rate, 0)
}

func rateText(perSecond float64, size int64) string {
	switch {
	case size > 0:
		return bytesText(perSecond*float64(size)) + "/s"
	case perSecond >= 100:
		return fmt.Sprintf("%.0f", perSecond)
	}
	return fmt.Sprintf("%.3g", perSecond)
}

func timeText(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2g s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2g ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%d µs", d.Microseconds())
}

func bytesText(n float64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.0f GiB", n/(1<<30))
	case n >= 1<<30:
		return fmt.Sprintf("%.2g GiB", n/(1<<30))
	case n >= 10<<20:
		return fmt.Sprintf("%.0f MiB", n/(1<<20))
	}
	return fmt.Sprintf("%.2g MiB", n/(1<<20))
}
