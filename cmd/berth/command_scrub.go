package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"berth/oci"
	"berth/registry"
)

func newScrubCommand() *cobra.Command {
	var rate string
	var q registry.ScrubRequest
	cmd := &cobra.Command{
		Use:   "scrub [CONFIG]",
		Short: "Verify all that is stored",
		Long: "Reads and hashes the bytes of every blob, beside a running server or without one; the server does the\n" +
			"same by itself, every scrub.interval. What is missing, cut or changed is healed from scrub.from, or\n" +
			"counts as missing until it is pushed again, and is listed with the repositories and tags that need\n" +
			"it. The exit code is 1 when anything is damaged and not healed. A scrub that was interrupted goes on\n" +
			"where it was.",
		Example: "  berth scrub\n  berth scrub --rate 50MiB -o json /etc/berth/config.yml > report.json",
		Args:    cobra.MaximumNArgs(1),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			if rate != "" {
				text, ok := size(rate)
				if _, err := fmt.Sscan(text, &q.Rate); !ok || err != nil || q.Rate < minScrubRate {
					return fmt.Errorf("--rate: %q is no number of bytes a second, of %d or more", rate, minScrubRate)
				}
			}
			return scrubData(cmd, args, q)
		}),
	}
	cmd.Flags().StringVar(&rate, "rate", "", "`BYTES` a second that are read at most (default: no bound)")
	cmd.Flags().BoolVar(&q.Restart, "restart", false, "begin anew, whatever was interrupted")
	addOutputFlag(cmd, "table")
	return cmd
}

func scrubData(cmd *cobra.Command, args []string, q registry.ScrubRequest) error {
	cfg, _, err := loadAndWarn(cmd, args)
	if err != nil {
		return err
	}
	var report registry.ScrubReport
	err = withStored(cmd, cfg, false, func(s stored) (err error) {
		show := newProgress(cmd)
		defer show.end()
		report, err = s.Scrub(cmd.Context(), q, func(p registry.ScrubProgress) {
			show.line(fmt.Sprintf("verified: %d blobs (%s); damaged: %d", p.Blobs, byteCount(p.Bytes), p.Damaged))
		})
		return err
	})
	if !report.Began.IsZero() {
		err = errors.Join(err, printScrub(cmd, report))
	}
	if n := report.Damaged - report.Healed; err == nil && n > 0 {
		err = fmt.Errorf("damaged: %d blobs, which count as missing until they are pushed again", n)
	}
	return err
}

func printScrub(cmd *cobra.Command, r registry.ScrubReport) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	if format == "json" {
		return printResult(cmd, r, nil)
	}
	out := cmd.OutOrStdout()
	if len(r.Damages) > 0 {
		if err := printTable(out, damageRows(r.Damages)); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "%d blobs (%s) were verified; damaged: %d, healed: %d\n", r.Blobs, byteCount(r.Bytes), r.Damaged, r.Healed)
	return err
}

func damageRows(list []registry.Damage) [][]string {
	rows := [][]string{{"DIGEST", "PROBLEM", "HEALED", "REPOSITORY", "TAGS"}}
	for _, d := range list {
		healed := "no"
		if d.Healed {
			healed = "yes"
		}
		if len(d.Places) == 0 {
			rows = append(rows, []string{string(d.Digest), d.Problem, healed, "", ""})
		}
		for _, p := range d.Places {
			rows = append(rows, []string{string(d.Digest), d.Problem, healed, string(p.Repository), joinTags(p.Tags)})
		}
	}
	return rows
}

func joinTags(tags []oci.Tag) string {
	texts := make([]string, 0, len(tags))
	for _, t := range tags {
		texts = append(texts, string(t))
	}
	return strings.Join(texts, ",")
}
