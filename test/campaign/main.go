// Campaign breaks a running berth in every way that a machine can break, and
// looks whether anything that was acknowledged is lost and whether anything that
// is served is wrong.
//
// It consists of parts, each of which runs on its own: "campaign -part kill
// -rounds 20". A part keeps the history of what its clients did as lines of
// JSON, and ends with one checker, which starts berth again, pulls everything,
// compares the bytes, and compares what each tag names with what it may name
// after that history. Everything happens on the loopback interface and in a
// folder of the campaign's own. Some parts need root, strace and ext4.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A part is one way to break berth.
type part struct {
	name   string
	rounds int // when the command line does not say
	about  string
	run    func(*campaign, int) error
}

var parts = []part{
	{"kill", 200, "kill -9 at random under four pushers", (*campaign).kill},
	{"points", 10_000, "kill -9 before and after every write, sync and commit", (*campaign).points},
	{"power", 100, "power cut under four pushers", (*campaign).power},
	{"term", 20, "SIGTERM under four pushers", (*campaign).term},
	{"mixed", 20, "minutes of load of every kind", (*campaign).mixed},
	{"torn", 10, "power cut in the midst of a large blob", (*campaign).torn},
	{"full", 10, "full disk, for bytes, for the database and for the log", (*campaign).full},
	{"eio", 60, "reads, writes and syncs fail with EIO", (*campaign).eio},
	{"readonly", 5, "the file system turns read-only", (*campaign).readonly},
	{"damage", 100, "flipped, cut, emptied, swapped, deleted files", (*campaign).damage},
	{"limits", 1, "stalled, slow, idle and flooding clients", (*campaign).limits},
	{"slow", 1, "10,000 slow clients, and as many at once", (*campaign).slow},
	{"memory", 10, "GiB in little memory", (*campaign).memory},
	{"writers", 40, "50 writers of the same tags", (*campaign).writers},
	{"logins", 200, "parallel wrong logins; known and unknown users", (*campaign).logins},
	{"races", 1000, "uploads overtaken and raced", (*campaign).races},
	{"sweep", 28, "a sweep every 100 ms under pushes, mounts, re-tags, deletes and kill -9", (*campaign).sweep},
}

// A campaign is one run of one part.
type campaign struct {
	ctx     context.Context
	bin     string // berth
	dir     string // of this part
	history *history
	report  report
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == followArg {
		if err := follow(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "campaign: follow:", err)
			os.Exit(1)
		}
		return
	}
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "campaign:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	names := flag.String("part", "", "parts to run, with commas; all when empty")
	rounds := flag.Int("rounds", 0, "rounds of each part; its own default when 0")
	dir := flag.String("dir", ".cache/campaign", "where histories, logs and results are kept")
	resume := flag.Bool("resume", false, "skip parts that have passed with as many rounds")
	write := flag.Bool("write", false, "write the figures to docs/campaign.md")
	flag.Parse()
	root, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	chosen, err := choose(*names)
	if err != nil {
		return err
	}
	bin, err := build(root)
	if err != nil {
		return err
	}
	var failed []string
	for _, p := range chosen {
		if *rounds > 0 {
			p.rounds = *rounds
		}
		r, err := runPart(ctx, p, bin, root, *resume)
		fmt.Println(r)
		if err != nil || r.Lost+r.Broken > 0 {
			failed = append(failed, p.name)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "campaign: %s: %v\n", p.name, err)
		} else if *write {
			if err := r.write("docs/campaign.md"); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed != nil {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

func choose(names string) ([]part, error) {
	if names == "" {
		return parts, nil
	}
	var chosen []part
next:
	for name := range strings.SplitSeq(names, ",") {
		for _, p := range parts {
			if p.name == name {
				chosen = append(chosen, p)
				continue next
			}
		}
		return nil, fmt.Errorf("there is no part %q", name)
	}
	return chosen, nil
}

// build makes the binary as it is shipped.
func build(root string) (string, error) {
	bin := filepath.Join(root, "berth")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "berth/cmd/berth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth: %w\n%s", err, out)
	}
	return bin, nil
}

// runPart runs a part in a new folder below root, where its result is kept.
func runPart(ctx context.Context, p part, bin, root string, resume bool) (report, error) {
	result := filepath.Join(root, p.name+".json")
	if resume {
		if r, err := readReport(result); err == nil && r.Rounds >= p.rounds && r.Lost+r.Broken == 0 {
			return r, nil
		}
	}
	dir := filepath.Join(root, p.name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return report{Part: p.name}, err
	}
	h, err := newHistory(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		return report{Part: p.name}, err
	}
	c := &campaign{ctx: ctx, bin: bin, dir: dir, history: h, report: report{
		Part:    p.name,
		Command: fmt.Sprintf("make campaign PART=%s ROUNDS=%d", p.name, p.rounds),
	}}
	fmt.Printf("== %s: %s\n", p.name, p.about)
	began := time.Now()
	err = errors.Join(p.run(c, p.rounds), h.close())
	c.report.Took = time.Since(began).Round(time.Second)
	c.report.Acknowledged = h.acknowledged
	if err != nil {
		return c.report, err
	}
	data, err := json.MarshalIndent(c.report, "", "  ")
	if err != nil {
		return c.report, err
	}
	return c.report, os.WriteFile(result, data, 0o600)
}
