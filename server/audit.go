package server

import (
	"errors"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/auth/token"
	"berth/oci"
)

// event returns an event of the caller, for the audit.
func (s *Server) event(x *exchange, kind audit.Kind, result audit.Result) audit.Event {
	e := audit.Of(kind, x.caller.Identity)
	e.Time, e.Result, e.Method = s.o.Now(), result, x.method
	e.Address, e.Agent, e.Ref = x.caller.Addr, x.r.UserAgent(), x.id
	e.Repository = string(x.target.repo)
	return e
}

// auditContent tells of what was done to content, and which rule let it pass.
func (s *Server) auditContent(x *exchange, kind audit.Kind, d oci.Digest, tags []oci.Tag) {
	if s.o.Audit == nil {
		return
	}
	e := s.event(x, kind, audit.OK)
	e.Digest, e.Tags = d, tags
	s.addRule(x, &e)
	s.o.Audit(e)
}

// auditRefusal tells of who may not do what he asked.
func (s *Server) auditRefusal(x *exchange, r *Refusal) {
	if s.o.Audit == nil {
		return
	}
	e := s.event(x, audit.Refused, audit.Denied)
	e.Scope, e.Tags, e.Reason, e.Status = r.Scope.String(), r.Tags, r.Reason, r.Status
	e.Digest = x.target.content()
	if e.Comment = r.Rule; r.Rule == "" {
		s.addRule(x, &e)
	}
	s.o.Audit(e)
}

// auditToken tells of a token that was given to who has said who he is.
func (s *Server) auditToken(x *exchange, granted []auth.Scope) {
	if s.o.Audit == nil || x.caller.Anonymous() {
		return
	}
	e := s.event(x, audit.Token, audit.OK)
	e.Scope = joinScopes(granted)
	if len(granted) == 1 && granted[0].Type == access.TypeRepository {
		e.Repository = granted[0].Name
	}
	s.o.Audit(e)
}

// auditProof tells of a token that does not prove what it should. Whose it is
// has not been shown.
func (s *Server) auditProof(x *exchange, method audit.Method, err error) {
	if s.o.Audit == nil || !errors.Is(err, token.ErrInvalid) && !errors.Is(err, auth.ErrBadCredentials) {
		return
	}
	e := s.event(x, audit.Login, audit.Failed)
	e.Method, e.Reason = method, err.Error()
	s.o.Audit(e)
}

// auditFailure tells of a push or a removal that the registry could not do.
func (s *Server) auditFailure(x *exchange, status int) {
	var kind audit.Kind
	switch {
	case s.o.Audit == nil || x.registry == nil:
		return
	case x.op.action == access.Push && x.target.kind == kindManifest:
		kind = audit.Push
	case x.op.action == access.Delete && x.target.kind == kindManifest:
		kind = audit.Delete
	case x.op.action == access.Delete:
		kind = audit.DeleteBlob
	default:
		return
	}
	e := s.event(x, kind, audit.Error)
	e.Tags, e.Digest, e.Status = x.tags(), x.target.content(), status
	e.Reason = "the registry could not do it; its log says why"
	s.o.Audit(e)
}

// addRule adds the rule that decides on the request, as far as that can be told
// without looking at the content.
func (s *Server) addRule(x *exchange, e *audit.Event) {
	if x.op == nil || x.op.action == 0 {
		return
	}
	policy := s.o.Policy()
	if d := decide(policy, &x.caller, x.op.action, x.target); d.Rule >= 0 {
		e.Rule, e.Comment = d.Rule+1, policy.Comment(d.Rule)
	}
}
