package access

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"berth/auth"
	"berth/oci"
)

// A Test is one entry of accesstests: in the configuration: what the rules are
// expected to answer.
type Test struct {
	User       string // empty or "anonymous": who has not logged in
	Groups     []string
	Action     string
	Repository string     // may end in :TAG; empty for admin, and for the list of repositories
	From       netip.Addr // the zero Addr is an address that is not known
	Expect     string     // "allow" or "deny"
	Line       int        // of the configuration file, 0 when not known
}

// Check answers tests. Its error names each that does not hold, a line each,
// with its number, counted from one.
func (p *Policy) Check(tests []Test) error {
	var errs []error
	for i, t := range tests {
		if err := p.check(t); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", place("accesstests", i, t.Line), err))
		}
	}
	return errors.Join(errs...)
}

func (p *Policy) check(t Test) error {
	if t.Expect != "allow" && t.Expect != "deny" {
		return fmt.Errorf("expect %q is neither allow nor deny", t.Expect)
	}
	r, err := t.request()
	if err != nil {
		return err
	}
	if p.Decide(r).Allow == (t.Expect == "allow") {
		return nil
	}
	explanation := strings.TrimSuffix(p.Explain(r).String(), "\n")
	return fmt.Errorf("expected %s, but %s", t.Expect, strings.ReplaceAll(explanation, "\n", "; "))
}

func (t Test) request() (Request, error) {
	action, err := ParseAction(t.Action)
	if err != nil {
		return Request{}, err
	}
	r := Request{Caller: &Caller{Addr: t.From}, Action: action}
	if t.User != "" && t.User != anonymous {
		if err := auth.CheckName(t.User); err != nil {
			return Request{}, fmt.Errorf("user: %w", err)
		}
		r.Caller.Name, r.Caller.Groups = t.User, t.Groups
	}
	if t.Repository == "" {
		if action&(Admin|List) == 0 {
			return Request{}, fmt.Errorf("action %s needs a repository", action)
		}
		return r, nil
	}
	name, tag, tagged := strings.Cut(t.Repository, ":")
	if r.Repository, err = oci.ParseName(name); err != nil {
		return Request{}, fmt.Errorf("repository %q: %w", name, err)
	}
	if tagged {
		parsed, err := oci.ParseTag(tag)
		if err != nil {
			return Request{}, fmt.Errorf("tag %q: %w", tag, err)
		}
		r.Tags = []oci.Tag{parsed}
	}
	return r, nil
}
