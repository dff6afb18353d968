package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// progressEvery is how often a line is drawn again.
const progressEvery = 200 * time.Millisecond

// A progress is a line on the terminal that says how far long work is. Where
// standard error is no terminal it shows nothing.
type progress struct {
	w     io.Writer // nil: nothing
	drawn time.Time
}

func newProgress(cmd *cobra.Command) *progress {
	if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &progress{w: f}
	}
	return new(progress)
}

// line draws the line, unless it was just drawn.
func (p *progress) line(text string) {
	if p.w == nil || time.Since(p.drawn) < progressEvery {
		return
	}
	p.drawn = time.Now()
	fmt.Fprintf(p.w, "\r\033[K%s", text)
}

// end removes the line.
func (p *progress) end() {
	if p.w != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.w, "\r\033[K")
	}
}

// byteCount tells a number of bytes as people say it.
func byteCount(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for value >= unit && prefix < 4 {
		value /= unit
		prefix++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}
