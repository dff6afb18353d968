package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"berth/registry"
)

func newExportCommand() *cobra.Command {
	var prune bool
	cmd := &cobra.Command{
		Use:   "export CONFIG DIRECTORY",
		Short: "Write the data as Distribution keeps them",
		Long: "Writes all repositories into DIRECTORY in the layout of CNCF Distribution, which then serves them with\n" +
			"DIRECTORY as the rootdirectory of storage.filesystem. A server may run meanwhile; what was interrupted\n" +
			"is taken up again. What is in DIRECTORY already is not written again, so that an export back to where\n" +
			"the data were taken over copies only what is new. A name in DIRECTORY that berth does not have (any\n" +
			"more) is listed, and the exit code is 1; with --prune it is removed.",
		Example: "  berth export /etc/berth/config.yml /srv/registry\n" +
			"  berth export --prune /etc/docker/registry/config.yml /var/lib/registry",
		Args: cobra.ExactArgs(2),
		RunE: operation(func(cmd *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[1])
			if err != nil {
				return err
			}
			return exportData(cmd, args[:1], registry.ExportOptions{Dir: dir, Prune: prune})
		}),
	}
	cmd.Flags().BoolVar(&prune, "prune", false, "remove the names in DIRECTORY that berth does not have")
	addOutputFlag(cmd, "table")
	return cmd
}

func importData(cmd *cobra.Command, args []string, verify bool) error {
	cfg, _, err := loadAndWarn(cmd, args)
	if err != nil {
		return err
	}
	report := transferReport{LeftOut: []registry.Finding{}}
	err = withStored(cmd, cfg, true, func(m stored) (err error) {
		show := newProgress(cmd)
		defer show.end()
		report.Transfer, err = m.Adopt(cmd.Context(), registry.AdoptOptions{Verify: verify, Watch: report.watch(show, "taken over")})
		return err
	})
	return report.print(cmd, err, "Distribution serves it, and berth will not: %d")
}

func exportData(cmd *cobra.Command, args []string, o registry.ExportOptions) error {
	cfg, _, err := loadAndWarn(cmd, args)
	if err != nil {
		return err
	}
	report := transferReport{LeftOut: []registry.Finding{}}
	err = withStored(cmd, cfg, false, func(m stored) (err error) {
		show := newProgress(cmd)
		defer show.end()
		o.Watch = report.watch(show, "written")
		report.Transfer, err = m.Export(cmd.Context(), o)
		return err
	})
	return report.print(cmd, err, "what is in the folder differs from what berth serves: %d")
}

// A transferReport is what a transfer has done, and left out.
type transferReport struct {
	registry.Transfer
	LeftOut []registry.Finding `json:"leftOut"`
}

// watch gathers what is found, and shows how the work goes on.
func (r *transferReport) watch(show *progress, done string) registry.Watch {
	return registry.Watch{
		Found: func(f registry.Finding) { r.LeftOut = append(r.LeftOut, f) },
		Progress: func(t registry.Transfer) {
			show.line(fmt.Sprintf("%s: %d blobs (%s), %d repositories, %d manifests, %d tags; left out: %d",
				done, t.Blobs, byteCount(t.Bytes), t.Repositories, t.Manifests, t.Tags, t.Findings))
		},
	}
}

// print writes the report, be it of work that ended with err. Anything lost is a
// failure, which lost tells of.
func (r *transferReport) print(cmd *cobra.Command, err error, lost string) error {
	if err != nil && r.Blobs+r.Findings == 0 {
		return err
	}
	var rows [][]string
	if len(r.LeftOut) > 0 {
		rows = append(rows, []string{"LOST", "PATH", "REASON"})
	}
	for _, f := range r.LeftOut {
		word := "no"
		if f.Lost {
			word = "yes"
		}
		rows = append(rows, []string{word, f.Path, f.Reason})
	}
	printErr := printResult(cmd, r, rows)
	if printErr == nil {
		printErr = r.printTotal(cmd)
	}
	if err == nil && r.Lost > 0 {
		err = fmt.Errorf(lost, r.Lost)
	}
	return errors.Join(err, printErr)
}

// printTotal closes a table; JSON has the numbers already.
func (r *transferReport) printTotal(cmd *cobra.Command) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil || format == "json" {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d blobs (%s), %d repositories, %d manifests and %d tags (new: %d); %d uploads in flight; copied: %d, verified: %d; left out: %d, lost: %d\n",
		r.Blobs, byteCount(r.Bytes), r.Repositories, r.Manifests, r.Tags, r.New, r.Uploads, r.Copied, r.Verified, r.Findings, r.Lost)
	return err
}
