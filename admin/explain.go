package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/auth/certificate"
	"berth/oci"
)

// ExplainRef implements API.
func (s *Service) ExplainRef(ctx context.Context, ref string) (Refusal, error) {
	ref = strings.ToUpper(strings.TrimSpace(ref))
	if s.Refusals != nil {
		if r, ok := s.Refusals.Find(ref); ok {
			return s.explain(r, ""), nil
		}
	}
	if s.Audited == nil {
		return Refusal{}, &Error{NotFound, fmt.Sprintf("no refusal %s among the last %d of the running server, and no audit log to look further: search the server's log", ref, keptRefusals)}
	}
	e, err := s.Audited(ctx, ref)
	if errors.Is(err, audit.ErrNotFound) {
		return Refusal{}, &Error{NotFound, fmt.Sprintf("nothing was refused under %s, as far as the audit log goes; of refusals that repeat it has the first and the last", ref)}
	}
	if err != nil {
		return Refusal{}, fmt.Errorf("look for %s in the audit log: %w", ref, err)
	}
	r := refusedOf(e)
	note := s.recall(ctx, &r.Caller.Identity)
	return s.explain(r, note), nil
}

// recall adds to the identity of an audit event what the log does not keep: what
// its credential is narrowed to today, and for whom a robot acts. Where that
// cannot be had, it says so.
func (s *Service) recall(ctx context.Context, id *auth.Identity) (note string) {
	if id.Credential == "" || id.Provider == certificate.Provider {
		return "" // there is nothing that it could be narrowed to
	}
	now, err := s.Resolve(ctx, id.Subject)
	var rejected *auth.RejectedError
	const left = "what it was narrowed to is left out here"
	switch {
	case err == nil:
		id.Limit, id.Owner = now.Limit, now.Owner
		return ""
	case errors.Is(err, auth.ErrNoMatch):
		return fmt.Sprintf("the credential %s no longer exists: %s", id.Credential, left)
	case errors.As(err, &rejected) && rejected.Reason != "":
		return fmt.Sprintf("the credential %s lets nobody in now (%s): %s", id.Credential, rejected.Reason, left)
	}
	return fmt.Sprintf("the credential %s cannot be looked up now: %s", id.Credential, left)
}

// refusedOf returns what the audit log has kept of a refusal.
func refusedOf(e audit.Event) Refused {
	var caller access.Caller
	caller.Subject = auth.Subject{Provider: e.Provider, Name: e.User, Credential: e.Credential}
	caller.Groups, caller.Addr = e.Groups, e.Address
	return Refused{Ref: e.Ref, Time: e.Time, Caller: caller, Scope: e.Scope, Tags: e.Tags, Reason: e.Reason, Status: e.Status}
}

// explain says what was refused, and what the rules say to it now.
func (s *Service) explain(r Refused, note string) Refusal {
	refusal := Refusal{
		Ref:    r.Ref,
		Time:   r.Time.UTC().Truncate(time.Second),
		User:   r.Caller.Subject.String(),
		Scope:  r.Scope,
		Reason: r.Reason,
		Status: r.Status,
	}
	if r.Caller.Addr.IsValid() {
		refusal.Addr = r.Caller.Addr.String()
	}
	if request, ok := r.request(); ok {
		explanation := s.Policy().Explain(request)
		explanation.Note = note
		refusal.Explanation = &explanation
	}
	return refusal
}

// request returns what was asked, as far as the scope tells: of several
// actions, the last, which is the one that goes furthest.
func (r *Refused) request() (access.Request, bool) {
	scopes := auth.ParseScopes([]string{r.Scope})
	if len(scopes) != 1 || scopes[0].Type != "repository" || len(scopes[0].Actions) == 0 {
		return access.Request{}, false
	}
	name, err := oci.ParseName(scopes[0].Name)
	if err != nil {
		return access.Request{}, false
	}
	actions := scopes[0].Actions
	action, err := access.ParseAction(actions[len(actions)-1])
	if err != nil {
		return access.Request{}, false
	}
	return access.Request{Caller: &r.Caller, Action: action, Repository: name, Tags: r.Tags}, true
}
