package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"berth/auth"
)

// askPassword reads a password from standard input: twice and unseen from a
// terminal, else its first line.
func askPassword(cmd *cobra.Command, name string, fromStdin bool) (auth.Secret, error) {
	if stdin := int(os.Stdin.Fd()); !fromStdin && term.IsTerminal(stdin) {
		return askTwice(cmd.ErrOrStderr(), name, func() (string, error) { return readUnseen(cmd.Context(), stdin) })
	}
	return passwordLine(cmd)
}

// passwordLine reads the first line of standard input.
func passwordLine(cmd *cobra.Command) (auth.Secret, error) {
	line, err := await(cmd.Context(), func() (string, error) {
		return bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4096)).ReadString('\n')
	})
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return auth.Secret(strings.TrimRight(line, "\r\n")), nil
}

func askTwice(w io.Writer, name string, read func() (string, error)) (auth.Secret, error) {
	var answers [2]string
	for i, prompt := range []string{"New password for " + name + ": ", "Again: "} {
		fmt.Fprint(w, prompt)
		answer, err := read()
		fmt.Fprintln(w)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		answers[i] = answer
	}
	if answers[0] != answers[1] {
		return "", errors.New("the passwords differ")
	}
	return auth.Secret(answers[0]), nil
}

// readUnseen reads a line from a terminal that does not show it. When ctx ends
// first, the terminal is left as it was.
func readUnseen(ctx context.Context, terminal int) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", err
	}
	line, err := await(ctx, func() (string, error) {
		line, err := term.ReadPassword(terminal)
		return string(line), err
	})
	if ctx.Err() != nil {
		err = errors.Join(err, term.Restore(terminal, before))
	}
	return line, err
}

// errInterrupted means that a signal came before the answer.
var errInterrupted = errors.New("interrupted")

// await returns what read returns, or errInterrupted when ctx ends first: a read
// from a person cannot be stopped, only left behind.
func await(ctx context.Context, read func() (string, error)) (string, error) {
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := read()
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		return "", errInterrupted
	}
}
