package audit

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"time"

	"berth/oci"
)

const (
	// clockSlack is how far the times of lines may be out of their order.
	clockSlack = time.Minute
	// followPace is how often a file is looked at that is followed.
	followPace = 250 * time.Millisecond
)

// nobody is how a Filter asks for who has not said who he is.
const nobody = "anonymous"

// A Filter says which events are asked for: those for which all that is set
// holds.
type Filter struct {
	// Denied are requests that the rules did not allow, Failed logins and calls
	// that did not succeed. With both, either will do.
	Denied, Failed bool
	Kind           Kind                // or what is before its dot: "user" is "user.add" too
	User           string              // who did it, whose robot did, or whom it was done to
	Since, Until   time.Time           // the second is not included
	Repository     func(oci.Name) bool // nil is any event, also of no repository
	Address        netip.Prefix
	Ref            string
}

// Matches reports whether e is asked for.
func (f *Filter) Matches(e *Event) bool {
	switch {
	case f.Ref != "" && e.Ref != f.Ref,
		f.Kind != "" && !f.Kind.Has(e.Kind),
		f.User != "" && !e.about(f.User),
		!f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && !e.Time.Before(f.Until),
		f.Repository != nil && (e.Repository == "" || !f.Repository(oci.Name(e.Repository))),
		f.Address.IsValid() && !f.Address.Contains(e.Address):
		return false
	}
	if !f.Denied && !f.Failed {
		return true
	}
	denied := e.Result == Denied
	return f.Denied && denied || f.Failed && !denied && e.Result != OK && e.Result != ""
}

// about reports whether a user has a part in e.
func (e *Event) about(user string) bool {
	return e.User == user || e.Owner == user || e.Target == user || e.User == "" && user == nobody
}

// Query calls each with the events of the log at path that f asks for, the
// oldest first, and returns how many lines it could not read and skipped. It
// needs little memory, whatever the size of the log.
// Errors: fs.ErrNotExist when there is no log, the context's, that of each.
func Query(ctx context.Context, path string, f Filter, each func(Event) error) (broken int, err error) {
	s := search{ctx: ctx, filter: &f, each: each}
	current, err := s.history(path)
	if err != nil {
		return s.broken, err
	}
	defer current.Close()
	err = s.all(newLines(current))
	return s.broken, err
}

// ErrNotFound is returned when the log holds no such event.
var ErrNotFound = errors.New("there is no such event in the audit log")

// Find returns an event that f asks for, of the latest file that holds one.
// Errors: ErrNotFound, fs.ErrNotExist when there is no log, the context's.
func Find(ctx context.Context, path string, f Filter) (Event, error) {
	var found Event
	stop := errors.New("found")
	s := search{ctx: ctx, filter: &f, each: func(e Event) error { found = e; return stop }}
	err := s.backward(path)
	switch {
	case err == stop:
		return found, nil
	case err == nil:
		err = ErrNotFound
	}
	return Event{}, err
}

// backward goes through the files, the latest first.
func (s *search) backward(path string) error {
	current, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	defer current.Close()
	if err := s.all(newLines(current)); err != nil {
		return err
	}
	olds, err := rotated(path)
	if err != nil {
		return err
	}
	for _, o := range slices.Backward(olds) {
		if err := s.oldFile(o, current); err != nil {
			return err
		}
	}
	return nil
}

// Follow is Query, and then goes on with what is written, until ctx ends, which
// is no error.
func Follow(ctx context.Context, path string, f Filter, each func(Event) error) error {
	s := search{ctx: ctx, filter: &f, each: each}
	err := s.follow(path)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (s *search) follow(path string) error {
	current, err := s.history(path)
	if err != nil {
		return err
	}
	defer func() { current.Close() }()
	in := newLines(current)
	tick := time.NewTicker(followPace)
	defer tick.Stop()
	for {
		// Looked for before the rest is read: nothing more comes to what was put aside.
		next, err := replaced(path, current)
		if err == nil {
			err = s.all(in)
		}
		if next != nil {
			current.Close()
			current, in = next, newLines(next)
		}
		if err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// replaced returns the file that stands at path now, or nil when it is current.
func replaced(path string, current *os.File) (*os.File, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	same, err := sameFile(f, current)
	if same || err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func sameFile(a, b *os.File) (bool, error) {
	x, err := a.Stat()
	if err != nil {
		return false, err
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y), err
}

// A search goes through the files of a log.
type search struct {
	ctx    context.Context
	filter *Filter
	each   func(Event) error
	broken int
}

// history goes through the old files, and returns the current one, which it has
// opened before it looked for the others: what is put aside meanwhile is the one
// that it holds.
func (s *search) history(path string) (*os.File, error) {
	current, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	olds, err := rotated(path)
	if err == nil {
		err = s.old(olds, current)
	}
	if err != nil {
		return nil, errors.Join(err, current.Close())
	}
	return current, nil
}

// old goes through those old files that can hold what is asked for.
func (s *search) old(olds []old, current *os.File) error {
	var from time.Time // nothing in the next one is earlier
	for _, o := range olds {
		early := !s.filter.Since.IsZero() && o.until.Add(clockSlack).Before(s.filter.Since)
		late := !s.filter.Until.IsZero() && from.Add(-clockSlack).After(s.filter.Until)
		from = o.until
		if early || late {
			continue
		}
		if err := s.oldFile(o, current); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) oldFile(o old, current *os.File) error {
	f, err := os.Open(o.name())
	if errors.Is(err, fs.ErrNotExist) && !o.packed {
		o.packed = true // since the folder was read
		f, err = os.Open(o.name())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was too old
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if !o.packed {
		if same, err := sameFile(f, current); same || err != nil {
			return err
		}
		return s.all(newLines(f))
	}
	z, err := gzip.NewReader(f)
	if err == nil {
		err = s.all(newLines(z))
	}
	if damaged(err) {
		s.broken++
		return nil
	}
	return err
}

// damaged reports whether err is about what a compressed file holds.
func damaged(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// all hands over what is asked for of the rest of a file.
func (s *search) all(in *lines) error {
	defer func() {
		s.broken += in.broken
		in.broken = 0
	}()
	for {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		line, err := in.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !bytes.Contains(line, []byte(s.filter.Ref)) {
			continue // which is quicker than to understand it
		}
		e, err := parseLine(line)
		if err != nil {
			s.broken++
			continue
		}
		if !s.filter.Matches(&e) {
			continue
		}
		if err := s.each(e); err != nil {
			return err
		}
	}
}
