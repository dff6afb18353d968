package server

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"

	"berth/access"
	"berth/audit"
	"berth/auth"
	"berth/auth/token"
	"berth/oci"
)

// A Verifier says who somebody is. auth.Verifier is meant.
type Verifier interface {
	// Verify returns who c is; nobody, without a user and a password.
	Verify(ctx context.Context, c auth.Credentials) (auth.Identity, error)
	// Resolve returns who s is today.
	Resolve(ctx context.Context, s auth.Subject) (auth.Identity, error)
}

// Tokens issues and verifies tokens. token.Issuer is meant.
type Tokens interface {
	// IssueFor returns a token for a service, which is this one or one of
	// Options.Services.
	IssueFor(service string, id auth.Identity, scopes []auth.Scope) (token.Token, error)
	Verify(ctx context.Context, raw string) (token.Claims, error)
	NewRefresh(ctx context.Context, id auth.Identity, service, client, addr string) (auth.Secret, error)
	Refresh(ctx context.Context, raw auth.Secret, service string) (auth.Identity, error)
	JWKS() []byte
}

// An Outside is a token server that is not this one: clients are sent there, and
// its tokens are believed.
type Outside struct {
	// Realm is its address. When empty it is behind Path on the host of the
	// request.
	Realm   string
	Path    string
	Service string // whom its tokens are for
	// Tokens verifies them; a token.Outside is meant.
	Tokens interface {
		Verify(ctx context.Context, raw string) (token.Claims, error)
	}
}

// Certificates knows users by their certificates. certificate.Users is meant.
type Certificates interface {
	// Subject returns whose certificate a client showed, with the chain that it
	// sent and TLS has verified. Errors: auth.ErrBadCredentials.
	Subject(sent []*x509.Certificate) (auth.Subject, error)
}

// authenticate settles who is calling. Without credentials it is who shows a
// certificate, else nobody, and with wrong ones it is an error: never nobody.
func (s *Server) authenticate(x *exchange) error {
	if s.o.Verifier == nil {
		return nil
	}
	headers := x.r.Header["Authorization"]
	if len(headers) == 0 {
		return s.authenticateCertificate(x)
	}
	if len(headers) > 1 {
		return auth.ErrBadCredentials
	}
	if c, ok := auth.ParseBasic(headers[0]); ok {
		return s.authenticateBasic(x, c)
	}
	if raw, ok := auth.ParseBearer(headers[0]); ok && (s.o.Tokens != nil || s.o.Outside != nil) {
		err := s.authenticateBearer(x, raw)
		s.auditProof(x, audit.Bearer, err)
		return err
	}
	return auth.ErrBadCredentials
}

// authenticateBasic believes right credentials. Empty ones are how some clients
// say that they have none.
func (s *Server) authenticateBasic(x *exchange, c auth.Credentials) error {
	if c.User == "" && c.Password == "" {
		return s.authenticateCertificate(x)
	}
	c.Addr = x.caller.Addr
	ctx := x.r.Context()
	if s.o.Audit != nil {
		ctx = audit.WithRequest(ctx, audit.Request{Ref: x.id, Agent: x.r.UserAgent(), Method: audit.Basic})
	}
	id, err := s.verify(ctx, c)
	if err != nil {
		return err
	}
	x.caller.Identity, x.method = id, audit.Basic
	return nil
}

// verify asks who c is. What a backend that does not answer said is for the
// log: it never makes a caller anonymous.
func (s *Server) verify(ctx context.Context, c auth.Credentials) (auth.Identity, error) {
	id, err := s.o.Verifier.Verify(ctx, c)
	if err != nil {
		return auth.Identity{}, fmt.Errorf("verify a user: %w", err)
	}
	return id, nil
}

// authenticateCertificate believes a certificate that TLS has verified. A browser
// shows one for any page that it is on: what another site made it send changes
// nothing.
func (s *Server) authenticateCertificate(x *exchange) error {
	if s.o.Certificates == nil || x.r.TLS == nil || len(x.r.TLS.VerifiedChains) == 0 {
		return nil
	}
	if err := new(http.CrossOriginProtection).Check(x.r); err != nil {
		return &access.DeniedError{Reason: "a certificate does not speak for what another site sends"}
	}
	id, err := s.certificateOwner(x)
	if err != nil {
		s.auditProof(x, audit.Certificate, err)
		return err
	}
	x.caller.Identity, x.method = id, audit.Certificate
	s.auditCertificate(x)
	return nil
}

// certificateOwner returns whose certificate the client showed.
func (s *Server) certificateOwner(x *exchange) (auth.Identity, error) {
	subject, err := s.o.Certificates.Subject(x.r.TLS.PeerCertificates)
	if err != nil {
		return auth.Identity{}, fmt.Errorf("verify a certificate: %w", err)
	}
	id, err := s.o.Verifier.Resolve(x.r.Context(), subject)
	if errors.Is(err, auth.ErrNoMatch) {
		return auth.Identity{}, auth.ErrBadCredentials
	}
	if err != nil {
		return auth.Identity{}, fmt.Errorf("look up the owner of a certificate: %w", err)
	}
	return id, nil
}

// noteCertificate lets a token that was issued for a certificate find it, also
// where it was issued by another process.
func (s *Server) noteCertificate(x *exchange) {
	if s.o.Certificates != nil && x.r.TLS != nil && len(x.r.TLS.VerifiedChains) > 0 {
		_, _ = s.o.Certificates.Subject(x.r.TLS.PeerCertificates) // which does not ask who is calling
	}
}

// authenticateBearer believes a token as far as its holder is today who he was
// when it was issued.
func (s *Server) authenticateBearer(x *exchange, raw string) error {
	s.noteCertificate(x)
	claims, outside, err := s.verifyToken(x.r.Context(), raw)
	if err != nil {
		return fmt.Errorf("verify a token: %w", err)
	}
	id, err := s.o.Verifier.Resolve(x.r.Context(), claims.Subject)
	switch {
	case errors.Is(err, auth.ErrNoMatch), errors.Is(err, auth.ErrBadCredentials):
		return fmt.Errorf("%w: its user is no more", token.ErrInvalid)
	case err != nil:
		return fmt.Errorf("look up the holder of a token: %w", err)
	case id.Subject != claims.Subject || id.Version != claims.Version:
		return fmt.Errorf("%w: its user has changed", token.ErrInvalid)
	}
	x.caller.Identity, x.method = id, audit.Bearer
	x.caller.Bearer = true
	x.caller.Ceiling = claims.Scopes
	x.caller.Expired = claims.Expired
	x.caller.Outside = outside
	return nil
}

// verifyToken returns what a token says, and whether it is of the outside token
// server. One of this server has a key that no other has.
func (s *Server) verifyToken(ctx context.Context, raw string) (claims token.Claims, outside bool, err error) {
	if s.o.Tokens != nil {
		claims, err = s.o.Tokens.Verify(ctx, raw)
		if s.o.Outside == nil || !errors.Is(err, token.ErrInvalid) {
			return claims, false, err
		}
	}
	claims, err = s.o.Outside.Tokens.Verify(ctx, raw)
	return claims, true, err
}

// presented reports whether the caller has proved something, be it that he is
// nobody: a token for nobody is asked for and given.
func presented(c *access.Caller) bool { return c.Bearer || !c.Anonymous() }

// admit refuses what nobody may do, whoever asks: a login where one is always
// needed, and what is switched off.
func (s *Server) admit(x *exchange) error {
	if x.op.login && s.o.Verifier != nil && !presented(&x.caller) {
		return errLogin
	}
	if x.op.login && x.caller.Expired {
		return token.ErrInvalid
	}
	writes := x.op.action&(access.Push|access.Delete) != 0
	if writes && s.o.Blocked != nil {
		if why := s.o.Blocked(); why != "" {
			return oci.Errorf(oci.Unavailable, "%s", why)
		}
	}
	var off string
	switch {
	case x.op.action == access.Delete && !s.o.DeleteEnabled:
		off = "deleting is switched off"
	case writes && s.o.ReadOnly != nil && s.o.ReadOnly():
		off = "the registry is read-only"
	default:
		return nil
	}
	if !s.may(&x.caller, x.op.action, x.target) {
		if x.op.action == access.Delete {
			return x.denied("delete from " + string(x.target.repo))
		}
		return x.denied("push to " + string(x.target.repo))
	}
	x.off = true
	return oci.Errorf(oci.Unsupported, "%s", off)
}

// denied is the refusal of a caller who may not do what is said.
func (x *exchange) denied(what string) error {
	if x.caller.Anonymous() {
		return &access.DeniedError{Reason: "log in to " + what}
	}
	return &access.DeniedError{Reason: "user " + x.caller.Name + " may not " + what}
}

// may reports whether the caller may do action on what the target names, as far
// as that can be told without looking at the content.
func (s *Server) may(c *access.Caller, action access.Action, t target) bool {
	d := decide(s.o.Policy(), c, action, t)
	return d.Allow || d.NeedTags
}

// decide asks policy about action on what the target names. Who may create may
// push, unless it moves something.
func decide(policy *access.Policy, c *access.Caller, action access.Action, t target) access.Decision {
	r := access.Request{Caller: c, Action: action, Repository: t.repo}
	switch {
	case t.reference.Tag != "":
		r.Tags = append(r.Tags, t.reference.Tag)
	case t.reference.Digest != "" || t.digest != "":
		r.ByDigest, r.TagsUnknown = true, true
	}
	d := policy.Decide(r)
	if !d.Allow && !d.NeedTags && action == access.Push {
		r.Action = access.Create
		d = policy.Decide(r)
	}
	return d
}
