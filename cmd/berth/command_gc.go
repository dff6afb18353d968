package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"berth/audit"
	"berth/registry"
)

func newGCCommand() *cobra.Command {
	var q registry.SweepRequest
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "gc [CONFIG]",
		Short: "Remove what nothing needs",
		Long: "Removes what the rules of retention give up, blobs that no manifest of their repository names, and\n" +
			"what nothing in the database has named for a week, beside a running server or without one. Whatever\n" +
			"somebody was told of within the grace (gc.grace) stays: what was deleted now frees its bytes later.\n" +
			"The server does the same by itself, every gc.interval. --dry-run changes nothing and tells what would\n" +
			"go, and by which rule.",
		Example: "  berth gc --dry-run\n  berth gc --dry-run -o json /etc/berth/config.yml\n  berth gc --untagged",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("grace") {
				if grace < 0 {
					return errors.New("--grace must not be negative")
				}
				q.Grace = &grace
			}
			report, err := collect(cmd, args, q)
			return errors.Join(err, printSweep(cmd, report))
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&q.DryRun, "dry-run", "d", false, "change nothing")
	f.BoolVar(&q.Untagged, "untagged", false, "remove manifests, too, that have no tag and were of no use within the grace")
	f.BoolVar(&q.AcceptUnknown, "accept-unknown", false, "go on where more than a tenth of the objects is unknown, because you know why")
	f.DurationVar(&grace, "grace", 0, "in the place of gc.grace; a `DURATION` that is shorter than a push takes breaks it")
	addOutputFlag(cmd, "table")
	return cmd
}

// newGarbageCollectCommand is Distribution's.
func newGarbageCollectCommand() *cobra.Command {
	var q registry.SweepRequest
	var quiet bool
	cmd := &cobra.Command{
		Use:   "garbage-collect CONFIG",
		Short: "Remove what nothing needs",
		Long: "Removes blobs that no manifest of their repository names and what else is garbage, as `berth gc`\n" +
			"does, also beside a running server: what somebody was told of within the grace (gc.grace) stays.",
		Example: "  registry garbage-collect --dry-run /etc/docker/registry/config.yml\n  registry garbage-collect -m /etc/docker/registry/config.yml",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			report, err := collect(cmd, args, q)
			if quiet {
				return err
			}
			return errors.Join(err, printSweep(cmd, report))
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&q.DryRun, "dry-run", "d", false, "change nothing")
	f.BoolVarP(&q.Untagged, "delete-untagged", "m", false, "delete manifests that have no tag and were of no use within the grace")
	f.BoolVarP(&quiet, "quiet", "q", false, "print nothing but errors")
	addOutputFlag(cmd, "table")
	return cmd
}

// collect sweeps the data of the configuration, with progress.
func collect(cmd *cobra.Command, args []string, q registry.SweepRequest) (report registry.SweepReport, err error) {
	cfg, _, err := loadAndWarn(cmd, args)
	if err != nil {
		return report, err
	}
	err = withStored(cmd, cfg, false, func(s stored) (err error) {
		show := newProgress(cmd)
		defer show.end()
		report, err = s.Sweep(cmd.Context(), q, func(p registry.SweepProgress) {
			show.line(fmt.Sprintf("%s: %d", p.Phase, p.Seen))
		})
		return err
	})
	return report, err
}

// printSweep prints what was removed, or would be, also of a sweep that failed
// under way.
func printSweep(cmd *cobra.Command, r registry.SweepReport) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil || r.Began.IsZero() {
		return err
	}
	if format == "json" {
		return printResult(cmd, r, nil)
	}
	out := cmd.OutOrStdout()
	if len(r.Removals) > 0 {
		if err := printTable(out, removalRows(r.Removals)); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	if len(r.Repositories) > 0 {
		if err := printTable(out, sweptRows(r)); err != nil {
			return err
		}
	}
	printTotals(out, r)
	return nil
}

func removalRows(removals []registry.Removal) [][]string {
	rows := [][]string{{"REMOVED", "RULE", "WHY"}}
	for _, r := range removals {
		e := audit.Event{Repository: string(r.Repository), Digest: r.Digest}
		what := contentOf(&e)
		if r.Tag != "" {
			what = string(r.Repository) + ":" + string(r.Tag)
		}
		rule := "--untagged"
		if r.Rule > 0 {
			rule = strconv.Itoa(r.Rule)
		}
		rows = append(rows, []string{what, rule, r.Reason})
	}
	return rows
}

func sweptRows(r registry.SweepReport) [][]string {
	head := []string{"REPOSITORY", "TAGS", "MANIFESTS", "BLOBS", "BYTES"}
	if r.DryRun {
		head = append(head, "LATER")
	}
	rows := [][]string{head}
	for _, s := range r.Repositories {
		row := []string{string(s.Name), strconv.Itoa(s.Tags), strconv.Itoa(s.Manifests), strconv.Itoa(s.Blobs), byteCount(s.Bytes)}
		if r.DryRun {
			row = append(row, byteCount(s.Later))
		}
		rows = append(rows, row)
	}
	return rows
}

func printTotals(out io.Writer, r registry.SweepReport) {
	verb := "removed"
	if r.DryRun {
		verb = "would be removed"
	}
	fmt.Fprintf(out, "%s: %d tags, %d manifests, %d blobs (%s)", verb, r.Tags, r.Manifests, r.Blobs, byteCount(r.Bytes))
	if r.Later > 0 {
		fmt.Fprintf(out, ", and %s when the grace of what was removed is over", byteCount(r.Later))
	}
	fmt.Fprintf(out, "\nobjects: %d, of which nothing names %d (%s); %d were unknown for long enough (%s)\n",
		r.Objects, r.Unknown, byteCount(r.UnknownBytes), r.Expired, byteCount(r.ExpiredBytes))
	if r.Spared > 0 {
		fmt.Fprintf(out, "left alone: %d objects from between a backup and its restore\n", r.Spared)
	}
	if r.Failed > 0 {
		fmt.Fprintf(out, "not deleted, to be tried again: %d objects\n", r.Failed)
	}
}
