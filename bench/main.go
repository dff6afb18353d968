// Bench measures berth side by side with CNCF Distribution, and with nginx
// where all that is done is to serve a file; and users of a directory side by
// side with those of a password file.
//
// It builds berth from the folder above, installs Distribution where it is
// missing, starts both on loopback with their data in a temporary folder, and
// sends both the same requests in turn, round after round. The result is
// Markdown, charts and JSON in docs.
//
//	go run . -quick          # does everything work? prints to standard output
//	go run . -out ../docs    # the real run
//	go run . -out ../docs -rows push    # these rows again, into the report
//
// Client and servers share the processors of the machine. The client is
// therefore as small as it can be (see conn.go), and what a server costs is read
// from the kernel's account of its processor time.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	duration time.Duration
	rounds   int
	quick    bool
	only     *regexp.Regexp
	clients  int    // 0: as the rows say
	mode     string // "": all
	sizes    sizes
	out      string
	scratch  string
	profiles string
}

func main() {
	o, addr, err := parseFlags(os.Args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if addr != "" {
		err = standIn(addr)
	} else {
		err = bench(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// parseFlags returns the options, and the address of the stand-in when this
// process is to be that.
func parseFlags(args []string) (options, string, error) {
	var o options
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.DurationVar(&o.duration, "d", 3*time.Second, "time for one row and round")
	set.IntVar(&o.rounds, "rounds", 5, "rounds; the medians are reported")
	set.BoolVar(&o.quick, "quick", false, "half a second, one round, 8 clients at most, fewer rows, small content")
	only := set.String("rows", "", "only rows whose name matches this regular expression")
	set.IntVar(&o.clients, "clients", 0, "only this number of clients (default: each number of the row)")
	set.StringVar(&o.mode, "auth", "", "only this kind of authentication: anonymous, Basic or Bearer")
	layer := set.Int64("layer", 256, "MiB of the large layer")
	set.IntVar(&o.sizes.many, "many", 100_000, "tags of the large repository, repositories of the large registry; the small ones have 1/100")
	set.IntVar(&o.sizes.users, "users", 100_000, "users of the directory and of the password file; each first login needs another")
	set.StringVar(&o.out, "out", "", "folder for performance.md, .json and .svg (default: Markdown on standard output)")
	set.StringVar(&o.scratch, "scratch", "", "where the temporary folder is made; about 30 GiB for the real run")
	set.StringVar(&o.profiles, "profiles", "", "folder for a processor profile of berth for each row")
	standIn := set.String("standin", "", "serve tokens at this address, for the program itself")
	if err := set.Parse(args); err != nil {
		return o, "", err
	}
	if o.quick {
		given := make(map[string]bool)
		set.Visit(func(f *flag.Flag) { given[f.Name] = true })
		quick := func(name string, set func()) {
			if !given[name] {
				set()
			}
		}
		quick("d", func() { o.duration = time.Second / 2 })
		quick("rounds", func() { o.rounds = 1 })
		quick("many", func() { o.sizes.many = 10_000 })
		quick("users", func() { o.sizes.users = 10_000 })
		quick("layer", func() { *layer = 32 })
	}
	o.sizes.few, o.sizes.layer = o.sizes.many/100, *layer<<20
	var err error
	o.only, err = regexp.Compile(*only)
	switch {
	case err != nil:
	case set.NArg() > 0:
		err = fmt.Errorf("there are no arguments: %q", set.Args())
	case o.duration <= 0 || o.rounds <= 0 || *layer <= 0 || o.sizes.users <= 0:
		err = errors.New("-d, -rounds, -layer and -users must be positive")
	case o.sizes.few < 2*page || o.sizes.many > 1_000_000:
		err = fmt.Errorf("-many must be between %d and 1,000,000", 200*page)
	}
	return o, *standIn, err
}

func bench(o options) (err error) {
	root, err := filepath.Abs("..")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "cmd", "berth")); err != nil {
		return fmt.Errorf("run it in the folder bench: %w", err)
	}
	l, err := newLab(root, o.scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	defer l.closeOnSignal()()
	if err := l.start(); err != nil {
		return err
	}
	r := newReport(o, root)
	// What fails is said in the end; what was measured is reported all the same.
	broken := errors.Join(r.runRows(l, o), r.runLimits(l, o))
	if o.only.MatchString(nameDecisions) {
		r.Decisions, err = decisions(root, o)
		broken = errors.Join(broken, err)
	}
	if l.interrupted.Load() {
		return errors.New("interrupted: nothing is reported")
	}
	r.Peak = l.berth.at[basic].peak
	r.judge()
	if o.out != "" && o.partial() {
		if r, err = r.onto(o.out); err != nil {
			return errors.Join(broken, err)
		}
	}
	return errors.Join(broken, r.write(o.out))
}

// write puts the report into a folder, or prints it.
func (r *report) write(folder string) error {
	text := r.markdown()
	if folder == "" {
		fmt.Print(text)
		return nil
	}
	page := filepath.Join(folder, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, "performance.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	if err := r.charts(folder); err != nil {
		return err
	}
	return os.WriteFile(page, []byte(insert(string(old), text)), 0o644)
}

const (
	begin = "<!-- measured: begin -->\n"
	end   = "<!-- measured: end -->\n"
)

// insert puts text between the two marks of page, so that what was written by
// hand around them stays.
func insert(page, text string) string {
	if page == "" {
		page = "# Performance\n\n" + begin + end
	}
	before, rest, ok := strings.Cut(page, begin)
	if !ok {
		return strings.TrimRight(page, "\n") + "\n\n" + begin + text + end
	}
	_, after, _ := strings.Cut(rest, end)
	return before + begin + text + end + after
}
