package admin

import (
	"errors"
	"fmt"
	"strings"

	"berth/audit"
	"berth/auth"
)

// changed tells the audit of a change to target, and returns its error as the
// user is told it.
func (s *Service) changed(kind audit.Kind, target, detail string, err error) error {
	err = told(err)
	if s.Audit == nil {
		return err
	}
	e := audit.Event{Kind: kind, Result: audit.OK, User: byLocal, Method: audit.Local, Target: target, Reason: detail}
	if kind == audit.DeleteRepository {
		e.Repository, e.Target = target, ""
	}
	if err != nil {
		e.Result, e.Reason = audit.Error, err.Error()
		if errors.As(err, new(*Error)) {
			e.Result = audit.Failed
		}
	}
	s.Audit(e)
	return err
}

// inGroups says in which groups a change leaves a user.
func inGroups(groups []string) string {
	if len(groups) == 0 {
		return "in no group"
	}
	return "in " + strings.Join(groups, ", ")
}

// robotUser returns the name of a robot in rules and logs.
func robotUser(name string) string {
	return auth.RobotPrefix + strings.TrimPrefix(name, auth.RobotPrefix)
}

// of says for whom a credential acts, and what it is narrowed to.
func (l Limits) of(owner string) string {
	text := "of the registry's own"
	if owner != "" {
		text = "of " + owner
	}
	for _, part := range []struct {
		what string
		to   string
	}{
		{"repositories", strings.Join(l.Repositories, ", ")},
		{"actions", strings.Join(l.Actions, ", ")},
		{"from", strings.Trim(fmt.Sprint(l.From), "[]")},
	} {
		if part.to != "" {
			text += "; " + part.what + " " + part.to
		}
	}
	return text
}

// keys names what a change sets.
func (c RobotChange) keys() string {
	var keys []string
	for _, key := range []struct {
		name string
		set  bool
	}{
		{"owner", c.Owner != nil}, {"repositories", c.Repositories != nil}, {"actions", c.Actions != nil}, {"from", c.From != nil},
		{"expires", c.Expires != nil}, {"comment", c.Comment != nil},
	} {
		if key.set {
			keys = append(keys, key.name)
		}
	}
	return strings.Join(keys, ", ")
}
