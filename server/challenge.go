package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/access"
	"berth/auth"
	"berth/oci"
)

// Errors of a challenge: RFC 6750, section 3.1. Clients fetch a new token only
// when there is one.
const (
	invalidToken      = "invalid_token"
	insufficientScope = "insufficient_scope"
)

// A Refusal is one request whose caller may not do what he asked.
type Refusal struct {
	Ref    string // which the client was told, and the request's id
	Time   time.Time
	Caller access.Caller
	Scope  auth.Scope // what a token would have to be for
	Tags   []oci.Tag  // that the request named
	Reason string
	// Rule is the rule about content that refused what the caller may do; ""
	// where he may not.
	Rule   string
	Status int
}

// A challenge is the value of WWW-Authenticate. There is always exactly one:
// some clients answer the first of several, others all at once.
type challenge struct {
	basic   bool
	realm   string // for Basic, the words; for Bearer, the address of the token server
	service string
	scope   string
	err     string
}

// header returns the challenge with the reason: with HEAD it is the only place
// where a client can find one.
func (c *challenge) header(description string) string {
	if c.basic {
		return "Basic realm=" + quote(c.realm)
	}
	var b strings.Builder
	b.WriteString("Bearer realm=" + quote(c.realm) + ",service=" + quote(c.service))
	if c.scope != "" {
		b.WriteString(",scope=" + quote(c.scope))
	}
	if c.err != "" {
		b.WriteString(",error=" + quote(c.err) + ",error_description=" + quote(description))
	}
	return b.String()
}

// quote returns s as a quoted-string without quoted pairs, which not every
// client can read.
func quote(s string) string {
	return `"` + strings.Map(func(r rune) rune {
		switch {
		case r == '"' || r == '\\':
			return '\''
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, s) + `"`
}

// challenged is the answer to who has not said who he is, or not truly.
func (s *Server) challenged(x *exchange, reason, message string) answer {
	a := answer{status: http.StatusUnauthorized, code: oci.Unauthorized, message: message}
	a.challenge = s.challenge(x, x.scope(), reason)
	if x.target.kind == kindToken {
		a.challenge = &challenge{basic: true, realm: s.o.Service}
	}
	return a
}

func (s *Server) challenge(x *exchange, scope auth.Scope, reason string) *challenge {
	c := &challenge{realm: s.base(x) + s.prefix + "/auth/token", service: s.o.Service, err: reason}
	switch {
	case s.o.Outside != nil:
		c.realm, c.service = s.outsideRealm(x), s.o.Outside.Service
	case s.o.Tokens == nil:
		return &challenge{basic: true, realm: s.o.Realm}
	}
	if scope.Type != "" {
		c.scope = scope.String()
	}
	if from := x.mountSource(); from != "" {
		c.scope += " " + auth.Scope{Type: access.TypeRepository, Name: string(from), Actions: []string{"pull"}}.String()
	}
	return c
}

// outsideRealm returns the address of the outside token server. Behind a path of
// this host it is taken to be reached by TLS, as Distribution has it, unless the
// host is configured.
func (s *Server) outsideRealm(x *exchange) string {
	switch {
	case s.o.Outside.Realm != "":
		return s.o.Outside.Realm
	case s.o.Host != nil || !plainHost(x.origin.host):
		return s.base(x) + s.o.Outside.Path
	}
	return "https://" + x.origin.host + s.o.Outside.Path
}

// mountSource returns the repository that a blob is to be mounted from: a token
// for the request has to be for that one too. It tells nothing about either.
func (x *exchange) mountSource() oci.Name {
	if x.target.kind != kindUploads || !x.query.Has("mount") {
		return ""
	}
	from, err := oci.ParseName(x.query.Get("from"))
	if err != nil || from == x.target.repo {
		return ""
	}
	return from
}

// refuse is the answer to who may not do what he asked. A bearer is told what
// his token should have been for, an anonymous caller to log in.
func (s *Server) refuse(x *exchange, scope auth.Scope, reason string) answer {
	if scope.Type == "" {
		scope = x.scope()
	}
	a := answer{status: http.StatusUnauthorized, code: oci.Unauthorized, message: reason, detail: detailOf(scope)}
	switch {
	case s.o.Verifier == nil:
		a.status, a.code = http.StatusForbidden, oci.Denied
	case x.caller.Expired:
		a.message = "the access token has expired"
		a.challenge = s.challenge(x, scope, invalidToken)
		return a
	case x.caller.Bearer:
		if !x.caller.Anonymous() {
			a.code = oci.Denied
		}
		a.challenge = s.challenge(x, scope, insufficientScope)
	case x.caller.Anonymous():
		a.challenge = s.challenge(x, scope, "")
	default:
		a.status, a.code = http.StatusForbidden, oci.Denied
	}
	a.refusal = &Refusal{
		Ref: x.id, Time: s.o.Now(), Caller: x.caller, Scope: scope, Tags: x.tags(), Reason: reason, Status: a.status,
	}
	return a
}

// record tells the operator of a refusal.
func (s *Server) record(x *exchange, r *Refusal) {
	x.refused = r.Rule == ""
	s.auditRefusal(x, r)
	if s.o.Refused != nil {
		s.o.Refused(x.r.Context(), *r)
		return
	}
	s.o.Log.InfoContext(x.r.Context(), "refused", "ref", r.Ref, "user", r.Caller.String(), "addr", addrString(r.Caller.Addr),
		"scope", r.Scope.String(), "reason", r.Reason, "status", r.Status)
}

// scope returns what a token has to be for, for this request.
func (x *exchange) scope() auth.Scope {
	switch {
	case x.target.kind == kindCatalog, x.target.kind == kindSearch:
		return auth.Scope{Type: access.TypeRegistry, Name: "catalog", Actions: []string{"*"}}
	case x.target.repo == "" || x.op == nil:
		return auth.Scope{}
	}
	actions := []string{"pull"}
	switch x.op.action {
	case access.Push:
		actions = []string{"pull", "push"}
	case access.Delete:
		actions = []string{"delete"}
	}
	return auth.Scope{Type: access.TypeRepository, Name: string(x.target.repo), Actions: actions}
}

// tags returns the tags that a request names, as far as they can be any.
func (x *exchange) tags() []oci.Tag {
	var tags []oci.Tag
	if t := x.target.reference.Tag; t != "" {
		tags = append(tags, t)
	}
	if x.op == nil || x.op.action != access.Push {
		return tags
	}
	for _, value := range x.query["tag"] {
		if t, err := oci.ParseTag(value); err == nil && !slices.Contains(tags, t) {
			tags = append(tags, t)
		}
	}
	return tags
}

// accessDetail is one entry of the detail that Distribution gives with a 401.
type accessDetail struct {
	Type   string
	Class  string
	Name   string
	Action string
}

func detailOf(scope auth.Scope) any {
	if scope.Type == "" {
		return nil
	}
	var details []accessDetail
	for _, action := range scope.Actions {
		details = append(details, accessDetail{Type: scope.Type, Name: scope.Name, Action: action})
	}
	return details
}
