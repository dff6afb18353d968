package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// addOutputFlag gives a command that prints a table the flag -o.
func addOutputFlag(cmd *cobra.Command) {
	cmd.Flags().StringP("output", "o", "table", "`FORMAT` of the result: table or json")
}

// printResult writes v as JSON where -o json was given, and else as the table whose
// rows are given, the first of them the head.
func printResult(cmd *cobra.Command, v any, rows [][]string) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	switch format {
	case "json":
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "table":
		return printTable(cmd.OutOrStdout(), rows)
	}
	return fmt.Errorf("-o %s: it must be table or json", format)
}

// printText writes v as JSON where -o json was given, and else as the text.
func printText(cmd *cobra.Command, v any, text string) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	if format == "table" {
		_, err := io.WriteString(cmd.OutOrStdout(), text)
		return err
	}
	return printResult(cmd, v, nil)
}

func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// ago tells a moment as lists show it.
func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}
