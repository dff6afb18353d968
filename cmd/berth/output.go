package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// addOutputFlag gives a command the flag -o. Its result is by itself in a format,
// such as table, and may be had as JSON.
func addOutputFlag(cmd *cobra.Command, format string) {
	f := &outputFormat{format, []string{format, "json"}}
	cmd.Flags().VarP(f, "output", "o", "`FORMAT` of the result: "+f.choice())
}

// An outputFormat is the value of the flag -o: one of a few words.
type outputFormat struct {
	value string
	words []string
}

func (f *outputFormat) choice() string { return strings.Join(f.words, " or ") }

// String, Set and Type implement pflag.Value.
func (f *outputFormat) String() string { return f.value }

func (f *outputFormat) Set(value string) error {
	if !slices.Contains(f.words, value) {
		return errors.New("it must be " + f.choice())
	}
	f.value = value
	return nil
}

func (f *outputFormat) Type() string { return "string" }

// printResult writes v as JSON where -o json was given, and else as the table whose
// rows are given, the first of them the head.
func printResult(cmd *cobra.Command, v any, rows [][]string) error {
	format, err := cmd.Flags().GetString("output")
	if err != nil {
		return err
	}
	if format == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return printTable(cmd.OutOrStdout(), rows)
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

// isTerminal reports whether people look at what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
