package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"berth/access"
	"berth/audit"
	"berth/oci"
)

func newAuditCommand() *cobra.Command {
	var filter audit.Filter
	var text auditText
	var follow bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Search what was done, and what was refused",
		Long: "Shows the events of the audit log that all flags ask for, the newest last. It reads the files,\n" +
			"beside a running server, which writes within a second, or without one. MOMENT is a time such as\n" +
			"2026-11-25, \"2026-11-25 16:30\" or 2026-11-25T16:30:00Z, in UTC unless it says otherwise, or how\n" +
			"long ago it was, such as 2h or 7d. With -o json it prints the lines as they are in the log.",
		Example: "  berth audit --since 1d\n  berth audit --denied --user bob --since 2h --repository 'team/**'\n" +
			"  berth audit --event push --address 10.0.0.0/8 -o json\n  berth audit --failed -f",
		Args: cobra.NoArgs,
		RunE: operation(func(cmd *cobra.Command, _ []string) error {
			if err := text.complete(&filter, time.Now()); err != nil {
				return err
			}
			return showAudit(cmd, filter, follow)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&filter.Denied, "denied", false, "what the rules did not allow")
	f.BoolVar(&filter.Failed, "failed", false, "logins and calls that failed; with --denied, either")
	f.StringVar(&filter.User, "user", "", "done by this `USER`, his robots, or to him; anonymous is who has not logged in")
	f.StringVar(&text.event, "event", "", "this `EVENT`: login, token, refused, push, delete, pull, user, robot, rules …")
	f.StringVar(&text.repository, "repository", "", "in repositories that match the `PATTERN`, as rules have it")
	f.StringVar(&text.address, "address", "", "from this address or `NETWORK`")
	f.StringVar(&text.since, "since", "", "from this `MOMENT` on")
	f.StringVar(&text.until, "until", "", "before this `MOMENT`")
	f.StringVar(&text.ref, "ref", "", "`REFERENCE` that a client was told")
	f.BoolVarP(&follow, "follow", "f", false, "go on with what is written, until interrupted")
	addOutputFlag(cmd, "table")
	return cmd
}

// An auditText is a filter as it stands in a command line.
type auditText struct{ event, repository, address, since, until, ref string }

// complete adds to a filter what is given.
func (a *auditText) complete(f *audit.Filter, now time.Time) (err error) {
	f.Kind = audit.Kind(a.event)
	if kinds := audit.Kinds(); f.Kind != "" && !slices.ContainsFunc(kinds, f.Kind.Has) {
		return fmt.Errorf("--event: there is no event %s: it is one of %s, or what stands before a dot", a.event, words(kinds))
	}
	f.Ref = strings.ToUpper(strings.TrimSpace(a.ref))
	if a.repository != "" {
		if f.Repository, err = access.Matcher(a.repository); err != nil {
			return fmt.Errorf("--repository: %w", err)
		}
	}
	if a.address != "" {
		text, ok := network(a.address)
		if !ok {
			return fmt.Errorf("--address: %q is no address such as 10.1.2.3, and no network such as 10.0.0.0/8", a.address)
		}
		f.Address = netip.MustParsePrefix(text).Masked()
	}
	if f.Since, err = moment(a.since, now); err != nil {
		return fmt.Errorf("--since: %w", err)
	}
	if f.Until, err = moment(a.until, now); err != nil {
		return fmt.Errorf("--until: %w", err)
	}
	return nil
}

// words lists what there is to choose from.
func words[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return strings.Join(texts, ", ")
}

// moment parses a time, or how long it was ago. "" is the zero time.
func moment(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := parseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, form := range []string{time.RFC3339, time.DateTime, "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(form, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time such as \"2026-11-25 16:30\", and no duration such as 2h or 7d", s)
}

func showAudit(cmd *cobra.Command, f audit.Filter, follow bool) error {
	cfg, err := configOf(cmd)
	if err != nil {
		return err
	}
	path := cfg.Audit.Path
	if path == "" {
		return errors.New("there is no audit log: with storage.inmemory, audit.path has to name one")
	}
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	show := auditLine
	if format == "table" {
		head := auditRow("TIME (UTC)", "EVENT", "RESULT", "USER", "ADDRESS", "WHAT")
		if _, err := cmd.OutOrStdout().Write(head); err != nil {
			return err
		}
	} else {
		show = func(e audit.Event) []byte { return e.Line() }
	}
	each := func(e audit.Event) error {
		_, err := cmd.OutOrStdout().Write(show(e))
		return err
	}
	if follow {
		return noAudit(path, audit.Follow(cmd.Context(), path, f, each))
	}
	broken, err := audit.Query(cmd.Context(), path, f, each)
	if broken > 0 {
		warn(cmd, []string{fmt.Sprintf("%d lines or files of the audit log are damaged and were left out", broken)})
	}
	return noAudit(path, err)
}

// noAudit says what it means that there is no log.
func noAudit(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no audit log at %s: no registry has kept one there; --config names another configuration", path)
	case errors.Is(err, context.Canceled):
		return errInterrupted
	}
	return err
}

// auditRow returns a row of the table, which is written before anybody knows how
// wide its columns get.
func auditRow(time, event, result, user, address, what string) []byte {
	return fmt.Appendf(nil, "%-19s  %-13s  %-9s  %-16s  %-15s  %s\n", time, event, result, user, address, what)
}

func auditLine(e audit.Event) []byte {
	address := "-"
	if e.Address.IsValid() {
		address = e.Address.String()
	}
	return auditRow(e.Time.UTC().Format(time.DateTime), printable(string(e.Kind)), printable(string(e.Result)),
		printable(cmp.Or(e.User, "-")), address, auditWhat(&e))
}

// auditWhat says what e was about, the most important first.
func auditWhat(e *audit.Event) string {
	var parts []string
	add := func(format, value string) {
		if value != "" {
			parts = append(parts, fmt.Sprintf(format, printable(value)))
		}
	}
	add("%s", contentOf(e))
	add("%s", e.Target)
	if e.Kind == audit.Token {
		add("%s", e.Scope)
	}
	add("%s", e.Reason)
	if e.Rule > 0 {
		add("rule %s", strconv.Itoa(e.Rule))
		add("# %s", e.Comment)
	}
	if e.Count > 0 {
		add("(%s more like it)", strconv.Itoa(e.Count))
	}
	add("ref %s", e.Ref)
	return strings.Join(parts, "  ")
}

// contentOf names the content that e is about.
func contentOf(e *audit.Event) string {
	what := e.Repository
	for i, tag := range e.Tags {
		separator := ","
		if i == 0 {
			separator = ":"
		}
		what += separator + string(tag)
	}
	switch {
	case e.Digest == "":
		return what
	case what == "":
		return shortDigest(e.Digest)
	}
	return what + "@" + shortDigest(e.Digest)
}

// shortDigest returns as much of d as tells it from others.
func shortDigest(d oci.Digest) string {
	const enough = len("sha256:") + 12
	return string(d[:min(len(d), enough)])
}

// printable returns s in quotes when it holds what a terminal would not show.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
