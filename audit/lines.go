package audit

import (
	"bytes"
	"io"
)

// lines reads a file line by line. After io.EOF it may be asked again: more may
// have been written.
type lines struct {
	r          io.Reader
	buf        []byte
	start, end int  // of what has been read and not returned
	long       bool // a line longer than maxLine is being skipped
	broken     int  // such lines
}

func newLines(r io.Reader) *lines { return &lines{r: r, buf: make([]byte, maxLine)} }

// next returns the next whole line, without its end, which is good until the
// next call.
func (l *lines) next() ([]byte, error) {
	for {
		if i := bytes.IndexByte(l.buf[l.start:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+i]
			l.start += i + 1
			if !l.long {
				return line, nil
			}
			l.long = false
			l.broken++
			continue
		}
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
		if l.end == len(l.buf) {
			l.long, l.end = true, 0
		}
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if n == 0 && err != nil {
			return nil, err
		}
	}
}
